package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sluice/internal/broker"
)

// mostCounts bounds the counters of one edge that are told.
const mostCounts = 2000

// Figures are what an edge has counted since its start. Who asks twice knows what came between: nothing here begins anew but with Boot.
type Figures struct {
	Boot       string `json:"boot"`  // names this start of the node
	Clock      int64  `json:"clock"` // ms that the edge has run, for rates
	Clients    int    `json:"clients"`
	Deliveries uint64 `json:"deliveries"` // events handed to sockets
	// Ages of events when they were handed to sockets, since ingest read them: the buckets that have any, the shortest first.
	Ages []Age `json:"ages,omitempty"`
	// Counts tell what clients did not get, and why; at most 2000.
	Counts []Count `json:"counts,omitempty"`
}

// Age is one bucket.
type Age struct {
	Le float64 `json:"le"` // no older than this, in seconds; 0 = older than every bound
	N  uint64  `json:"n"`
}

// Kinds of Count.
const (
	CountEnd       = "end"       // streams that ended
	CountTold      = "told"      // of them were told why; by API
	CountGap       = "gap"       // gaps told; by API, but not those of slow readers
	CountThrottled = "throttled" // streams that met the end of a quota; by API
	CountRefused   = "refused"   // requests
)

// Count is one counter.
type Count struct {
	Kind   string `json:"kind"`
	API    string `json:"api,omitempty"` // id; "" = not told by API
	Reason string `json:"reason"`
	N      uint64 `json:"n"`
}

// AskFigures asks an edge what it counts, and for all feeds that its clients read. A feed that comes or goes meanwhile may be missed or
// be there twice. An edge of a build that does not know the question is an error.
func AskFigures(ctx context.Context, bus broker.Bus, node string) (Figures, []Feed, error) {
	var figures *Figures
	var all []Feed
	for from, n := 0, 0; n < pagesMost; n++ {
		p, err := askPage(ctx, bus, node, ask{V: 1, All: true, From: from})
		if err != nil {
			return Figures{}, all, err
		}
		if p.Figures != nil {
			figures = p.Figures
		}
		if figures == nil {
			return Figures{}, all, fmt.Errorf("figures of node %s: it tells none: %w", node, broker.ErrRefused)
		}
		all = append(all, p.Feeds...)
		if p.Next <= from {
			break
		}
		from = p.Next
	}
	return *figures, all, nil
}

// askPage asks for one part of an answer.
func askPage(ctx context.Context, bus broker.Bus, node string, a ask) (page, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return page{}, err
	}
	text, err := bus.Request(ctx, broker.ClientsSubject(node), body)
	if err != nil {
		return page{}, fmt.Errorf("clients at node %s: %w", node, err)
	}
	var p page
	if err := json.Unmarshal(text, &p); err != nil || p.V != 1 {
		return page{}, fmt.Errorf("clients at node %s: answer cannot be read: %w", node, errors.Join(err, broker.ErrRefused))
	}
	return p, nil
}
