package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sluice/internal/broker"
)

// Bounds of asking a node for its feeds.
const (
	pageBytes = 256 << 10 // of one answer, about
	pagesMost = 1000      // of one node
)

// feedsPage is a part of a node's feeds, as it answers on broker.FeedsSubject.
type feedsPage struct {
	V     int          `json:"v"` // 1
	Feeds []FeedStatus `json:"feeds"`
	Next  int          `json:"next,omitempty"` // where the next part begins; 0 = this is the last
}

// hearAsks answers other nodes' questions for the feeds of this one.
func (s *Supervisor) hearAsks() (stop func(), err error) {
	return s.bus.Subscribe(broker.FeedsSubject(s.name), func(_ string, body []byte, reply func([]byte) error) {
		var ask broker.FeedsAsk
		if len(body) > maxHand || json.Unmarshal(body, &ask) != nil || ask.V != 1 || ask.From < 0 {
			return
		}
		s.reply(reply, pageOf(ofAPI(s.Feeds(), ask), ask.From))
	})
}

// ofAPI leaves out what is not asked for.
func ofAPI(all []FeedStatus, ask broker.FeedsAsk) []FeedStatus {
	if ask.API == "" {
		return all
	}
	return slices.DeleteFunc(all, func(f FeedStatus) bool { return f.API != ask.API || f.Version != ask.Version })
}

// pageOf cuts a page out of all feeds.
func pageOf(all []FeedStatus, from int) feedsPage {
	p := feedsPage{V: 1, Feeds: []FeedStatus{}}
	size := 0
	for i := min(from, len(all)); i < len(all); i++ {
		f := &all[i]
		if size += 600 + len(f.Path) + len(f.Feed) + len(f.Source) + len(f.Why); size > pageBytes && i > from {
			p.Next = i
			break
		}
		p.Feeds = append(p.Feeds, *f)
	}
	return p
}

// AskFeeds asks a node for all its feeds, or those of the API that of names. A feed that comes or goes meanwhile may be missed or be
// there twice.
func AskFeeds(ctx context.Context, bus broker.Bus, node string, of broker.FeedsAsk) ([]FeedStatus, error) {
	var all []FeedStatus
	for from, n := 0, 0; n < pagesMost; n++ {
		body, err := json.Marshal(broker.FeedsAsk{V: 1, From: from, API: of.API, Version: of.Version})
		if err != nil {
			return nil, err
		}
		answer, err := bus.Request(ctx, broker.FeedsSubject(node), body)
		if err != nil {
			return all, fmt.Errorf("feeds of node %s: %w", node, err)
		}
		var p feedsPage
		if err := json.Unmarshal(answer, &p); err != nil || p.V != 1 {
			return all, fmt.Errorf("feeds of node %s: answer cannot be read: %w", node, errors.Join(err, broker.ErrRefused))
		}
		all = append(all, p.Feeds...)
		if p.Next <= from {
			return all, nil
		}
		from = p.Next
	}
	return all, nil
}
