package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/config/catalog"
)

// catalogMetrics tell of the definitions this process works by.
type catalogMetrics struct{ reloads *prometheus.CounterVec }

// newCatalogMetrics registers the metrics; manager is nil without a shared catalog.
func newCatalogMetrics(reg prometheus.Registerer, store catalog.Store, manager *catalog.Manager) *catalogMetrics {
	if manager != nil {
		reg.MustRegister(sharedMetrics{manager})
	}
	m := &catalogMetrics{reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_catalog_reloads_total",
		Help: "Times the definitions were read again, by result; after failed the last good ones stay."}, []string{"result"})}
	for _, result := range []string{"ok", "failed"} { // from 0 on, so that the first failure is an increase
		m.reloads.WithLabelValues(result)
	}
	reg.MustRegister(m.reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_catalog_apis",
		Help: "APIs defined."}, func() float64 {
		if snap := store.Snapshot(); snap != nil {
			return float64(len(snap.APIs()))
		}
		return 0
	}))
	return m
}

func (m *catalogMetrics) reloaded(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.reloads.WithLabelValues(result).Inc()
}

// sharedMetrics tell of the catalog that the broker keeps.
type sharedMetrics struct{ manager *catalog.Manager }

var (
	catalogRev     = prometheus.NewDesc("sluice_catalog_rev", "Revision of the newest change of the catalog that this node has seen.", nil, nil)
	catalogStale   = prometheus.NewDesc("sluice_catalog_stale", "1 while the last good copy is served because the bucket was not read yet.", nil, nil)
	catalogSuspect = prometheus.NewDesc("sluice_catalog_suspect", "1 while the bucket lacks APIs that nobody deleted; the last good ones are served.", nil, nil)
	catalogRefused = prometheus.NewDesc("sluice_catalog_refused_total", "Records that could not be read, so that the API stayed as it was.", []string{"api"}, nil)
)

// Describe implements prometheus.Collector.
func (s sharedMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{catalogRev, catalogStale, catalogSuspect, catalogRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s sharedMetrics) Collect(ch chan<- prometheus.Metric) {
	st := s.manager.Status()
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	ch <- prometheus.MustNewConstMetric(catalogRev, prometheus.GaugeValue, float64(st.Rev))
	ch <- prometheus.MustNewConstMetric(catalogStale, prometheus.GaugeValue, flag(!st.Loaded))
	ch <- prometheus.MustNewConstMetric(catalogSuspect, prometheus.GaugeValue, flag(st.Suspect != ""))
	for api, n := range st.Refused {
		ch <- prometheus.MustNewConstMetric(catalogRefused, prometheus.CounterValue, float64(n), api)
	}
}
