package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Life of the development certificate. It is kept so that a browser's exception for
// it lasts.
const (
	devLife    = 365 * 24 * time.Hour
	devRenewAt = 7 * 24 * time.Hour // before its end
)

// devCertificate reads the certificate kept in folder, or makes one and keeps it.
// Without a folder it lives as long as the process.
func devCertificate(folder string, now time.Time) (tls.Certificate, error) {
	if folder == "" {
		cert, _, err := SelfSigned(now)
		return cert, err
	}
	file := filepath.Join(folder, "dev-tls.pem") // certificate and key
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, err
	}
	if cert, err := tls.X509KeyPair(text, text); err == nil && now.Add(devRenewAt).Before(cert.Leaf.NotAfter) {
		return cert, nil
	}
	cert, text, err := SelfSigned(now)
	if err != nil {
		return cert, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return cert, err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return cert, err
	}
	return cert, os.Rename(file+".new", file)
}

// SelfSigned makes a certificate for this machine, for development only: nobody
// trusts it. The text is certificate and key as PEM.
func SelfSigned(now time.Time) (tls.Certificate, []byte, error) {
	fail := func(err error) (tls.Certificate, []byte, error) {
		return tls.Certificate{}, nil, fmt.Errorf("make a certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fail(err)
	}
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "sluice development"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(devLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return fail(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})...)
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fail(err)
	}
	return cert, text, nil
}
