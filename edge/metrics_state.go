package edge

import (
	"github.com/prometheus/client_golang/prometheus"
)

// staleCollector reports, when asked, how many of the feeds held here have a line
// that is cut: what gateway.stale tells those clients that asked for it.
type staleCollector struct {
	s     *Server
	feeds *prometheus.Desc
}

func newStaleCollector(s *Server) *staleCollector {
	return &staleCollector{s, prometheus.NewDesc("sluice_edge_feeds_stale",
		"Feeds held here whose line is cut, by what is: upstream, owner or broker.", []string{"api", "reason"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *staleCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.feeds }

// Collect implements prometheus.Collector.
func (c *staleCollector) Collect(ch chan<- prometheus.Metric) {
	type key struct{ api, reason string }
	now, count := c.s.now(), map[key]int{}
	for _, f := range c.s.hub.Feeds() {
		if reason, _ := staleness(now, c.s.link, f, f.Opened()); reason != "" {
			count[key{f.API(), reason}]++
		}
	}
	for k, n := range count {
		ch <- prometheus.MustNewConstMetric(c.feeds, prometheus.GaugeValue, float64(n), k.api, k.reason)
	}
}
