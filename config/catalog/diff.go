package catalog

import (
	"reflect"
	"slices"
)

// Diff tells what changed from one snapshot to another, so that feeds and clients it does not concern are left alone. The zero value
// says that nothing changed.
type Diff struct {
	// Added, Removed and Changed are ids of APIs, sorted. Changed are those whose definition means something else now.
	Added, Removed, Changed []string

	from, to *Snapshot
}

// Compare tells what changed from one snapshot to the other. Neither may be nil; the zero Snapshot stands for "nothing yet".
func Compare(from, to *Snapshot) Diff {
	d := Diff{from: from, to: to}
	for id, rec := range to.records {
		before := from.records[id]
		switch {
		case before == nil:
			d.Added = append(d.Added, rec.api.ID())
		case before.sum != rec.sum:
			d.Changed = append(d.Changed, rec.api.ID())
		}
	}
	for id, rec := range from.records {
		if to.records[id] == nil {
			d.Removed = append(d.Removed, rec.api.ID())
		}
	}
	slices.Sort(d.Added)
	slices.Sort(d.Removed)
	slices.Sort(d.Changed)
	return d
}

// Empty tells whether nothing changed.
func (d Diff) Empty() bool { return len(d.Added)+len(d.Removed)+len(d.Changed) == 0 }

// Touches tells whether the API changed at all or went; if not, Upstream is Keep and Client is "" for all its feeds.
func (d Diff) Touches(api, version string) bool {
	if d.from == nil {
		return false
	}
	before, after := d.pair(api, version)
	return before != after && (before == nil || after == nil || before.sum != after.sum)
}

func (d Diff) pair(api, version string) (before, after *record) {
	return d.from.records[apiKey(api, version)], d.to.records[apiKey(api, version)]
}

// Action is what ingest does with a running feed after a change.
type Action int

// The actions.
const (
	Keep      Action = iota // same upstream: leave the connection alone
	Reconnect               // another URL or another way to connect: close, then open as the new snapshot says
	Close                   // the feed no longer exists, or its API no longer runs
)

// Upstream tells what to do with a feed that runs. What does not concern the connection (linger, demand, limits) may still have
// changed: read it from the new snapshot.
func (d Diff) Upstream(f FeedRef) Action {
	if !d.Touches(f.API, f.Version) {
		return Keep
	}
	after, err := d.to.Feed(f)
	if err != nil {
		return Close
	}
	before, err := d.from.Feed(f)
	if err != nil {
		return Keep
	}
	if after.API.Topic(before.Topic.Name) == nil {
		return Close // even if a wildcard takes the path now: who wants it there asks for it there
	}
	if after.Upstream != before.Upstream || !reflect.DeepEqual(after.API.Spec.Upstream, before.API.Spec.Upstream) {
		return Reconnect
	}
	return Keep
}

// EndReason is why clients of a feed must go, as gateway.end tells it; "" = they stay.
type EndReason string

// The reasons that a change of the catalog can give.
const (
	EndNone            EndReason = ""
	EndAPIBlocked      EndReason = "api-blocked"
	EndAPIUnpublished  EndReason = "api-unpublished"
	EndAPIRetired      EndReason = "api-retired"
	EndAPIDeleted      EndReason = "api-deleted"
	EndUndeployed      EndReason = "undeployed"
	EndTopicDeleted    EndReason = "topic-deleted"
	EndTransportClosed EndReason = "transport-closed"
	EndAccessChanged   EndReason = "access-changed"
)

// Client tells whether a client of feed f that came by transport t must go. Texts, retention, CORS, client settings and what happens
// to other topics never end a stream.
func (d Diff) Client(f FeedRef, t Transport) EndReason {
	if !d.Touches(f.API, f.Version) {
		return EndNone
	}
	before, after := d.pair(f.API, f.Version)
	if before == nil {
		return EndNone
	}
	if after == nil {
		return d.to.Absent(f.API, f.Version)
	}
	if after.api.BasePath() != before.api.BasePath() {
		return EndAPIDeleted
	}
	switch after.api.Spec.State {
	case StateBlocked:
		return EndAPIBlocked
	case StateCreated:
		return EndAPIUnpublished
	case StateRetired:
		return EndAPIRetired
	}
	was, err := d.from.Feed(f)
	if err != nil {
		return EndNone
	}
	is, err := d.to.Feed(f)
	switch {
	case err != nil || after.api.Topic(was.Topic.Name) == nil:
		return EndTopicDeleted
	case !after.api.Allows(t):
		return EndTransportClosed
	case is.Topic.Security != SecurityNone && was.Topic.Security == SecurityNone:
		return EndAccessChanged
	}
	return EndNone
}
