package broker

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const maxLoginFile = 1 << 20

// Login says who this process is to the servers of Config.URLs. At most one of File and
// User is set. Files are read at each connect, so that they may be replaced at any time.
type Login struct {
	// File is a NATS credentials file (.creds) or the seed of a user's nkey.
	File string
	// User logs in with Password or, if that is empty, the first line of PasswordFile.
	User, Password, PasswordFile string
}

// TLS says how connections to Config.URLs are secured. The zero value leaves it to the
// URL's scheme; any other makes TLS a must. Files are read at each connect.
type TLS struct {
	CA         string // PEM file of authorities; "" = the system's
	Cert, Key  string // PEM files of this process's certificate; "" = none
	ServerName string // expected of the servers; "" = the host of the URL
	MinVersion uint16 // as in tls.Config
}

func (t TLS) used() bool {
	return t != TLS{} && t != TLS{MinVersion: t.MinVersion} || t.MinVersion > tls.VersionTLS12
}

// authorities reads CA.
func (t TLS) authorities() (*x509.CertPool, error) {
	text, err := readLoginFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("broker authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("broker authorities: %s holds no certificate in PEM", t.CA)
	}
	return pool, nil
}

// certificate reads Cert and Key.
func (t TLS) certificate() (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return c, fmt.Errorf("broker certificate %s with key %s: %w", t.Cert, t.Key, err)
	}
	return c, nil
}

// options are those of one connection.
func (t TLS) options() []nats.Option {
	if !t.used() {
		return nil
	}
	opts := []nats.Option{nats.Secure(&tls.Config{MinVersion: max(t.MinVersion, tls.VersionTLS12), ServerName: t.ServerName})}
	var cert nats.TLSCertHandler
	var roots nats.RootCAsHandler
	if t.Cert != "" {
		cert = t.certificate
	}
	if t.CA != "" {
		roots = t.authorities
	}
	if cert != nil || roots != nil {
		opts = append(opts, nats.ClientTLSConfig(cert, roots))
	}
	return opts
}

// check reads every file once.
func (t TLS) check() error {
	var errs []error
	if t.CA != "" {
		_, err := t.authorities()
		errs = append(errs, err)
	}
	if t.Cert != "" || t.Key != "" {
		_, err := t.certificate()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// credential is one connection's way to log in.
type credential struct {
	Login
	conn atomic.Pointer[nats.Conn] // set once Connect has returned
	pass atomic.Pointer[string]    // the last password that could be read
}

// options are those of the connection; an error says what is wrong with a file, never
// what is in it.
func (c *credential) options() ([]nats.Option, error) {
	switch {
	case c.User != "":
		pass, err := c.password()
		if err != nil {
			return nil, err
		}
		c.pass.Store(&pass)
		return []nats.Option{nats.UserInfoHandler(c.userInfo)}, nil
	case c.File == "":
		return nil, nil
	}
	text, err := readLoginFile(c.File)
	if err != nil {
		return nil, fmt.Errorf("broker credentials: %w", err)
	}
	if strings.Contains(string(text), "BEGIN NATS USER JWT") {
		return c.signed(nats.UserCredentials(c.File))
	}
	opt, err := nats.NkeyOptionFromSeed(c.File)
	if err != nil {
		return nil, c.unusable(err)
	}
	return []nats.Option{opt, nats.ReconnectToServer(c.reread)}, nil
}

// signed checks that a credentials file has all it needs.
func (c *credential) signed(opt nats.Option) ([]nats.Option, error) {
	var o nats.Options
	err := opt(&o)
	if err == nil {
		_, err = o.UserJWT()
	}
	if err == nil {
		_, err = o.SignatureCB([]byte("nonce"))
	}
	if err != nil {
		return nil, c.unusable(err)
	}
	return []nats.Option{opt}, nil
}

func (c *credential) unusable(err error) error {
	return fmt.Errorf("broker credentials: %s is neither a NATS .creds file nor the seed of a user's nkey (SU…): %w", c.File, err)
}

// publicKey is the name that the seed in the file stands for.
func (c *credential) publicKey() (string, error) {
	opt, err := nats.NkeyOptionFromSeed(c.File)
	if err != nil {
		return "", c.unusable(err)
	}
	var o nats.Options
	if err := opt(&o); err != nil {
		return "", c.unusable(err)
	}
	return o.Nkey, nil
}

// PublicKey is the public half of the seed in file.
func PublicKey(file string) (string, error) {
	if _, err := readLoginFile(file); err != nil {
		return "", fmt.Errorf("broker credentials: %w", err)
	}
	return (&credential{Login: Login{File: file}}).publicKey()
}

// reread is called by the library before it connects again, its connection locked: a
// replaced seed is another name, which the library would otherwise keep. It leaves the
// choice of the server to the library.
func (c *credential) reread([]nats.Server, nats.ServerInfo) (*nats.Server, time.Duration) {
	if nc := c.conn.Load(); nc != nil {
		if pub, err := c.publicKey(); err == nil {
			nc.Opts.Nkey = pub
		}
	}
	return nil, 0
}

func (c *credential) userInfo() (user, password string) {
	if pass, err := c.password(); err == nil {
		c.pass.Store(&pass)
	}
	return c.User, *c.pass.Load()
}

func (c *credential) password() (string, error) {
	if c.PasswordFile == "" {
		return c.Password, nil
	}
	text, err := readLoginFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("broker password: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("broker password: the first line of %s is empty", c.PasswordFile)
	}
	return line, nil
}

// readLoginFile reads a small file; its error names the file.
func readLoginFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLoginFile+1))
	if err == nil && len(text) > maxLoginFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxLoginFile)
	}
	return text, err
}

// CheckFiles reads every file that connecting needs. Its error says which is wrong and
// why, never what is in it.
func (c Config) CheckFiles() error {
	if c.Login.File != "" && c.Login.User != "" {
		return errors.New("broker: credentials file and user name: a server takes one of them")
	}
	_, err := (&credential{Login: c.Login}).options()
	return errors.Join(err, c.TLS.check())
}

// filesSum changes when a file that connecting needs does.
func (c Config) filesSum() [sha256.Size]byte {
	h := sha256.New()
	for _, name := range []string{c.Login.File, c.Login.PasswordFile, c.TLS.CA, c.TLS.Cert, c.TLS.Key} {
		text, err := []byte(nil), error(nil)
		if name != "" {
			text, err = readLoginFile(name)
		}
		fmt.Fprintf(h, "%d %t\n%s", len(text), err == nil, text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
