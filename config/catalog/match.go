package catalog

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/problem"
)

// record is one API of a snapshot, compiled. Immutable; snapshots share the records of APIs that did not change.
type record struct {
	api    *API
	sum    [32]byte // of the API's canonical JSON
	topics topicNode
}

// compiled is one topic, ready to match.
type compiled struct {
	topic    *Topic
	segments []segment
	shape    Shape
	names    []string // of {param}s, in order
	rules    []rule   // of the same
	query    []queryRule
	backend  backend
}

// topicNode is one step in an API's topics. At each step a literal wins over a parameter, that over the wildcard, and there is no
// way back: a path that a secured template refused must not fall through to an open wildcard.
type topicNode struct {
	literal map[string]*topicNode
	param   *topicNode
	topic   *compiled // ends here
	rest    *compiled // final /*
}

func (n *topicNode) add(c *compiled) {
	for _, s := range c.segments {
		switch {
		case s.wildcard:
			n.rest = c
			return
		case s.param != "":
			if n.param == nil {
				n.param = &topicNode{}
			}
			n = n.param
		default:
			next := n.literal[s.literal]
			if next == nil {
				if next = new(topicNode); n.literal == nil {
					n.literal = map[string]*topicNode{}
				}
				n.literal[s.literal] = next
			}
			n = next
		}
	}
	n.topic = c
}

// find matches decoded segments below the base. rest is what a wildcard took.
func (n *topicNode) find(segments []string) (c *compiled, values, rest []string) {
	root := n
	for i, seg := range segments {
		if next, ok := n.literal[seg]; ok {
			n = next
			continue
		}
		if n.param != nil {
			values = append(values, seg)
			n = n.param
			continue
		}
		if n.rest != nil {
			return n.rest, values, segments[i:]
		}
		return nil, nil, nil
	}
	if n.topic == nil && n == root && n.rest != nil {
		return n.rest, nil, nil // `/*` takes the bare base too
	}
	return n.topic, values, nil
}

// baseNode is one step in the base paths of all APIs.
type baseNode struct {
	next  map[string]*baseNode
	entry *baseEntry
}

// baseEntry is an API at one of its base paths.
type baseEntry struct {
	rec       *record
	byDefault bool // reached without the version
}

func (n *baseNode) add(path string, e *baseEntry) {
	for seg := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		next := n.next[seg]
		if next == nil {
			if next = new(baseNode); n.next == nil {
				n.next = map[string]*baseNode{}
			}
			n.next[seg] = next
		}
		n = next
	}
	n.entry = e
}

// longest returns the entry with the most segments that is a prefix, and how many segments it has.
func (n *baseNode) longest(segments []string) (e *baseEntry, depth int) {
	for i, seg := range segments {
		next := n.next[seg]
		if next == nil {
			break
		}
		if n = next; n.entry != nil {
			e, depth = n.entry, i+1
		}
	}
	return e, depth
}

// Match finds what a request leads to. escapedPath is the request path as sent, still escaped; rawQuery what stands behind `?`.
// Nothing is cleaned and nothing matched twice: the answer is for one spelling of the path, the canonical one.
//
// Errors wrap problem kinds: invalid-path, uri-too-long, no-such-api, no-such-topic, invalid-query. With the last two Route.API is
// set, so that the caller can ask for a credential first; with invalid-query Route.Topic is too. An API in state BLOCKED matches: the
// caller refuses it by its state. States CREATED and RETIRED are no-such-api.
func (s *Snapshot) Match(escapedPath, rawQuery string) (Route, error) {
	if len(rawQuery) > maxQueryBytes {
		return Route{}, fmt.Errorf("query of %d bytes: %w", len(rawQuery), problem.URITooLong)
	}
	segments, trailing, err := splitPath(escapedPath)
	if err != nil {
		return Route{}, err
	}
	e, depth := s.bases.longest(segments)
	visible := e != nil && e.rec.api.Spec.State.Runs()
	if trailing && (!visible || depth < len(segments)) {
		return Route{}, fmt.Errorf("path ends with a slash: %w", problem.InvalidPath)
	}
	if !visible {
		return Route{}, problem.NoSuchAPI
	}
	r, err := e.rec.route(segments[depth:], rawQuery)
	r.Path, r.Default = joinPath(segments), e.byDefault
	return r, err
}

// Feed finds the route of a feed that another process named. It is Match's answer for any request that leads to that feed, without
// Path; or no-such-api, no-such-topic, no-such-feed when this snapshot has no such feed.
func (s *Snapshot) Feed(ref FeedRef) (Route, error) {
	rec := s.records[apiKey(ref.API, ref.Version)]
	if rec == nil || !rec.api.Spec.State.Runs() {
		return Route{}, problem.NoSuchAPI
	}
	segments, trailing, err := splitPath(ref.Path)
	if err != nil || trailing || len(ref.Query) > maxQueryBytes {
		return Route{API: rec.api}, fmt.Errorf("feed of api %s: %w", rec.api.ID(), problem.NoSuchFeed)
	}
	r, err := rec.route(segments, ref.Query)
	if err == nil && (r.FeedPath != ref.Path || r.FeedQuery != ref.Query) {
		err = fmt.Errorf("feed of api %s is named differently here: %w", rec.api.ID(), problem.NoSuchFeed)
	}
	return r, err
}

// route matches decoded segments below the base.
func (rec *record) route(segments []string, rawQuery string) (Route, error) {
	r := Route{API: rec.api}
	c, values, rest := rec.topics.find(segments)
	if c == nil {
		return r, problem.NoSuchTopic
	}
	for i, v := range values {
		if !c.rules[i].takes(v) {
			return r, fmt.Errorf("value of {%s}: %w", c.names[i], problem.NoSuchTopic)
		}
		r.Params = append(r.Params, ParamValue{Name: c.names[i], Value: v})
	}
	path, query, ok := c.backend.fill(r.Params, rest)
	if !ok {
		return r, fmt.Errorf("values make a dot segment upstream: %w", problem.NoSuchTopic)
	}
	r.Topic = c.topic
	feedQuery, err := canonicalQuery(rawQuery, c.query)
	if err != nil {
		return r, err
	}
	r.FeedPath, r.FeedQuery = joinPath(segments), feedQuery
	if rec.api.Spec.Endpoint == "" {
		return r, nil
	}
	r.Upstream = strings.TrimRight(rec.api.Spec.Endpoint, "/") + path
	for _, q := range []string{query, feedQuery} {
		if q != "" {
			sep := byte('?')
			if strings.IndexByte(r.Upstream, '?') >= 0 {
				sep = '&'
			}
			r.Upstream += string(sep) + q
		}
	}
	return r, nil
}

// AlwaysOn returns the routes of the feeds that run with nobody listening, in the order of APIs and topics. Path is not set.
func (s *Snapshot) AlwaysOn() []Route {
	var out []Route
	for _, api := range s.apis {
		if !api.Spec.State.Runs() {
			continue
		}
		rec := s.records[apiKey(api.Name(), api.Version())]
		for i := range api.Spec.Topics {
			t := &api.Spec.Topics[i]
			if t.Demand != DemandAlways {
				continue
			}
			segments, _, err := splitPath(t.Name)
			if err != nil {
				continue // only templates and wildcards, which cannot be always on
			}
			if r, err := rec.route(segments, ""); err == nil && r.Topic == t {
				out = append(out, r)
			}
		}
	}
	return slices.Clip(out)
}
