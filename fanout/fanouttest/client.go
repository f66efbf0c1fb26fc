package fanouttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
)

// client reads one stream strictly.
type client struct {
	w    *world
	meta uint32
	conn *net.TCPConn
	body *bufio.Reader
	raw  []byte // the body so far, whole lines
}

// event is one block of a stream.
type event struct {
	name, data, id string
	retry          bool
	beats          int // heartbeats before it
}

// n is the number of an event that publish made, 0 for others.
func (e event) n() int {
	text, _, _ := strings.Cut(e.data, " ")
	n, err := strconv.Atoi(text)
	if err != nil || e.name != "tick" {
		return 0
	}
	return n
}

func (e event) pos() broker.Position {
	p, _ := fanout.ParseID(e.id)
	return p
}

// dial opens a stream for the plan; rcvbuf > 0 sets the receive buffer.
func (w *world) dial(p plan, rcvbuf int) (*client, error) {
	meta := w.add(p)
	d := net.Dialer{Timeout: generously, Control: func(_, _ string, rc syscall.RawConn) error {
		if rcvbuf == 0 {
			return nil
		}
		return setReceiveBuffer(rc, rcvbuf)
	}}
	conn, err := d.Dial("tcp4", w.addr)
	if err != nil {
		return nil, err
	}
	c := &client{w: w, meta: meta, conn: conn.(*net.TCPConn)}
	_ = conn.SetDeadline(time.Now().Add(2 * generously)) //nolint:errcheck // a test that hangs fails either way
	if _, err := fmt.Fprintf(conn, "GET /?plan=%d HTTP/1.1\r\nHost: suite\r\nAccept: text/event-stream\r\n\r\n", meta); err != nil {
		conn.Close()
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(resp.Body)
		conn.Close()
		return nil, fmt.Errorf("answer %s %v: %s", resp.Status, resp.Header, text)
	}
	if got := len(resp.TransferEncoding) > 0; got != w.chunked {
		conn.Close()
		return nil, fmt.Errorf("chunked body: %v, want %v", got, w.chunked)
	}
	c.body = bufio.NewReaderSize(resp.Body, 4096)
	first, err := c.line()
	if err != nil || first+"\n" != retryLine {
		conn.Close()
		return nil, fmt.Errorf("first line %q, %w", first, err)
	}
	return c, nil
}

// open is dial for tests that need it to succeed.
func (w *world) open(p plan) *client {
	w.t.Helper()
	c, err := w.dial(p, 0)
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.t.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *client) line() (string, error) {
	s, err := c.body.ReadString('\n')
	if err != nil {
		if s != "" && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return s, err
	}
	c.raw = append(c.raw, s...)
	return s[:len(s)-1], nil
}

// next reads one event. An end inside an event is io.ErrUnexpectedEOF.
func (c *client) next() (event, error) {
	var e event
	begun := false
	for {
		line, err := c.line()
		if err != nil {
			if begun && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return e, err
		}
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == ":":
			if begun {
				return e, fmt.Errorf("heartbeat inside an event: %+v", e)
			}
			e.beats++
		case line == "":
			if !begun {
				return e, errors.New("blank line without an event")
			}
			return e, nil
		case field == "event":
			begun, e.name = true, value
		case field == "data":
			begun, e.data = true, e.data+value
		case field == "id":
			begun, e.id = true, value
		case field == "retry" && !begun:
			e.retry = true // no field of an event: gateway.end comes behind it
		default:
			return e, fmt.Errorf("line %q in an event", line)
		}
	}
}

// upTo reads events up to number n and checks that each follows the one before it;
// from is the first number expected, 0 = any.
func (c *client) upTo(from, n int) (last event, err error) {
	for {
		e, err := c.next()
		if err != nil {
			return last, err
		}
		if e.n() == 0 {
			return e, fmt.Errorf("unexpected %+v after %d", e, last.n())
		}
		if from > 0 && e.n() != from {
			return e, fmt.Errorf("event %d, want %d", e.n(), from)
		}
		from, last = e.n()+1, e
		if e.n() == n {
			return last, nil
		}
	}
}

// rest reads to the end of the body and returns all that came as text.
func (c *client) rest() (string, error) {
	b, err := io.ReadAll(c.body)
	return string(b), err
}
