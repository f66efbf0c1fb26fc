package main

import (
	"net/http"
	"time"

	"sluice/internal/version"
)

// nodeReport is the body of GET /status: this node in figures. Totals count since the start of the process; they are those
// of /metrics, summed over their labels.
type nodeReport struct {
	Node          string    `json:"node"`
	Version       string    `json:"version"`
	Roles         []string  `json:"roles"`
	Now           time.Time `json:"now"` // when the totals were read: rates are differences of two reports
	Started       time.Time `json:"started"`
	UptimeSeconds float64   `json:"uptimeSeconds"`
	Draining      bool      `json:"draining"`
	BrokerUp      bool      `json:"brokerUp"`
	BrokerWhy     string    `json:"brokerWhy,omitempty"` // of a link that is down

	Connections      int     `json:"connections"` // open streams
	ConnectionsLimit int     `json:"connectionsLimit"`
	Deliveries       float64 `json:"deliveries"` // events handed to sockets
	SentBytes        float64 `json:"sentBytes"`
	EventsStored     float64 `json:"eventsStored"`
	GapsTold         float64 `json:"gapsTold"` // in feeds, at resumes and to slow clients
	CPUSeconds       float64 `json:"cpuSeconds"`

	ShardsBusy []float64    `json:"shardsBusy"` // share of time in which each shard was not parked
	Memory     memoryReport `json:"memory"`
}

// memoryReport is memory in bytes, beside its budget; a limit of 0 is none.
type memoryReport struct {
	Used       float64 `json:"used"`  // by the process, garbage left out
	Limit      float64 `json:"limit"` // at 80 % joins are refused
	Resident   float64 `json:"resident"`
	Fanout     float64 `json:"fanout"` // logs, indexes and blocks of backlog
	FanoutMax  float64 `json:"fanoutLimit"`
	Queues     float64 `json:"queues"` // read from upstreams and not yet stored
	QueuesMax  float64 `json:"queuesLimit"`
	Sockets    float64 `json:"sockets"` // kernel memory of TCP, on Linux
	SocketsMax float64 `json:"socketsLimit"`
}

// serveStatus answers GET /status.
func (p *process) serveStatus(w http.ResponseWriter, _ *http.Request) {
	r := nodeReport{
		Node: nodeName(p.cfg), Version: version.Read().Version, Now: time.Now(), Started: p.began,
		UptimeSeconds: time.Since(p.began).Seconds(),
	}
	for _, role := range p.cfg.Roles {
		r.Roles = append(r.Roles, string(role))
	}
	if p.edge != nil {
		r.Draining = p.edge.Draining()
	}
	if p.broker != nil {
		link := p.broker.Link()
		r.BrokerUp = link.Up
		if !link.Up {
			r.BrokerWhy = link.Why
		}
	}
	r.fill(p.totals())
	writeStatus(w, r)
}

// totals sums each metric over its labels, and lists how busy each shard is.
func (p *process) totals() (sum map[string]float64, busy []float64) {
	families, err := p.reg.Gather()
	if err != nil {
		p.log.Warn("status from incomplete metrics", "error", err)
	}
	sum = map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			sum[f.GetName()] += v
			if f.GetName() == "sluice_fanout_shard_busy_ratio" {
				busy = append(busy, v)
			}
		}
	}
	return sum, busy
}

// fill sets what the metrics tell.
func (r *nodeReport) fill(sum map[string]float64, busy []float64) {
	r.ShardsBusy = busy
	r.Connections, r.ConnectionsLimit = int(sum["sluice_edge_connections"]), int(sum["sluice_edge_connections_limit"])
	r.Deliveries, r.SentBytes = sum["sluice_fanout_deliveries_total"], sum["sluice_fanout_sent_bytes_total"]
	r.EventsStored = sum["sluice_ingest_events_total"]
	r.GapsTold = sum["sluice_fanout_gaps_total"] + sum["sluice_fanout_skips_total"]
	r.CPUSeconds = sum["process_cpu_seconds_total"]
	r.Memory = memoryReport{
		Used: sum["sluice_memory_used_bytes"], Limit: sum["sluice_memory_limit_bytes"], Resident: sum["process_resident_memory_bytes"],
		Fanout: sum["sluice_fanout_log_bytes"] + sum["sluice_fanout_block_bytes"], FanoutMax: sum["sluice_fanout_memory_budget_bytes"],
		Queues: sum["sluice_ingest_queue_bytes"], QueuesMax: sum["sluice_ingest_queue_budget_bytes"],
		Sockets: sum["sluice_fanout_socket_bytes"], SocketsMax: sum["sluice_fanout_socket_pressure_bytes"],
	}
}
