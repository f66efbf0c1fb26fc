package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sluice/test/feed"
)

// newFeed runs the demo market feed alone: an SSE upstream to try sluice, or any client, against.
func newFeed(e env) *cobra.Command {
	var addr string
	var seed uint64
	var o feed.Options
	c := &cobra.Command{
		Use:   "feed",
		Short: "Serve the demo market feed, an SSE upstream to try things with",
		Long: "feed serves a seeded market as Server-Sent Events: /stream/ticks, /stream/quotes?s=SYMBOL and\n" +
			"/stream/any/NAME. The same seed gives the same events, numbered from midnight, so that a feed that is started\n" +
			"again goes on where it would have been. ?fault=NAME plays a fault by hand.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(c.Context(), e)
			defer stop()
			o.Start = today()
			m := feed.New(seed, o)
			defer m.Close()
			ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
			if err != nil {
				return withCode(exitOS, fmt.Errorf("feed listener: %w", err))
			}
			fmt.Fprintf(e.stderr, "market feed on http://%s/stream/ticks and /stream/quotes?s=ACME\n", ln.Addr())
			return withCode(exitFailed, serveFeed(ctx, ln, m))
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8090", "host:port to listen on")
	c.Flags().Uint64Var(&seed, "seed", 1, "what the prices and times are made from")
	c.Flags().Float64Var(&o.Rate, "rate", 12, "events per second on /stream/ticks")
	c.Flags().Float64Var(&o.QuoteRate, "quote-rate", 4, "events per second of the busiest symbol")
	c.Flags().IntVar(&o.Size, "size", 0, "pad events to this many bytes")
	return c
}

// today is what the demo market numbers its events from: the last midnight, UTC. A market that is started again goes on where
// it would have been.
func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// serveFeed serves m on ln until ctx ends, then closes every connection.
func serveFeed(ctx context.Context, ln net.Listener, m *feed.Market) error {
	srv := &http.Server{Handler: m, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case <-ctx.Done():
		_ = srv.Close()
		<-done
		return nil
	case err := <-done:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}
