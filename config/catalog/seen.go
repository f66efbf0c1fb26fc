package catalog

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"sluice/config"
	"sluice/internal/broker"
)

// seen is what this node knows of the bucket: the last entry of each key, delete markers too, and the records read out of them. Guarded
// by the Manager's mutex; entries and records are immutable.
type seen struct {
	rev     uint64 // of the newest entry
	entries map[string]broker.Entry
	apis    map[string]*entryAPI // by token
	gate    gate
	public  []config.PublicURL // Options.Public
}

func newSeen(public []config.PublicURL) *seen {
	return &seen{entries: map[string]broker.Entry{}, apis: map[string]*entryAPI{}, public: public}
}

// at is the revision of a key, of its delete marker too; 0 = there never was any.
func (s *seen) at(key string) uint64 { return s.entries[key].Revision }

// take adds entries. What cannot be read leaves the API as it was and is told to bad.
func (s *seen) take(entries []broker.Entry, bad func(key string, err error)) {
	for _, e := range entries {
		if e.Revision <= s.at(e.Key) {
			continue
		}
		s.entries[e.Key] = e
		s.rev = max(s.rev, e.Revision)
		switch {
		case e.Key == gateKey:
			var g gate
			if err := json.Unmarshal(e.Value, &g); err != nil && !e.Deleted {
				bad(e.Key, err)
				continue
			}
			s.gate = g
		case strings.HasPrefix(e.Key, apiPrefix):
			token := strings.TrimPrefix(e.Key, apiPrefix)
			if e.Deleted {
				delete(s.apis, token)
				continue
			}
			read, err := readEntry(e, s.public)
			if err != nil {
				bad(e.Key, err)
				continue
			}
			s.apis[token] = read
		}
	}
}

func readEntry(e broker.Entry, public []config.PublicURL) (*entryAPI, error) {
	st, api, err := parseStored(e.Value)
	if err != nil {
		return nil, err
	}
	return newEntry(st, api, e.Revision, public)
}

// from makes a new seen of a complete list of entries. Records that old has at the same revision are shared, those that cannot be read
// are as in old.
func seenFrom(entries []broker.Entry, old *seen, bad func(key string, err error)) *seen {
	s := newSeen(old.public)
	var news []broker.Entry
	for _, e := range entries {
		token, isAPI := strings.CutPrefix(e.Key, apiPrefix)
		if have := old.apis[token]; isAPI && have != nil && !e.Deleted {
			s.apis[token] = have // replaced if there is a newer one that can be read
			if have.rec.Rev == e.Revision {
				s.entries[e.Key] = e
				s.rev = max(s.rev, e.Revision)
				continue
			}
		}
		news = append(news, e)
	}
	s.take(news, bad)
	return s
}

// lost names an API that old has and s does not, although nobody deleted it: the bucket was wiped, or made anew. "" = none.
func (s *seen) lost(old *seen) string {
	for token, have := range old.apis {
		if _, there := s.entries[apiPrefix+token]; !there {
			return have.rec.ID()
		}
	}
	return ""
}

// behind tells that s is older than old: another life of the bucket, or a replica that lags.
func (s *seen) behind(old *seen) bool { return s.rev < old.rev }

// sorted returns all records by name, then version.
func (s *seen) sorted() []*Record {
	out := make([]*Record, 0, len(s.apis))
	for _, e := range s.apis {
		out = append(out, e.rec)
	}
	slices.SortFunc(out, func(a, b *Record) int {
		return cmp.Or(strings.Compare(a.API.Name(), b.API.Name()), strings.Compare(a.API.Version(), b.API.Version()))
	})
	return out
}

// find returns the API of that id, compared exactly, or nil.
func (s *seen) find(id string) *entryAPI {
	e := s.apis[tokenOf(id)]
	if e == nil || e.rec.ID() != id {
		return nil
	}
	return e
}

// family returns the versions of a name, case ignored, sorted.
func (s *seen) family(name string) []*entryAPI {
	var out []*entryAPI
	for _, e := range s.apis {
		if strings.EqualFold(e.rec.API.Name(), name) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entryAPI) int { return strings.Compare(a.rec.API.Version(), b.rec.API.Version()) })
	return out
}

// definition returns revision n of an API as it was cut.
func (s *seen) definition(token string, st *stored, n int) (*storedRevision, *API, error) {
	e, there := s.entries[revisionKey(token, n)]
	if !there || e.Deleted {
		return nil, nil, errRevisionMissing
	}
	r, api, err := parseRevision(e.Value)
	if err == nil && r.UID != st.UID {
		err = errRevisionMissing
	}
	return r, api, err
}
