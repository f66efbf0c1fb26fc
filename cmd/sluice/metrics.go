package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/config/catalog"
)

// catalogMetrics tell of the definitions this process works by.
type catalogMetrics struct{ reloads *prometheus.CounterVec }

func newCatalogMetrics(reg prometheus.Registerer, store catalog.Store) *catalogMetrics {
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
