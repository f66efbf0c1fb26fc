package feed

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
)

func TestCertificatesAreRefused(t *testing.T) {
	for kind, refused := range map[string]func(error) bool{
		"expired": func(err error) bool {
			e := (x509.CertificateInvalidError{})
			return errors.As(err, &e) && e.Reason == x509.Expired
		},
		"wrong-host":  func(err error) bool { e := (x509.HostnameError{}); return errors.As(err, &e) },
		"self-signed": func(err error) bool { return err == nil }, // its authority is trusted here
	} {
		cert, err := Certificate(kind)
		if err != nil {
			t.Fatal(err)
		}
		m := New(1, Options{Manual: true})
		s := httptest.NewUnstartedServer(m)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
		pool := x509.NewCertPool()
		pool.AddCert(cert.Leaf)
		c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: pool})
		if err == nil {
			c.Close()
		}
		if !refused(err) {
			t.Errorf("%s with its authority trusted: %v", kind, err)
		}
		_, err = tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: x509.NewCertPool()})
		if err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s without trust: %v", kind, err)
		}
		m.Close()
		s.Close()
	}
	if _, err := Certificate("good"); err == nil {
		t.Error("certificate good was made")
	}
}
