package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/certs"
)

// listen opens a listener of its own for the rig's server, with a certificate if asked for, and serves until the test ends.
func (r *rig) listen(t *testing.T, secure bool) (addr string, files certs.Options) {
	t.Helper()
	d := Deps{Accounts: r.server.accounts, Catalog: r.server.catalog, Access: r.server.access, Logger: slog.New(slog.DiscardHandler)}
	if secure {
		files = pair(t, t.TempDir())
		p, err := certs.Load(files)
		if err != nil {
			t.Fatal(err)
		}
		d.Certs, d.HSTS = p, time.Hour
	}
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	r.server = s
	runs(t, s.Run)
	return s.Addr().String(), files
}

func pair(t *testing.T, dir string) certs.Options {
	t.Helper()
	_, text, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := certs.Options{Listener: "control", Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	if err := errors.Join(os.WriteFile(o.Cert, text, 0o600), os.WriteFile(o.Key, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return o
}

// secureClient speaks HTTP/2 and trusts every certificate.
func secureClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func TestControlOverTLS(t *testing.T) {
	r := newRig(t)
	addr, files := r.listen(t, true)
	client := secureClient(t)
	resp, err := client.Get("https://" + addr + "/version")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("answer %v over %s", resp, tls.VersionName(resp.TLS.Version))
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=3600" {
		t.Errorf("HSTS %q", got)
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v}); err == nil {
			c.Close()
			t.Errorf("%s is spoken", tls.VersionName(v))
		}
	}
	if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}); err == nil {
		c.Close()
		t.Error("CBC is spoken")
	}
	plain, err := http.Get("http://" + addr + "/version") // net/http says that this is TLS
	if err != nil {
		t.Fatal(err)
	}
	plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %d", plain.StatusCode)
	}
	serial := func() string {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	pair(t, filepath.Dir(files.Cert))
	r.server.Reload()
	awaits(t, "the new certificate", func() bool { return serial() != first })
	second := serial()
	if err := os.WriteFile(files.Cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.Reload()
	if serial() != second {
		t.Error("a broken pair replaced the good one")
	}
}

func awaits(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestSlowAndFloodingClientsHarmNobody sends what never ends, or far too much of it, while another client goes on working.
func TestSlowAndFloodingClientsHarmNobody(t *testing.T) {
	r := newRig(t)
	plain, _ := r.listen(t, false)
	secure, _ := r.listen(t, true)
	client := secureClient(t)
	works := func(t *testing.T) {
		t.Helper()
		for _, url := range []string{"http://" + plain, "https://" + secure} {
			resp, err := client.Get(url + "/version")
			if err != nil {
				t.Fatalf("another client: %v", err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("another client is answered %d", resp.StatusCode)
			}
		}
	}
	works(t)
	dial := func(t *testing.T) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", plain)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		return c
	}
	t.Run("half a head", func(t *testing.T) {
		before := heap()
		var slow []net.Conn
		for range 200 {
			c := dial(t)
			_, _ = io.WriteString(c, "GET /version HTTP/1.1\r\nHost: x\r\nX-")
			slow = append(slow, c)
		}
		works(t)
		awaits(t, "200 slow clients hold at most 10 MiB", func() bool { return heap()-before < 10<<20 })
		for _, c := range slow { // all are cut in the end
			_, err := io.Copy(io.Discard, c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a client that never finishes its head is not cut")
			}
		}
	})
	t.Run("a head without end", func(t *testing.T) {
		c := dial(t)
		go func() { // ends with c
			_, _ = io.WriteString(c, "GET /version HTTP/1.1\r\nHost: x\r\n")
			for {
				if _, err := io.WriteString(c, "X-Filler: "+strings.Repeat("a", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %d", resp.StatusCode)
		}
		works(t)
	})
	for name, attack := range map[string]func(*http2.Framer, *hpack.Encoder, *strings.Builder, uint32) error{
		"rapid reset": func(f *http2.Framer, enc *hpack.Encoder, head *strings.Builder, i uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block(enc, head), EndHeaders: true, EndStream: true}); err != nil {
				return err
			}
			return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
		"settings": func(f *http2.Framer, _ *hpack.Encoder, _ *strings.Builder, _ uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		},
		"ping": func(f *http2.Framer, _ *hpack.Encoder, _ *strings.Builder, _ uint32) error {
			return f.WritePing(false, [8]byte{1})
		},
		"continuation": func(f *http2.Framer, enc *hpack.Encoder, head *strings.Builder, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(enc, head), EndStream: true})
			}
			head.Reset()
			_ = enc.WriteField(hpack.HeaderField{Name: "x-more", Value: strings.Repeat("a", 1000), Sensitive: true})
			return f.WriteContinuation(1, false, []byte(head.String()))
		},
	} {
		t.Run("HTTP/2 "+name, func(t *testing.T) {
			before := heap()
			c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.WriteString(c, http2.ClientPreface)
			read := make(chan struct{})
			go func() { defer close(read); _, _ = io.Copy(io.Discard, c) }() // ends with c
			f := http2.NewFramer(c, nil)
			head := &strings.Builder{}
			enc := hpack.NewEncoder(head)
			err = f.WriteSettings()
			for i := uint32(0); err == nil && i < 5000; i++ {
				err = attack(f, enc, head, i)
			}
			works(t)
			c.Close()
			<-read
			awaits(t, "at most 10 MiB more are held", func() bool { return heap()-before < 10<<20 })
		})
	}
}

func block(enc *hpack.Encoder, head *strings.Builder) []byte {
	head.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/version"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return []byte(head.String())
}

// TestConnectionsAreBounded wants the next client to wait, not to be held.
func TestConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(ln, 2)
	accepted := make(chan net.Conn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case accepted <- c:
			case <-ctx.Done():
				c.Close()
			}
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	if len(l.slots) != 2 {
		t.Errorf("%d places taken", len(l.slots))
	}
	first.Close()
	first.Close() // gives back one place, not two
	third := <-accepted
	second.Close()
	third.Close()
	cancel()
	l.Close()
	<-done
	if n := len(l.slots); n > 1 { // one may be taken by the Accept that was woken
		t.Errorf("%d places are still taken", n)
	}
}
