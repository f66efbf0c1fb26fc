package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"sluice/config/catalog"
	"sluice/test/feed"
)

// demoAPI is the definition that the demo serves; %s is the market feed's address.
const demoAPI = `apiVersion: sluice/v1
kind: API
metadata: {name: market, displayName: Market data, description: A seeded market that moves by itself., tags: [demo]}
spec:
  context: /market
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  cors: {origins: ['*']}
  topics:
    - name: /ticks
      backend: /stream/ticks
      security: none
      retention: {maxAge: 10m, maxEvents: 100000}
    - name: /quotes/{symbol}
      params: {symbol: '^[A-Z.]{1,8}$'}
      backend: /stream/quotes?s={symbol}
      security: none
`

// newDemo is serve with the market feed behind it: the whole line on one machine, with a real HTTP upstream.
func newDemo(e env) *cobra.Command {
	var feedAddr string
	var rate float64
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the gateway with a moving market behind it, to try everything at once",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, warnings, err := loadSettings(c, e, "")
			if err != nil {
				return err
			}
			cfg.Edge.Drain.Delay, cfg.Fanout.Drain.Over = 0, min(cfg.Fanout.Drain.Over, 2*time.Second) // no balancer waits here, but a person
			ln, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", feedAddr)
			if err != nil {
				return withCode(exitOS, fmt.Errorf("market feed: %w", err))
			}
			market := feed.New(1, feed.Options{Start: today(), Rate: rate, Keep: 20_000, Event: "tick"})
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- serveFeed(ctx, ln, market) }()
			defer func() { stop(); <-done; market.Close() }()
			guard := newGuard(cfg)
			store, err := openFixed(catalogOptions(cfg, guard), catalog.Source{Name: "demo", Data: fmt.Appendf(nil, demoAPI, ln.Addr())})
			if err != nil {
				return withCode(exitInvalid, err)
			}
			return serve(c.Context(), e, cfg, warnings, guard, store, func(p *process) { p.banner(e, ln.Addr()) })
		},
	}
	addSettings(c)
	c.Flags().StringVar(&feedAddr, "feed", "127.0.0.1:8090", "host:port of the market feed, the demo's upstream")
	c.Flags().Float64Var(&rate, "rate", 12, "ticks per second")
	return c
}

// banner tells what to try.
func (p *process) banner(e env, market net.Addr) {
	w := e.stdout
	fmt.Fprintf(w, "\nsluice demo is running. Try, in another terminal:\n\n")
	if a := p.edge.Addrs()["edge-http"]; a != nil {
		at := "http://" + localhost(a)
		fmt.Fprintf(w, "  curl -N %s/market/1.0.0/ticks\n", at)
		fmt.Fprintf(w, "  curl -N %s/market/1.0.0/quotes/ACME\n", at)
		fmt.Fprintf(w, "  curl -N '%s/market/1.0.0/ticks?from=last:5'\n", at)
		fmt.Fprintf(w, "  sluice tail %s/market/1.0.0/ticks     resumes by itself: stop and start the demo meanwhile\n", at)
	}
	if a := p.edge.Addrs()["edge-https"]; a != nil {
		fmt.Fprintf(w, "  curl -kN https://%s/market/1.0.0/ticks\n", localhost(a))
	}
	if p.opsAt != nil {
		fmt.Fprintf(w, "\n  health   http://%[1]s/readyz?verbose\n  metrics  http://%[1]s/metrics\n  feeds    http://%[1]s/feeds\n", localhost(p.opsAt))
	}
	if p.control != nil {
		fmt.Fprintf(w, "  portal   http://%[1]s/portal/\n", localhost(p.control))
		fmt.Fprintf(w, "  manage   http://%[1]s/docs, or: sluice login --server http://%[1]s; sluice describe api market@1.0.0\n", localhost(p.control))
	}
	fmt.Fprintf(w, "  upstream http://%s/stream/ticks\n\nCtrl-C drains and ends; a second one ends at once.\n\n", market)
}

// localhost shows an address as a user of this machine would type it.
func localhost(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
