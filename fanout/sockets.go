package fanout

import (
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Where Linux tells of its TCP memory. Other systems have no such files, and no
// such metric then.
const (
	sockstatFile = "/proc/net/sockstat"
	tcpMemFile   = "/proc/sys/net/ipv4/tcp_mem"
)

// socketCollector reports what the kernel's TCP buffers take, when asked. They are
// the larger part of what clients cost, and no part of the process's own memory.
type socketCollector struct{ used, limit *prometheus.Desc }

func newSocketCollector() *socketCollector {
	return &socketCollector{
		used: prometheus.NewDesc("sluice_fanout_socket_bytes",
			"Kernel memory of all TCP sockets of this network namespace.", nil, nil),
		limit: prometheus.NewDesc("sluice_fanout_socket_pressure_bytes",
			"Kernel memory of TCP sockets from which on the kernel shrinks their buffers (tcp_mem, second figure).", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *socketCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.used; ch <- c.limit }

// Collect implements prometheus.Collector.
func (c *socketCollector) Collect(ch chan<- prometheus.Metric) {
	page := float64(os.Getpagesize())
	if text, err := os.ReadFile(sockstatFile); err == nil {
		if pages, ok := tcpPages(string(text)); ok {
			ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(pages)*page)
		}
	}
	if text, err := os.ReadFile(tcpMemFile); err == nil {
		if f := strings.Fields(string(text)); len(f) == 3 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				ch <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(pages)*page)
			}
		}
	}
}

// tcpPages finds "mem N" in the line "TCP: inuse 5 orphan 0 tw 0 alloc 5 mem 3".
func tcpPages(sockstat string) (int64, bool) {
	for line := range strings.Lines(sockstat) {
		rest, ok := strings.CutPrefix(line, "TCP:")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		for i := 0; i+1 < len(f); i += 2 {
			if f[i] == "mem" {
				n, err := strconv.ParseInt(f[i+1], 10, 64)
				return n, err == nil
			}
		}
	}
	return 0, false
}
