package load

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Sample is one second of a run.
type Sample struct {
	At         time.Time `json:"at"`
	Second     float64   `json:"second"` // since the run began
	Phase      string    `json:"phase"`
	Live       int64     `json:"live"`
	Published  int64     `json:"published"`
	Delivered  int64     `json:"delivered"` // in this second, counted or not
	Rate       float64   `json:"deliveries_per_s"`
	Latency    Latency   `json:"latency"`
	CPU        float64   `json:"server_cpu_pct"`
	CPUPer     float64   `json:"server_us_per_delivery"`
	RSS        int64     `json:"server_rss_bytes"`
	Bytes      int64     `json:"bytes"`
	Lost       int64     `json:"lost"` // known so far; holes count when the run ends
	Doubled    int64     `json:"doubled"`
	Reordered  int64     `json:"reordered"`
	Reconnects int64     `json:"reconnects"`
	// Done is how much of the run is over, 0 to 1.
	Done float64 `json:"done"`
}

// FaultCount is one kind of fault, with its first case.
type FaultCount struct {
	Fault string   `json:"fault"`
	Count int64    `json:"count"`
	Fatal bool     `json:"fatal"`
	First *Offence `json:"first,omitempty"`
}

// Resume is how a mass resume went.
type Resume struct {
	Clients   int64   `json:"clients"`
	Behind    int     `json:"behind"`
	Back      int64   `json:"back"`
	AllLiveS  float64 `json:"all_live_s"`
	MedianMS  float64 `json:"median_ms"`
	P99MS     float64 `json:"p99_ms"`
	WithoutID int64   `json:"without_id"`
}

// Told is something that the server said in so many words.
type Told struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
}

// Result is what one run of a cell found.
type Result struct {
	Name     string  `json:"name"`
	URL      string  `json:"url"`
	Clients  int     `json:"clients"`
	Topics   int     `json:"topics"`
	Rate     float64 `json:"rate"`
	Size     int     `json:"size"`
	Seconds  float64 `json:"seconds"` // that counted, up to the last delivery
	ConnectS float64 `json:"connect_s"`
	Engine   string  `json:"engine"`

	Connected   int64         `json:"connected"`
	Delivered   int64         `json:"delivered"`
	Expected    int64         `json:"expected"` // 0 = listening only
	Replayed    int64         `json:"replayed"`
	PerSecond   float64       `json:"deliveries_per_s"`
	Latency     Latency       `json:"latency"`
	LastClient  Latency       `json:"last_client"` // from due until the last client had the event
	Connect     Latency       `json:"connect"`
	Fairness    Fairness      `json:"fairness"`
	BytesPer    float64       `json:"bytes_per_delivery"`
	ServerPer   float64       `json:"server_us_per_delivery"`
	ServerPct   float64       `json:"server_cpu_pct"`
	ClientPer   float64       `json:"client_us_per_delivery"`
	ClientPct   float64       `json:"client_cpu_pct"`
	RSSBefore   int64         `json:"rss_before_bytes"`
	RSSIdle     int64         `json:"rss_idle_bytes"`
	RSSEnd      int64         `json:"rss_end_bytes"`
	PerIdle     float64       `json:"bytes_per_idle_client"`
	Published   Published     `json:"published"`
	Resume      *Resume       `json:"resume,omitempty"`
	Reconnects  int64         `json:"reconnects"`
	SlowReaders int           `json:"slow_readers"`
	SlowCut     int64         `json:"slow_cut"`
	Heartbeats  int64         `json:"heartbeats"`
	RetryMinMS  int32         `json:"retry_min_ms"`
	RetryMaxMS  int32         `json:"retry_max_ms"`
	Statuses    map[int]int64 `json:"statuses"`
	Told        []Told        `json:"told"`
	ToldMissing int64         `json:"told_missing"`
	ToldDoubles int64         `json:"told_doubles"`
	Foreign     int64         `json:"foreign"`
	Unjudged    int64         `json:"unjudged"`
	Faults      []FaultCount  `json:"faults"`
	Void        string        `json:"void,omitempty"` // why the figures do not count
	Failed      string        `json:"failed,omitempty"`
	Samples     []Sample      `json:"samples,omitempty"`

	counts bool // among rounds: its figures go into medians and ratios
}

// Count returns how often a fault was seen.
func (r *Result) Count(f Fault) int64 {
	for _, c := range r.Faults {
		if c.Fault == f.String() {
			return c.Count
		}
	}
	return 0
}

// take fills r with what the books added up.
func (r *Result) take(b *book) {
	r.Delivered, r.Replayed = b.delivered, b.replayed
	r.Reconnects, r.SlowCut, r.Heartbeats = b.reconnects, b.slowCut, b.comments
	r.RetryMinMS, r.RetryMaxMS, r.Statuses = b.retryMin, b.retryMax, b.statuses
	r.ToldMissing, r.ToldDoubles, r.Foreign, r.Unjudged = b.toldMissing, b.toldDoubles, b.foreign, b.unjudged
	r.Connect = summary(b.connects)
	for what, n := range b.tells {
		r.Told = append(r.Told, Told{what, n})
	}
	slices.SortFunc(r.Told, func(x, y Told) int { return cmp.Compare(x.What, y.What) })
	last := newHist()
	for _, row := range b.rows {
		if row.last > 0 {
			record(last, int64(row.last))
		}
	}
	r.LastClient = summary(last)
	for f := range faults {
		if b.counts[f] > 0 {
			r.Faults = append(r.Faults, FaultCount{f.String(), b.counts[f], f.fatal(), b.first[f]})
		}
	}
	if b.all+b.unjudged > 0 {
		r.BytesPer = float64(b.bytes) / float64(b.all+b.unjudged)
	}
}

// judge says in Failed why the cell has failed, if it has.
func (r *Result) judge(c *Cell, b *book) {
	switch {
	case b.opened == 0:
		r.Failed = "no client connected"
		if b.dialError != "" {
			r.Failed += ": " + b.dialError
		} else if f := b.first[Refused]; f != nil {
			r.Failed += ": " + f.What
		}
		return
	case r.Connected < int64(r.Clients):
		r.Failed = fmt.Sprintf("only %d of %d clients connected", r.Connected, r.Clients)
		if b.dialError != "" {
			r.Failed += ": " + b.dialError
		}
	case r.Published.Failed > 0:
		r.Failed = fmt.Sprintf("%d events could not be published: %s", r.Published.Failed, r.Published.Why)
	}
	for _, f := range r.Faults {
		if (f.Fatal || c.Strict) && r.Failed == "" {
			r.Failed = fmt.Sprintf("%d %s, first: %s", f.Count, f.Fault, f.First)
		}
	}
	if r.Failed == "" && c.Strict && len(r.Told) > 0 {
		r.Failed = fmt.Sprintf("told: %s (%d times)", r.Told[0].What, r.Told[0].Count)
	}
}

func (o *Offence) String() string {
	return fmt.Sprintf("client %d, topic %d, event %d: %s (%s)", o.Client, o.Topic, o.N, o.What, o.At.Format("15:04:05.000"))
}
