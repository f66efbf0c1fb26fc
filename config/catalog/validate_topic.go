package catalog

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/config"
	"sluice/internal/doc"
)

// topics checks all topics; the default topic is in place.
func (c *checker) topics() {
	s := &c.api.Spec
	c.count("/spec/topics", len(s.Topics), maxTopics)
	c.queryParams("/spec/query", s.Query)
	shapes := map[string]string{}
	for i := range s.Topics {
		t := &s.Topics[i]
		at := doc.Join("/spec/topics", i)
		segments, err := parseTopic(t.Name)
		if err != nil {
			slug := "invalid-topic"
			if te := (*topicError)(nil); errors.As(err, &te) {
				slug = te.slug
			}
			c.fail(slug, at+"/name", "%v", err)
			continue
		}
		if other, taken := shapes[outline(segments)]; taken {
			c.fail("topic-conflict", at+"/name", "matches the same paths as topic %q", clip(other))
		}
		shapes[outline(segments)] = t.Name
		c.topic(at, t, segments)
	}
}

func (c *checker) topic(at string, t *Topic, segments []segment) {
	if len(t.Description) > 2<<10 {
		c.value(at+"/description", "must be at most 2 KiB")
	}
	if t.Type == "pub" {
		c.fail("not-subscribe", at+"/type", "must be sub: clients of an event stream only read")
	} else {
		oneOf(c, at+"/type", t.Type, "sub")
	}
	oneOf(c, at+"/security", t.Security, SecurityRequired, SecurityNone)
	c.retention(at+"/retention", t.Retention)
	if t.Retention.MaxBytes != 0 {
		c.value(at+"/retention/maxBytes", "is for the whole API: set spec.retention.maxBytes")
	}
	oneOf(c, at+"/demand", t.Demand, DemandAuto, DemandAlways, DemandOnDemand)
	if t.Demand == DemandAlways && shapeOf(segments) != Exact {
		c.value(at+"/demand", "can be always only for a topic without {param} and *, which is one feed")
	}
	if t.Linger != inherit {
		c.duration(at+"/linger", t.Linger, 0, time.Hour)
	}
	oneOf(c, at+"/slow", t.Slow, config.SlowDrop, config.SlowBacklog, config.SlowLatest)
	c.topicScopes(at+"/scopes", t)
	c.messages(at+"/messages", t.Messages)
	c.queryParams(at+"/query", t.Query)
	c.params(at+"/params", t, segments)
	query := mergeQuery(c.api.Spec.Query, t.Query)
	c.count(at+"/query", len(query), maxQueryParams)
	if i := slices.IndexFunc(query, isRequired); i >= 0 && t.Demand == DemandAlways {
		c.value(at+"/demand", "cannot be always: no feed exists without the required query parameter %q", clip(query[i].Name))
	}
	c.backend(at+"/backend", t, segments, query)
}

func (c *checker) topicScopes(at string, t *Topic) {
	c.count(at, len(t.Scopes), 32)
	for i, name := range t.Scopes {
		if !slices.ContainsFunc(c.api.Spec.Scopes, func(s Scope) bool { return s.Name == name }) {
			c.fail("unknown-scope", doc.Join(at, i), "is not defined in spec.scopes")
		}
	}
	if len(t.Scopes) > 0 && t.Security == SecurityNone {
		c.value(at, "ask for a right, but the topic has security: none")
	}
}

func (c *checker) messages(at string, list []Message) {
	c.count(at, len(list), 16)
	for i, m := range list {
		if m.Name == "" || len(m.Name) > 255 {
			c.value(doc.Join(at, i)+"/name", "must be 1 to 255 bytes")
		}
		c.count(doc.Join(at, i)+"/examples", len(m.Examples), 10)
	}
}

func (c *checker) params(at string, t *Topic, segments []segment) {
	for name, p := range t.Params {
		here := doc.Join(at, name)
		if !slices.ContainsFunc(segments, func(s segment) bool { return s.param == name && name != "" }) {
			c.fail("unknown-param", here, "is not a parameter of the topic")
			continue
		}
		r, err := newRule(p.Pattern, nil)
		if err != nil {
			c.value(c.orSelf(here, "pattern"), "%v", err)
			continue
		}
		c.text(here+"/description", p.Description, 1024)
		if p.Enum != nil {
			if len(p.Enum) == 0 || len(p.Enum) > 100 {
				c.value(here+"/enum", "must have 1 to 100 values")
			}
			for i, v := range p.Enum {
				if !r.takes(v) {
					c.value(doc.Join(here+"/enum", i), "is a value that the pattern refuses")
				}
			}
		}
		c.count(here+"/examples", len(p.Examples), 10)
	}
}

// orSelf points at a key of a value with a long form, or at the value when its short form was written.
func (c *checker) orSelf(at, key string) string {
	if c.written(at + "/" + key) {
		return at + "/" + key
	}
	return at
}

func (c *checker) queryParams(at string, list []QueryParam) {
	c.count(at, len(list), maxQueryParams)
	seen := map[string]bool{}
	for i, q := range list {
		here := doc.Join(at, i)
		switch {
		case !isQueryName(q.Name):
			c.value(c.orSelf(here, "name"), "must be 1 to 64 letters, digits, dots, underscores, tildes or dashes")
		case reservedQuery(q.Name):
			c.value(c.orSelf(here, "name"), "is a name that sluice reads itself")
		case seen[q.Name]:
			c.value(c.orSelf(here, "name"), "is listed twice")
		}
		seen[q.Name] = true
		r, err := newRule(q.Pattern, nil)
		if err != nil {
			c.value(here+"/pattern", "%v", err)
			continue
		}
		if q.Default != "" && q.Required {
			c.value(here+"/default", "is of no use for a required parameter")
		} else if q.Default != "" && !r.takes(q.Default) {
			c.value(here+"/default", "is a value that the pattern refuses")
		}
	}
}

func (c *checker) backend(at string, t *Topic, segments []segment, query []QueryParam) {
	if t.Backend == "" && !c.written(at) {
		return
	}
	names := paramNames(segments)
	_, used, err := parseBackend(t.Backend, names, shapeOf(segments) == Wildcard)
	if up := unknownParam(""); errors.As(err, &up) {
		c.fail("unknown-param", at, "%v", err)
		return
	}
	if err == nil && len(t.Backend) > 1024 {
		err = errors.New("is longer than 1024 bytes")
	}
	if err != nil {
		c.fail("invalid-backend-path", at, "%v", err)
		return
	}
	for _, name := range queryNames(t.Backend) {
		if slices.ContainsFunc(query, func(q QueryParam) bool { return q.Name == name }) {
			c.fail("invalid-backend-path", at, "sets the query parameter %q, which clients set too", clip(name))
		}
	}
	if shapeOf(segments) == Wildcard {
		names = append(names, "*")
	}
	for _, name := range names {
		if !used[name] {
			c.warn("unused-param", at, "does not use {%s}: many feeds will read one URL", name)
		}
	}
}

func paramNames(segments []segment) []string {
	var out []string
	for _, s := range segments {
		if s.param != "" {
			out = append(out, s.param)
		}
	}
	return out
}

// mergeQuery is what one topic lists: its own parameters, and the API's where it has none of that name; sorted by name.
func mergeQuery(api, topic []QueryParam) []QueryParam {
	out := slices.Clone(topic)
	for _, q := range api {
		if !slices.ContainsFunc(topic, func(t QueryParam) bool { return t.Name == q.Name }) {
			out = append(out, q)
		}
	}
	slices.SortStableFunc(out, func(a, b QueryParam) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func isRequired(q QueryParam) bool { return q.Required }

// compileTopic makes a checked topic ready to match.
func compileTopic(api *API, t *Topic) (*compiled, error) {
	segments, err := parseTopic(t.Name)
	if err != nil {
		return nil, err
	}
	c := &compiled{topic: t, segments: segments, shape: shapeOf(segments), names: paramNames(segments)}
	for _, name := range c.names {
		p := t.Params[name]
		r, err := newRule(p.Pattern, p.Enum)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, r)
	}
	for _, q := range mergeQuery(api.Spec.Query, t.Query) {
		r, err := newRule(q.Pattern, nil)
		if err != nil {
			return nil, err
		}
		c.query = append(c.query, queryRule{q, r})
	}
	text := t.Backend
	if strings.TrimSpace(text) == "" {
		text = identity(segments)
	}
	c.backend, _, err = parseBackend(text, c.names, c.shape == Wildcard)
	return c, err
}
