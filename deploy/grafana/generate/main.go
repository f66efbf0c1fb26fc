// Command generate writes the Grafana dashboards of sluice: one JSON file each, from the tables in overview.go, edge.go,
// ingest.go and broker.go. Run it with `go generate ./deploy/...`; a test compares its output with what is committed.
//
// Read main.go for the JSON that Grafana wants, then a table. No goroutines.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:generate go run . ../dashboards

// dashboard is one page: rows of panels, left to right, top to bottom.
type dashboard struct {
	uid, title, about string
	panels            []panel
}

// panel is one chart. Every one has a unit and a sentence on what it means.
type panel struct {
	title, about, unit string
	stat               bool // a figure instead of a chart
	stack              bool
	queries            []query
}

// query is PromQL, in which SEL stands for the node selector, and its legend.
type query struct{ expr, legend string }

// selector picks the nodes chosen at the top of a dashboard.
const selector = `instance=~"$instance"`

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	for _, d := range []dashboard{overview(), edge(), ingest(), brokers()} {
		text, err := json.MarshalIndent(d.json(), "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, strings.TrimPrefix(d.uid, "sluice-")+".json"), append(text, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

type object = map[string]any

func (d dashboard) json() object {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	x, y, high := 0, 0, 0 // where the next one goes, and how high its row is
	for i, p := range d.panels {
		w, h := p.size()
		if x+w > 24 || h != high {
			x, y = 0, y+high
		}
		high = h
		panels = append(panels, p.json(i+1, source, object{"x": x, "y": y, "w": w, "h": h}))
		x += w
	}
	return object{
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"sluice"}, "schemaVersion": 39, "version": 1,
		"editable": true, "graphTooltip": 1, "refresh": "10s", "time": object{"from": "now-1h", "to": "now"}, "panels": panels,
		"links": []object{{"type": "dashboards", "tags": []string{"sluice"}, "title": "sluice", "asDropdown": true, "includeVars": true, "keepTime": true}},
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
			{"name": "instance", "label": "node", "type": "query", "datasource": source, "query": "label_values(sluice_build_info, instance)",
				"refresh": 2, "includeAll": true, "multi": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"}},
		}},
	}
}

// size is in Grafana's grid of 24 columns.
func (p panel) size() (w, h int) {
	if p.stat {
		return 4, 4
	}
	return 8, 8
}

func (p panel) json(id int, source, at object) object {
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{"refId": string(rune('A' + i)), "datasource": source, "expr": strings.ReplaceAll(q.expr, "SEL", selector),
			"legendFormat": q.legend, "range": true})
	}
	custom := object{"fillOpacity": 10, "showPoints": "never"}
	if p.stack {
		custom["stacking"] = object{"mode": "normal"}
	}
	o := object{
		"id": id, "type": "timeseries", "title": p.title, "description": p.about, "datasource": source, "gridPos": at, "targets": targets,
		"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0, "custom": custom}, "overrides": []object{}},
		"options":     object{"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi", "sort": "desc"}},
	}
	if p.stat {
		o["type"] = "stat"
		o["fieldConfig"] = object{"defaults": object{"unit": p.unit}, "overrides": []object{}}
		o["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "graphMode": "area"}
	}
	return o
}

// rate is the sum of counters per second, by the labels given.
func rate(metric, by, legend string) query {
	return query{fmt.Sprintf("sum by (%s) (rate(%s{SEL}[$__rate_interval]))", by, metric), legend}
}

// sum is the sum of gauges, by the labels given.
func sum(metric, by, legend string) query {
	return query{fmt.Sprintf("sum by (%s) (%s{SEL})", by, metric), legend}
}

// quantiles are p50 and p99 of a histogram.
func quantiles(metric, name string) []query {
	var qs []query
	for _, q := range []struct{ value, name string }{{"0.5", "p50"}, {"0.99", "p99"}} {
		qs = append(qs, query{fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s_bucket{SEL}[$__rate_interval])))", q.value, metric),
			strings.TrimSpace(name + " " + q.name)})
	}
	return qs
}
