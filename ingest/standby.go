package ingest

import (
	"context"
	"net"
	"net/url"
	"time"

	"sluice/internal/broker"
)

// Bounds of keeping warm.
const (
	warmEvery = time.Minute
	warmTime  = 2 * time.Second // for one question
	warmMost  = 64              // streams, and hosts, at once
)

// warm readies this node for the feeds that it would take over: once a minute it asks each one's stream for a last event, as a
// take-over does, and looks the upstreams' hosts up, so that caches on the way have them.
func (s *Supervisor) warm(hard context.Context) {
	if s.members == nil || s.plan == nil || s.draining || time.Since(s.warmed) < warmEvery || !s.warming.CompareAndSwap(false, true) {
		return
	}
	s.warmed = time.Now()
	streams, hosts := map[string]broker.FeedID{}, map[string]bool{}
	note := func(id broker.FeedID, d *def) {
		if s.plan.Of(id).Standby != s.name {
			return
		}
		if len(streams) < warmMost {
			streams[id.API] = id
		}
		if u, err := url.Parse(d.target.URL); err == nil && len(hosts) < warmMost {
			hosts[u.Hostname()] = true
		}
	}
	for id, d := range s.always {
		note(id, d)
	}
	for id, t := range s.table {
		note(id, t.def)
	}
	if s.out.dialer != nil {
		clear(hosts) // who dials otherwise looks up otherwise
	}
	s.chores.Go(func() {
		defer s.warming.Store(false)
		for _, id := range streams {
			brief(hard, func(ctx context.Context) error { _, err := s.writer.Last(ctx, id); return err })
		}
		for host := range hosts {
			brief(hard, func(ctx context.Context) error {
				_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				return err
			})
		}
	})
}

// brief does f within warmTime. That it fails matters only to who comes to need it, and is told there.
func brief(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	_ = f(ctx) //nolint:errcheck // see above
}
