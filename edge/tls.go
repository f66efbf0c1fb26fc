package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"sluice/config"
)

// certPoll is how often certificate files are looked at: files that are replaced by
// rename or symlink, as certificate tools do, need no directory watch.
const certPoll = 2 * time.Second

// certificates serves the current certificate of the TLS listener and reads it again
// when its files change. A bad pair keeps the old one.
type certificates struct {
	certFile, keyFile string // "" = made in memory
	log               *slog.Logger
	metrics           *edgeMetrics
	current           atomic.Pointer[tls.Certificate]
	seen              [2]fileState // owned by watch
	reload            chan struct{}
}

type fileState struct {
	size int64
	mod  time.Time
}

// loadCertificates reads the configured pair or, for development, the one kept in
// the data folder, made when there is none that is still good for a while.
func loadCertificates(c config.EdgeHTTPS, data string, now time.Time, log *slog.Logger) (*certificates, error) {
	cs := &certificates{log: log, reload: make(chan struct{}, 1)}
	if c.Cert == "" && c.DevTLS {
		cert, err := devCertificate(data, now)
		if err != nil {
			return nil, fmt.Errorf("edge https: development certificate: %w", err)
		}
		cs.current.Store(&cert)
		return cs, nil
	}
	cs.certFile, cs.keyFile = c.Cert, c.Key
	cs.changed()
	if err := cs.read(); err != nil {
		return nil, err
	}
	return cs, nil
}

// get is tls.Config.GetCertificate.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

func (c *certificates) read() error {
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("edge https: certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&cert)
	return nil
}

// changed compares the files with what was seen last.
func (c *certificates) changed() bool {
	changed := false
	for i, name := range []string{c.certFile, c.keyFile} {
		var st fileState
		if fi, err := os.Stat(name); err == nil {
			st = fileState{fi.Size(), fi.ModTime()}
		}
		if st != c.seen[i] {
			c.seen[i], changed = st, true
		}
	}
	return changed
}

// watch reads the pair again when a file changed or on request, until ctx ends.
func (c *certificates) watch(ctx context.Context) {
	if c.certFile == "" {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(certPoll)
	defer tick.Stop()
	for {
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.reload:
			forced = true
		}
		if !c.changed() && !forced {
			continue
		}
		err := c.read()
		c.metrics.certRead(err)
		if err != nil {
			c.log.Error("cert.reload", "error", err.Error(), "kept", true)
			continue
		}
		c.log.Info("cert.reload", "cert", c.certFile, "not_after", c.current.Load().Leaf.NotAfter)
	}
}

// again asks watch to read the files now.
func (c *certificates) again() {
	select {
	case c.reload <- struct{}{}:
	default:
	}
}
