package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// poll is how often certificate files are looked at: files that are replaced by rename or symlink, as certificate tools do, need no
// directory watch.
const poll = 2 * time.Second

// Suites are those of TLS 1.2 that a listener speaks: forward secrecy and authenticated encryption, nothing else. Go's own list has
// ECDHE with CBC too. TLS 1.3 has its own.
func Suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// Options say where the certificate of a listener is.
type Options struct {
	// Listener names it in errors, log lines and metrics.
	Listener string
	// Cert and Key are PEM files; with an empty Cert, one for development is kept in the folder Data, or in memory if that is empty.
	Cert, Key, Data string
	Logger          *slog.Logger
	// Registerer takes the metrics; nil = none.
	Registerer prometheus.Registerer
	// Clock is the wall clock; nil = time.Now.
	Clock func() time.Time
}

// Pair serves the current certificate of one listener. A pair of files that cannot be used keeps the old one. Safe for concurrent use.
type Pair struct {
	o       Options
	current atomic.Pointer[tls.Certificate]
	reloads *prometheus.CounterVec
	seen    [2]fileState // owned by Watch
	reload  chan struct{}
}

type fileState struct {
	size int64
	mod  time.Time
}

// Load reads the pair, or for development the one that is kept, which is made when there is none that is still good for a while.
func Load(o Options) (*Pair, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	p := &Pair{o: o, reload: make(chan struct{}, 1)}
	p.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_tls_cert_reloads_total", Help: "Times the certificate files were read again, by result; after failed the old pair stays.",
		ConstLabels: prometheus.Labels{"listener": o.Listener},
	}, []string{"result"})
	for _, result := range []string{"ok", "failed"} { // from 0 on, so that the first failure is an increase
		p.reloads.WithLabelValues(result)
	}
	if o.Cert == "" {
		cert, err := devCertificate(o.Data, o.Clock())
		if err != nil {
			return nil, fmt.Errorf("%s: development certificate: %w", o.Listener, err)
		}
		p.current.Store(&cert)
	} else {
		p.changed()
		if err := p.read(); err != nil {
			return nil, err
		}
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(p.reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_tls_cert_expiry_seconds", Help: "Time until the certificate of a TLS listener expires; negative = it has.",
			ConstLabels: prometheus.Labels{"listener": o.Listener},
		}, func() float64 { return p.Expires().Sub(o.Clock()).Truncate(time.Second).Seconds() }))
	}
	return p, nil
}

// Config is what the listener's server speaks. ALPN is left to the server.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: Suites(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}

// Expires is when the certificate ends.
func (p *Pair) Expires() time.Time { return p.current.Load().Leaf.NotAfter }

func (p *Pair) read() error {
	cert, err := tls.LoadX509KeyPair(p.o.Cert, p.o.Key)
	if err != nil {
		return fmt.Errorf("%s: certificate %s with key %s: %w", p.o.Listener, p.o.Cert, p.o.Key, err)
	}
	p.current.Store(&cert)
	return nil
}

// changed compares the files with what was seen last.
func (p *Pair) changed() bool {
	changed := false
	for i, name := range []string{p.o.Cert, p.o.Key} {
		var st fileState
		if fi, err := os.Stat(name); err == nil {
			st = fileState{fi.Size(), fi.ModTime()}
		}
		if st != p.seen[i] {
			p.seen[i], changed = st, true
		}
	}
	return changed
}

// Watch reads the pair again when a file changed or on request, until ctx ends.
func (p *Pair) Watch(ctx context.Context) {
	if p.o.Cert == "" {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.reload:
			forced = true
		}
		if !p.changed() && !forced {
			continue
		}
		if err := p.read(); err != nil {
			p.reloads.WithLabelValues("failed").Inc()
			p.o.Logger.Error("cert.reload", "listener", p.o.Listener, "error", err.Error(), "kept", true)
			continue
		}
		p.reloads.WithLabelValues("ok").Inc()
		p.o.Logger.Info("cert.reload", "listener", p.o.Listener, "cert", p.o.Cert, "not_after", p.Expires())
	}
}

// Reload asks Watch to read the files now.
func (p *Pair) Reload() {
	select {
	case p.reload <- struct{}{}:
	default:
	}
}
