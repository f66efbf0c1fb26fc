package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of what a record remembers of topics that are gone: after the longest retention nothing of them is stored.
const (
	goneFor  = 30 * 24 * time.Hour
	mostGone = 500
)

// noteGone remembers which topics a change takes out of what the groups together serve, and forgets those that are back.
func (st *stored) noteGone(before, after *API, now time.Time) {
	if before == nil || after == nil {
		return // undeployed, or not served yet: no topic was deleted
	}
	for i := range before.Spec.Topics {
		name := before.Spec.Topics[i].Name
		if _, known := st.Gone[name]; known || after.Topic(name) != nil {
			continue
		}
		if st.Gone == nil {
			st.Gone = map[string]time.Time{}
		}
		st.Gone[name] = now
	}
	for i := range after.Spec.Topics {
		delete(st.Gone, after.Spec.Topics[i].Name)
	}
	maps.DeleteFunc(st.Gone, func(_ string, at time.Time) bool { return now.Sub(at) > goneFor })
	if over := len(st.Gone) - mostGone; over > 0 {
		names := slices.SortedFunc(maps.Keys(st.Gone), func(a, b string) int { return cmp.Or(st.Gone[a].Compare(st.Gone[b]), strings.Compare(a, b)) })
		for _, name := range names[:over] {
			delete(st.Gone, name)
		}
	}
}

// Past is what of an API's stored events nobody can read any more.
type Past struct {
	// Whole says that it is all of them: the API is retired.
	Whole bool
	// Since when, of what came last.
	Since  time.Time
	topics topicNode
}

// Past tells what has been past since before a time; false = nothing.
func (r *Record) Past(before time.Time) (Past, bool) {
	if r.API.Spec.State == StateRetired {
		since := r.UpdatedAt
		for _, h := range r.History { // the newest first
			if h.To == StateRetired && h.From != StateRetired {
				since = h.At
				break
			}
		}
		return Past{Whole: true, Since: since}, since.Before(before)
	}
	var p Past
	any := false
	for name, at := range r.Gone {
		segments, err := parseTopic(name)
		if err != nil || !at.Before(before) {
			continue
		}
		any = true
		p.topics.add(&compiled{segments: segments})
		if at.After(p.Since) {
			p.Since = at
		}
	}
	return p, any
}

// Has tells whether a feed, by its canonical path, was of one of the topics. That no other topic has it now is for the caller to see
// (Snapshot.Feed).
func (p *Past) Has(path string) bool {
	segments, trailing, err := splitPath(path)
	if err != nil || trailing {
		return false
	}
	c, _, _ := p.topics.find(segments)
	return c != nil
}
