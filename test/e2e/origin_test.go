package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
)

// origin is the market at an address that it keeps when it goes down and comes back.
type origin struct {
	*feed.Market
	t    *testing.T
	addr string
	srv  *http.Server
	done sync.WaitGroup
}

func newOrigin(t *testing.T, o feed.Options, script ...feed.Step) *origin {
	t.Helper()
	or := &origin{Market: feed.New(1, o, script...), t: t, addr: gateway.FreeAddr(t)}
	or.up()
	t.Cleanup(func() { or.down(); or.Close() })
	return or
}

// up listens again.
func (o *origin) up() {
	o.t.Helper()
	ln, err := net.Listen("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.srv = &http.Server{Handler: o.Market, ReadHeaderTimeout: 5 * time.Second}
	o.done.Go(func() { _ = o.srv.Serve(ln) })
}

// down closes the listener and resets all connections.
func (o *origin) down() {
	_ = o.srv.Close()
	o.Cut("", true)
	o.done.Wait()
}

// wait waits for a state of a feed at the market.
func (o *origin) wait(feedName, what string, ok func(feed.Stats) bool) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), gateway.Patience)
	defer cancel()
	if err := o.Wait(ctx, feedName, ok); err != nil {
		o.t.Fatalf("market: %s: %v, state %+v", what, err, o.Stats(feedName))
	}
}

// newTLSOrigin serves the market over TLS with a bad certificate and returns its address.
func newTLSOrigin(t *testing.T, m *feed.Market, kind string) string {
	t.Helper()
	cert, err := feed.Certificate(kind)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(m)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report each refused handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
