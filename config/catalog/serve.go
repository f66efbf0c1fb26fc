package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var errRevisionMissing = errors.New("revision is missing")

// view is the Store of one edge group, or of everything that is deployed anywhere ("").
type view struct {
	board
	group string
	cache map[string]cached // by token; guarded by the Manager's mutex, as all below
	made  bool              // a snapshot was shown
}

// cached is what one version of a record came to.
type cached struct {
	rev uint64
	rec *record // nil = not served here
}

// finder reads a revision's definition.
type finder func(n int) (*API, error)

// servedAPI is what a group serves of an API: the deployed revision, with what the record says of all of them. With group "" it is the
// newest deployed revision and what topics only others have, because ingest reads for all groups. nil = nothing is deployed there.
func servedAPI(st *stored, working *API, find finder, group string, opt Options) (*API, error) {
	var numbers []int
	for g, n := range st.Deployments {
		if group == "" || g == group {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	slices.SortFunc(numbers, func(a, b int) int { return cmp.Compare(b, a) })
	var api *API
	for _, n := range slices.Compact(numbers) {
		next, err := find(n)
		if err != nil {
			return nil, fmt.Errorf("revision %d: %w", n, err)
		}
		if api == nil {
			api = next
			continue
		}
		for _, t := range next.Spec.Topics {
			if api.Topic(t.Name) == nil {
				api.Spec.Topics = append(api.Spec.Topics, t)
			}
		}
	}
	api.Spec.State, api.Spec.Default = st.State, st.Default
	api.Spec.Plans, api.Spec.Visibility, api.Spec.VisibleTo = working.Spec.Plans, working.Spec.Visibility, working.Spec.VisibleTo
	api.complete(opt)
	return api, nil
}

// rebuild shows what s says to the readers of the view, if it is something else than they saw. What cannot be read stays as it was and
// is told to bad.
func (v *view) rebuild(s *seen, opt Options, bad func(key string, err error)) {
	old := v.Snapshot()
	next := &Snapshot{revision: old.revision + 1, records: map[string]*record{}, absent: map[string]EndReason{}, keeps: map[string]bool{}}
	cache := make(map[string]cached, len(s.apis))
	for token, e := range s.apis {
		c, known := v.cache[token]
		if !known || c.rev != e.rec.Rev {
			c = v.compile(s, token, e, opt, c, bad)
		}
		cache[token] = c
		key := apiKey(e.rec.API.Name(), e.rec.API.Version())
		if e.KeepsClients {
			next.keeps[key] = true
		}
		if c.rec == nil {
			next.absent[key] = EndUndeployed
			continue
		}
		rec := c.rec
		if before := old.records[key]; before != nil && before.sum == rec.sum {
			rec = before
		}
		next.put(rec)
	}
	v.cache = cache
	next.route(s)
	if v.made && Compare(old, next).Empty() && maps.Equal(old.absent, next.absent) && maps.Equal(old.keeps, next.keeps) {
		return
	}
	v.made = true
	v.show(next)
}

// compile makes a record ready to serve. On error the one before stays.
func (v *view) compile(s *seen, token string, e *entryAPI, opt Options, before cached, bad func(key string, err error)) cached {
	find := func(n int) (*API, error) {
		_, api, err := s.definition(token, &e.stored, n)
		return api, err
	}
	api, err := servedAPI(&e.stored, e.rec.API, find, v.group, opt)
	if err != nil {
		bad(apiPrefix+token, err)
		return before
	}
	c := cached{rev: e.rec.Rev}
	if api == nil {
		return c
	}
	if c.rec, err = compile(api); err != nil {
		bad(apiPrefix+token, err)
		return before
	}
	return c
}

// put adds a record without its routes.
func (s *Snapshot) put(rec *record) {
	s.apis = append(s.apis, rec.api)
	s.records[apiKey(rec.api.Name(), rec.api.Version())] = rec
}

// route sorts the APIs and adds their base paths. Of two default versions, seen in the middle of a change, the one that was written
// last counts.
func (s *Snapshot) route(from *seen) {
	slices.SortFunc(s.apis, func(a, b *API) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Version(), b.Version()))
	})
	byDefault := map[string]uint64{}
	revOf := func(a *API) uint64 {
		if e := from.apis[apiToken(a.Name(), a.Version())]; e != nil {
			return e.rec.Rev
		}
		return 0
	}
	for _, a := range s.apis {
		rec := s.records[apiKey(a.Name(), a.Version())]
		s.bases.add(a.BasePath(), &baseEntry{rec: rec})
		p := a.DefaultPath()
		if p == "" {
			continue
		}
		if rev := revOf(a); rev >= byDefault[p] {
			byDefault[p] = rev
			s.bases.add(p, &baseEntry{rec: rec, byDefault: true})
		}
	}
}
