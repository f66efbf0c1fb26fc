package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sluice/internal/broker"
)

// Bounds of asking an edge.
const (
	maxAsk    = 1 << 10
	pageBytes = 256 << 10 // of one answer, about
	pagesMost = 1000      // of one edge
)

// Feed is one feed that clients of an edge read.
type Feed struct {
	Feed    string `json:"feed"` // subject tokens, as in logs
	Topic   string `json:"topic"`
	Path    string `json:"path"` // below the API's base, canonical query included
	Clients int    `json:"clients"`
}

// ask is a question on broker.ClientsSubject.
type ask struct {
	V       int    `json:"v"` // 1
	API     string `json:"api"`
	Version string `json:"version"`
	From    int    `json:"from"`
	// Usage asks about limits in place of clients.
	Usage []Limit `json:"usage,omitempty"`
}

// page is a part of the answer.
type page struct {
	V     int    `json:"v"` // 1
	Feeds []Feed `json:"feeds"`
	Next  int    `json:"next,omitempty"` // where the next part begins; 0 = this is the last
	Usage *Usage `json:"usage,omitempty"`
}

// answer tells who asks.
func (t *Teller) answer(_ string, body []byte, reply func([]byte) error) {
	var a ask
	if reply == nil || len(body) > maxAsk || json.Unmarshal(body, &a) != nil || a.V != 1 || a.From < 0 {
		return
	}
	if len(a.Usage) > 0 {
		if t.cfg.Usage != nil && len(a.Usage) <= mostUsages {
			t.start(func() { t.tellUsage(a.Usage, reply) })
		}
		return
	}
	text, err := json.Marshal(pageOf(t.cfg.Clients(a.API, a.Version), a.From))
	if err == nil {
		err = reply(text)
	}
	if err != nil {
		t.cfg.Log.Debug("clients not told", "error", err)
	}
}

// pageOf cuts a page out of all feeds.
func pageOf(all []Feed, from int) page {
	p := page{V: 1, Feeds: []Feed{}}
	size := 0
	for i := min(from, len(all)); i < len(all); i++ {
		f := all[i]
		if size += 100 + len(f.Path) + len(f.Feed) + len(f.Topic); size > pageBytes && i > from {
			p.Next = i
			break
		}
		p.Feeds = append(p.Feeds, f)
	}
	return p
}

// AskClients asks an edge for the feeds of an API that its clients read. A feed that comes or goes meanwhile may be missed or be there
// twice.
func AskClients(ctx context.Context, bus broker.Bus, node, api, version string) ([]Feed, error) {
	var all []Feed
	for from, n := 0, 0; n < pagesMost; n++ {
		body, err := json.Marshal(ask{V: 1, API: api, Version: version, From: from})
		if err != nil {
			return nil, err
		}
		text, err := bus.Request(ctx, broker.ClientsSubject(node), body)
		if err != nil {
			return all, fmt.Errorf("clients at node %s: %w", node, err)
		}
		var p page
		if err := json.Unmarshal(text, &p); err != nil || p.V != 1 {
			return all, fmt.Errorf("clients at node %s: answer cannot be read: %w", node, errors.Join(err, broker.ErrRefused))
		}
		all = append(all, p.Feeds...)
		if p.Next <= from {
			return all, nil
		}
		from = p.Next
	}
	return all, nil
}
