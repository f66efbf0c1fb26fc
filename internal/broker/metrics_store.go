package broker

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
)

// storeCollector reports what an embedded broker stores, when asked. Another broker
// has its own metrics.
type storeCollector struct {
	s              *Server
	used, reserved *prometheus.Desc
	limit          *prometheus.Desc
}

func newStoreCollector(s *Server) *storeCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_broker_store_"+name, help, []string{"kind"}, nil)
	}
	return &storeCollector{s: s,
		used:     desc("bytes", "Bytes stored by the embedded broker, by kind of store: file, memory."),
		reserved: desc("reserved_bytes", "Bytes promised to streams of the embedded broker; no other stream can have them."),
		limit:    desc("limit_bytes", "What the embedded broker may store.")}
}

// Describe implements prometheus.Collector.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.used
	ch <- c.reserved
	ch <- c.limit
}

// Collect implements prometheus.Collector.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	info, err := c.s.ns.Jsz(&server.JSzOptions{})
	if err != nil || info.Disabled {
		return // shutting down
	}
	for kind, v := range map[string][3]float64{
		"file":   {float64(info.Store), float64(info.ReservedStore), float64(info.Config.MaxStore)},
		"memory": {float64(info.Memory), float64(info.ReservedMemory), float64(info.Config.MaxMemory)},
	} {
		for i, d := range []*prometheus.Desc{c.used, c.reserved, c.limit} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v[i], kind)
		}
	}
}
