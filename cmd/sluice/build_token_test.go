package main

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
)

// Each insecure setting shows in a metric, and only while it is on; that the start warns of it is C9e and C9f of test/badinput.
func TestInsecureSettingsShow(t *testing.T) {
	const query, keys = "auth.insecureQueryToken", "auth.issuers.jwks"
	jwks := func(url string) config.Auth { return config.Auth{Issuers: []config.AuthIssuer{{JWKS: url}}} }
	for name, c := range map[string]struct {
		auth config.Auth
		want map[string]float64
	}{
		"none":          {config.Auth{}, map[string]float64{query: 0, keys: 0}},
		"query":         {config.Auth{InsecureQueryToken: true}, map[string]float64{query: 1, keys: 0}},
		"keys by http":  {jwks("http://a.example/keys"), map[string]float64{query: 0, keys: 1}},
		"keys by https": {jwks("https://a.example/keys"), map[string]float64{query: 0, keys: 0}},
	} {
		p := &process{cfg: config.Config{Auth: c.auth}, reg: prometheus.NewRegistry()}
		p.insecureSettings()
		all, err := p.reg.Gather()
		if err != nil || len(all) != 1 || all[0].GetName() != "sluice_insecure_settings" {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		got := map[string]float64{}
		for _, m := range all[0].Metric {
			got[m.Label[0].GetValue()] = m.GetGauge().GetValue()
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
