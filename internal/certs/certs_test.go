package certs

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writePair makes a certificate for a while and puts it into two files, both of which hold it with its key.
func writePair(t *testing.T, dir string) Options {
	t.Helper()
	_, text, err := SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Listener: "l", Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	for _, name := range []string{o.Cert, o.Key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// serve answers handshakes with conf until the test ends.
func serve(t *testing.T, conf *tls.Config) (addr string) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).HandshakeContext(context.Background())
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func TestVersionsAndSuites(t *testing.T) {
	p, err := Load(writePair(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, p.Config())
	shake := func(c *tls.Config) error {
		c.InsecureSkipVerify = true
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return tls.Client(conn, c).HandshakeContext(t.Context())
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if shake(&tls.Config{MinVersion: v, MaxVersion: v}) == nil {
			t.Errorf("%s is spoken", tls.VersionName(v))
		}
	}
	if err := shake(&tls.Config{MinVersion: tls.VersionTLS13}); err != nil {
		t.Errorf("TLS 1.3: %v", err)
	}
	spoken := 0
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13 || strings.Contains(s.Name, "RSA") {
			continue // another version; or needs an RSA key
		}
		err := shake(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}})
		good := strings.HasPrefix(s.Name, "TLS_ECDHE_ECDSA_") && !strings.Contains(s.Name, "CBC") && !strings.Contains(s.Name, "RC4")
		if (err == nil) != good {
			t.Errorf("%s: %v", s.Name, err)
		}
		if err == nil {
			spoken++
		}
	}
	if spoken != 3 {
		t.Errorf("%d suites with an ECDSA key, want 3", spoken)
	}
	if n := len(Suites()); n != 6 {
		t.Errorf("%d suites", n)
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	reg := prometheus.NewRegistry()
	o := writePair(t, dir)
	o.Registerer = reg
	p, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Watch(ctx) }()
	defer func() { cancel(); <-done }()
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
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
	first := p.current.Load()
	writePair(t, dir)
	p.Reload()
	until("the new pair", func() bool { return p.current.Load() != first })
	second := p.current.Load().Leaf.SerialNumber
	if err := os.WriteFile(o.Cert, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Reload()
	until("the broken pair", func() bool { return testutil.ToFloat64(p.reloads.WithLabelValues("failed")) > 0 })
	if got := p.current.Load().Leaf.SerialNumber; got.Cmp(second) != 0 {
		t.Error("the broken pair replaced the good one")
	}
	n, err := testutil.GatherAndCount(reg, "sluice_tls_cert_expiry_seconds", "sluice_tls_cert_reloads_total")
	if err != nil || n < 2 {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestBadPairIsRefused(t *testing.T) {
	o := writePair(t, t.TempDir())
	if err := os.WriteFile(o.Key, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(o); err == nil || !strings.Contains(err.Error(), o.Key) || strings.Contains(err.Error(), "nothing") {
		t.Errorf("told %v", err)
	}
}

// The development certificate is kept, and made anew before it ends.
func TestDevCertificateIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	now := time.Now()
	serial := func(at time.Time) string {
		c, err := devCertificate(dir, at)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial(now)
	if again := serial(now.Add(300 * 24 * time.Hour)); again != first {
		t.Error("made again although it is good for weeks")
	}
	if renewed := serial(now.Add(devLife - time.Hour)); renewed == first {
		t.Error("not renewed an hour before its end")
	}
	if st, err := os.Stat(filepath.Join(dir, "dev-tls.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
}
