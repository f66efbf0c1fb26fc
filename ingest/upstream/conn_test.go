package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/outbound"
)

// pipe is an upstream inside a synctest bubble: each connection is one end of a net.Pipe, given to serve.
type pipe struct {
	serve func(c net.Conn, req *http.Request)
}

func (p pipe) DialContext(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		req, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		p.serve(theirs, req)
	}()
	return ours, nil
}

// hold keeps the connection open until the other side closes it.
func hold(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }

type wall struct{}

func (wall) Now() time.Time { return time.Now() }

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

// dialPipe opens t over a pipe to serve.
func dialPipe(t *testing.T, target Target, serve func(net.Conn, *http.Request)) (*Conn, error) {
	t.Helper()
	c := New(outbound.Transport(pipe{serve}, nil, outbound.Limits{}), nil, "sluice/test", wall{})
	target.URL = "http://upstream.test/x"
	return c.Open(t.Context(), target, "", "", Hooks{})
}

// wantStalled reads to the end and checks that it was a timer's.
func wantStalled(t *testing.T, c *Conn, want error) (events int) {
	t.Helper()
	for {
		_, err := c.Next()
		if err == nil {
			events++
			continue
		}
		e := AsError(err)
		if e == nil || e.State != StateStalled || e.Why != want.Error() {
			t.Fatalf("ended with %v, want %v", err, want)
		}
		return events
	}
}

func TestIdleTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := dialPipe(t, Target{Idle: 90 * time.Second}, func(c net.Conn, _ *http.Request) {
			fmt.Fprint(c, head)
			for range 5 { // heartbeats keep it open
				time.Sleep(80 * time.Second)
				fmt.Fprint(c, ":\n")
			}
			fmt.Fprint(c, "data: a\n\n")
			hold(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		if n := wantStalled(t, c, errIdle); n != 1 {
			t.Errorf("%d events", n)
		}
		if d := time.Since(began); d != 490*time.Second {
			t.Errorf("ended after %s, want 5×80 s + 90 s", d)
		}
	})
}

func TestIdleStandsStillWhileNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := dialPipe(t, Target{Idle: 90 * time.Second, Assembly: 60 * time.Second}, func(c net.Conn, _ *http.Request) {
			fmt.Fprint(c, head+"data: a\n\ndata: b")
			time.Sleep(30 * time.Second)
			fmt.Fprint(c, "\n\n")
			hold(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour / 2) // back-pressure, in the middle of an event
		if ev, err := c.Next(); err != nil || string(ev.Data) != "b" {
			t.Fatalf("%q, %v", ev.Data, err)
		}
	})
}

func TestAssemblyTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := dialPipe(t, Target{Idle: 90 * time.Second, Assembly: 60 * time.Second}, func(c net.Conn, _ *http.Request) {
			fmt.Fprint(c, head)
			for range 40 { // events of 50 s each are fine
				fmt.Fprint(c, "data: a\n")
				time.Sleep(50 * time.Second)
				fmt.Fprint(c, "\n")
			}
			for { // one that never ends is not
				if _, err := fmt.Fprint(c, "data: x\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if n := wantStalled(t, c, errAssembly); n != 40 {
			t.Errorf("%d events", n)
		}
		if d := time.Since(began); d != 40*50*time.Second+60*time.Second {
			t.Errorf("ended after %s", d)
		}
		c.Close()
		time.Sleep(2 * time.Second) // the upstream notices
	})
}

func TestNoTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := dialPipe(t, Target{}, func(c net.Conn, _ *http.Request) {
			fmt.Fprint(c, head+"data: a")
			time.Sleep(100 * time.Hour)
			fmt.Fprint(c, "\n\n")
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if ev, err := c.Next(); err != nil || string(ev.Data) != "a" {
			t.Fatalf("%q, %v", ev.Data, err)
		}
		if e := func() *Error { _, err := c.Next(); return AsError(err) }(); e == nil || e.State != StateBackoff {
			t.Errorf("end of stream: %v", e)
		}
	})
}

func TestEndOfContextIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := errors.New("mine")
		ctx, cancel := context.WithCancelCause(t.Context())
		cl := New(outbound.Transport(pipe{func(c net.Conn, _ *http.Request) {
			fmt.Fprint(c, head)
			hold(c)
		}}, nil, outbound.Limits{}), nil, "p", wall{})
		c, err := cl.Open(ctx, Target{URL: "http://u.test/", Idle: time.Minute}, "", "", Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.AfterFunc(time.Second, func() { cancel(mine) })
		if _, err := c.Next(); !errors.Is(err, mine) {
			t.Errorf("got %v, want the owner's cause", err)
		}
	})
}

func TestStickyIDAndHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var retry uint64
		var long, bytes int
		var over int64
		cl := New(outbound.Transport(pipe{func(c net.Conn, req *http.Request) {
			if got := req.Header["Last-Event-Id"]; len(got) != 1 || got[0] != "p\xc3\xa9\xff" {
				t.Errorf("Last-Event-ID %q", got)
			}
			fmt.Fprint(c, head+"retry: 3000\ndata: a\n\nid: "+strings.Repeat("9", 2000)+"\ndata: b\n\nid: 7\ndata: "+
				strings.Repeat("x", 5000)+"\n\ndata: c\n\n")
		}}, nil, outbound.Limits{}), nil, "p", wall{})
		c, err := cl.Open(t.Context(), Target{URL: "http://u.test/", MaxEvent: 1024}, "p\xc3\xa9\xff", "old", Hooks{
			OnBytes: func(n int) { bytes += n }, OnRetry: func(ms uint64) { retry = ms },
			OnLongID: func(n int) { long = n }, OnOversize: func(n int64) { over = n }})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var got []string
		for {
			ev, err := c.Next()
			if err != nil {
				break
			}
			got = append(got, string(ev.Data)+"/"+string(ev.ID))
		}
		if s := strings.Join(got, " "); s != "a/old b/old c/7" || string(c.LastID()) != "7" {
			t.Errorf("events %s, last id %s", s, c.LastID())
		}
		if retry != 3000 || long != 2000 || over < 5000 || bytes < 7000 {
			t.Errorf("retry %d, long id %d, oversize %d, bytes %d", retry, long, over, bytes)
		}
	})
}

func TestLateHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := dialPipe(t, Target{}, func(c net.Conn, _ *http.Request) { hold(c) })
		if e := AsError(err); e == nil || e.State != StateStalled || time.Since(began) != 15*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestGarbageInsteadOfHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := dialPipe(t, Target{}, func(c net.Conn, _ *http.Request) { fmt.Fprint(c, "SSH-2.0-OpenSSH_9.9\r\n\r\n") })
		if e := AsError(err); e == nil || e.State != StateError {
			t.Errorf("got %v", err)
		}
	})
}
