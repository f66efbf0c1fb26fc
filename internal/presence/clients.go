package presence

import (
	"context"
	"encoding/json"

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
	API     string `json:"api"`
	Version string `json:"version"`
	Feed    string `json:"feed"` // subject tokens, as in logs
	Topic   string `json:"topic"`
	Path    string `json:"path"` // below the API's base, canonical query included
	Clients int    `json:"clients"`

	EventsPerSecond float64 `json:"eventsPerSecond,omitempty"` // that came to this edge, over the last seconds
	LagMs           int64   `json:"lagMs,omitempty"`           // since when stored events are known to be missing here
	Gaps            uint64  `json:"gaps,omitempty"`            // told, since the edge holds the feed
	Ages            []Age   `json:"ages,omitempty"`            // as in Figures, since the edge holds the feed; only where All is asked for
}

// ask is a question on broker.ClientsSubject: for the clients of one API, for All that there is and the figures, or how limits stand.
type ask struct {
	V       int    `json:"v"` // 1
	API     string `json:"api,omitempty"`
	Version string `json:"version,omitempty"`
	All     bool   `json:"all,omitempty"`
	From    int    `json:"from"`
	// Usage asks about limits in place of clients.
	Usage []Limit `json:"usage,omitempty"`
}

// page is a part of the answer.
type page struct {
	V       int      `json:"v"` // 1
	Feeds   []Feed   `json:"feeds"`
	Next    int      `json:"next,omitempty"`    // where the next part begins; 0 = this is the last
	Figures *Figures `json:"figures,omitempty"` // in the first part of All
	Usage   *Usage   `json:"usage,omitempty"`   // in answer to Usage
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
	p := pageOf(t.cfg.Clients(a.API, a.Version, a.All), a.From)
	if a.All && a.From == 0 {
		f := t.cfg.Figures()
		f.Counts = f.Counts[:min(len(f.Counts), mostCounts)]
		p.Figures = &f
	}
	text, err := json.Marshal(p)
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
		if size += 200 + len(f.Path) + len(f.Feed) + len(f.Topic) + len(f.API) + len(f.Version) + 40*len(f.Ages); size > pageBytes && i > from {
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
		p, err := askPage(ctx, bus, node, ask{V: 1, API: api, Version: version, From: from})
		if err != nil {
			return all, err
		}
		all = append(all, p.Feeds...)
		if p.Next <= from {
			return all, nil
		}
		from = p.Next
	}
	return all, nil
}
