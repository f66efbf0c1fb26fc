package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

var errRevisionMissing = errors.New("revision is missing")

// view is the Store of one edge group, or of everything that is deployed anywhere ("").
type view struct {
	board
	group string
	cache map[string]cached // by token; guarded by the Manager's mutex, as all below
	again map[string]bool   // tokens that could not be made; tried anew each time
	made  bool              // a snapshot was shown
}

// cached is what one version of a record came to.
type cached struct {
	rev   uint64
	key   string  // apiKey
	rec   *record // nil = not served here
	keeps bool    // stored.KeepsClients
}

// finder reads a revision's definition.
type finder func(n int) (*API, error)

// serves are the revisions that a group serves, "" = all groups, the newest first.
func (st *stored) serves(group string) []int {
	var numbers []int
	for g, n := range st.Deployments {
		if group == "" || g == group {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, func(a, b int) int { return cmp.Compare(b, a) })
	return slices.Compact(numbers)
}

// servedAPI is what a group serves of an API: the deployed revision, with what the record says of all of them. With group "" it is the
// newest deployed revision and what topics only others have, because ingest reads for all groups. nil = nothing is deployed there.
func servedAPI(st *stored, working *API, find finder, group string, opt Options) (*API, error) {
	numbers := st.serves(group)
	if len(numbers) == 0 {
		return nil, nil
	}
	var api *API
	for _, n := range numbers {
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

// rebuild shows what s says to the readers of the view, if it is something else than they saw. It looks at what s says has changed, and
// shares all else with the snapshot before. made has the records that other views made of the same revisions. What cannot be read stays
// as it was and is told to bad.
func (v *view) rebuild(s *seen, opt Options, made map[string]*record, bad func(key string, err error)) {
	if v.cache == nil {
		v.cache, v.again = map[string]cached{}, map[string]bool{}
		for token := range s.apis {
			v.again[token] = true // all of a view that is new
		}
	}
	tokens := v.again
	v.again = map[string]bool{}
	for token := range s.dirty {
		tokens[token] = true
	}
	n := newSuccessor(v.Snapshot(), len(tokens))
	for token := range tokens {
		before, known := v.cache[token]
		e := s.apis[token]
		if e == nil {
			if known {
				n.remove(before)
			}
			delete(v.cache, token)
			continue
		}
		if known && before.rev == e.rec.Rev {
			continue
		}
		c := v.compile(s, token, e, opt, before, made, bad)
		if c.rev != e.rec.Rev {
			v.again[token] = true
			if !known {
				continue
			}
		}
		n.replace(before, c)
		v.cache[token] = c
	}
	if v.made && !n.changed {
		return
	}
	v.made = true
	v.show(n.snapshot(s))
}

// compile makes a record ready to serve. On error the one before stays.
func (v *view) compile(s *seen, token string, e *entryAPI, opt Options, before cached, made map[string]*record, bad func(key string, err error)) cached {
	find := func(n int) (*API, error) {
		_, api, err := s.definition(token, &e.stored, n)
		return api, err
	}
	c := cached{rev: e.rec.Rev, key: apiKey(e.rec.API.Name(), e.rec.API.Version()), keeps: e.KeepsClients}
	numbers := e.serves(v.group)
	if len(numbers) == 0 {
		return c
	}
	same := fmt.Sprint(token, numbers)
	if c.rec = made[same]; c.rec != nil {
		return c
	}
	api, err := servedAPI(&e.stored, e.rec.API, find, v.group, opt)
	if err == nil {
		c.rec, err = compile(api)
	}
	if err != nil {
		bad(apiPrefix+token, err)
		return before
	}
	made[same] = c.rec
	return c
}

// route adds the base paths of all APIs. Of two default versions, seen in the middle of a change, the one that was written last counts.
func (s *Snapshot) route(from *seen) {
	s.bases = baseNode{}
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
