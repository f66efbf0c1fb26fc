package edge

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/config"
	"sluice/internal/certs"
)

// writePair makes a certificate and puts it where the settings point.
func writePair(t *testing.T, dir string) config.EdgeHTTPS {
	t.Helper()
	_, text, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := config.EdgeHTTPS{Addr: "127.0.0.1:0", ALPN: []string{"http/1.1"}, Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	for _, name := range []string{c.Cert, c.Key} { // the file holds both blocks
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (r *rig) serial() string {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.tlsAddr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// C10: a new pair is served without a restart; a broken one keeps the old.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, func(s *setup) { s.cfg.Edge.HTTPS = writePair(t, dir) })
	first := r.serial()
	writePair(t, dir)
	r.srv.Reload()
	wait(t, "the new certificate is served", func() bool { return r.serial() != first })
	second := r.serial()
	if err := os.WriteFile(filepath.Join(dir, "c.pem"), []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.srv.Reload()
	wait(t, "the broken pair is told", func() bool {
		for _, l := range r.logs.events("cert.reload") {
			if l["level"] == "ERROR" {
				return true
			}
		}
		return false
	})
	if got := r.serial(); got != second {
		t.Errorf("serial %s, want %s", got, second)
	}
}
