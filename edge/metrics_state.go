package edge

import (
	"time"

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

// certCollector reports how long the certificate of the TLS listener is still good.
type certCollector struct{ s *Server }

func certExpiry() *prometheus.Desc {
	return prometheus.NewDesc("sluice_edge_cert_expiry_seconds",
		"Time until the certificate of the TLS listener expires; negative = it has.", nil, nil)
}

// Describe implements prometheus.Collector.
func (c certCollector) Describe(ch chan<- *prometheus.Desc) { ch <- certExpiry() }

// Collect implements prometheus.Collector.
func (c certCollector) Collect(ch chan<- prometheus.Metric) {
	c.s.mu.Lock()
	certs := c.s.certs
	c.s.mu.Unlock()
	if certs == nil {
		return
	}
	left := certs.current.Load().Leaf.NotAfter.Sub(c.s.now())
	ch <- prometheus.MustNewConstMetric(certExpiry(), prometheus.GaugeValue, left.Truncate(time.Second).Seconds())
}
