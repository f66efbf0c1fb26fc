package catalog

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"sluice/config"
	"sluice/internal/doc"
)

// Options are the process settings that definitions inherit where they are silent.
type Options struct {
	ConnectTimeout, Idle, Linger, Heartbeat time.Duration
	// MaxEvent is also the upper bound of what a definition may ask for: more is cut down to it.
	MaxEvent config.Bytes
	Shed     config.Shed
	Slow     config.SlowPolicy
	Framing  config.Framing
	// Loops says that an endpoint leads back to this process, so that a feed of it would read itself. Nil = it cannot be told.
	Loops func(endpoint *url.URL) bool
	// Public are the addresses under which clients reach the edges; a record's status names those of its API.
	Public []config.PublicURL
}

// OptionsFrom takes the settings that definitions inherit out of a process's settings.
func OptionsFrom(c config.Config) Options {
	return Options{
		ConnectTimeout: c.Upstream.ConnectTimeout, Idle: c.Upstream.Idle, MaxEvent: c.Upstream.MaxEvent,
		Linger: c.Ingest.Demand.Linger, Heartbeat: c.Fanout.Heartbeat,
		Shed: c.Edge.Shed, Slow: c.Fanout.Slow.Policy, Framing: c.Edge.Framing,
	}
}

// inherit marks a duration that the definition leaves to the process, where zero has a meaning of its own.
const inherit = time.Duration(-1)

// Retention of an API that says nothing.
const (
	defaultMaxAge    = time.Hour
	defaultMaxEvents = 10_000
	defaultMaxBytes  = 2 * config.GiB
)

// definition is one API as read, with its document for positions.
type definition struct {
	api *API
	doc *doc.Document
}

// newAPI has the defaults of an API in place, for a decoder to write over.
func newAPI() *API {
	return &API{Spec: Spec{
		State: StateCreated, Visibility: VisibilityPublic, Protocol: "sse",
		Transports: []Transport{TransportHTTP, TransportHTTPS},
		Upstream:   Upstream{Idle: inherit, Resume: ResumeProbe, On204: On204Park, Auth: UpstreamAuth{Type: "none"}},
		Auth: Auth{Schemes: []string{"jwt", "apiKey"}, Header: "Authorization", APIKeyHeader: "ApiKey",
			Issuers: []string{"all"}},
		Client:     Client{Retry: 2 * time.Second},
		Limits:     Limits{MaxFeeds: 1000},
		EdgeGroups: []string{"default"},
		Deploy:     DeployAuto,
	}}
}

// SetDefaults implements doc.Defaulter for the elements of spec.topics.
func (t *Topic) SetDefaults() {
	t.Type, t.Security, t.Demand, t.Linger = "sub", SecurityRequired, DemandAuto, inherit
	t.Start.At = StartLive
}

// SetDefaults implements doc.Defaulter for the elements of messages.
func (m *Message) SetDefaults() { m.ContentType = "application/json" }

// UnmarshalDoc implements doc.Unmarshaler: `live`, `earliest` or `{last: N}`.
func (s *Start) UnmarshalDoc(sc doc.Scope, n *doc.Node) {
	if n.Kind == doc.String {
		if s.At = StartAt(n.Text); s.At != StartLive && s.At != StartEarliest {
			sc.Errorf(n, "must be live, earliest or {last: N}")
		}
		return
	}
	if n.Kind != doc.Map {
		sc.Errorf(n, "must be live, earliest or {last: N}, not %s", n.Kind)
		return
	}
	var form struct {
		Last int `json:"last"`
	}
	sc.Decode(n, &form)
	switch last := n.Get(string(StartLast)); {
	case last == nil && len(n.Fields) > 0: // told as unknown keys
	case last == nil:
		sc.Errorf(n, "must be live, earliest or {last: N}")
	case last.Kind == doc.Number && (form.Last < 1 || form.Last > maxStartLast):
		sc.Errorf(last, "last must be between 1 and %d events", maxStartLast)
	}
	*s = Start{At: StartLast, Last: form.Last}
}

// MarshalJSON implements json.Marshaler with the form that UnmarshalDoc reads.
func (s Start) MarshalJSON() ([]byte, error) {
	if s.At == StartLast {
		return json.Marshal(map[string]int{string(StartLast): s.Last})
	}
	return json.Marshal(string(s.At))
}

const maxStartLast = 1000

// UnmarshalDoc implements doc.Unmarshaler: a bare string is the pattern.
func (p *Param) UnmarshalDoc(sc doc.Scope, n *doc.Node) {
	if n.Kind == doc.String {
		p.Pattern = n.Text
		return
	}
	type form Param
	sc.Decode(n, (*form)(p))
}

// UnmarshalDoc implements doc.Unmarshaler: a bare string is the name.
func (q *QueryParam) UnmarshalDoc(sc doc.Scope, n *doc.Node) {
	if n.Kind == doc.String {
		q.Name = n.Text
		return
	}
	type form QueryParam
	sc.Decode(n, (*form)(q))
}

// Source is a definition file: a stream of YAML documents, or one JSON document if its name ends in .json.
type Source struct {
	Name string
	Data []byte
}

// decode reads all definitions of a source but those of other kinds. What could be read is returned beside the errors.
func decode(src Source, others ...string) ([]definition, doc.Errors) {
	var errs doc.Errors
	docs, err := doc.Parse(src.Name, src.Data)
	errs = join(errs, err)
	if len(docs) == 0 && len(errs) == 0 {
		// More often a file that is just being written than a wish to take its APIs down.
		errs = append(errs, &doc.Error{File: src.Name, Type: doc.TypeInvalidYAML, Message: "has no definition in it", Hint: "remove the file to remove its APIs"})
	}
	var out []definition
	for _, d := range docs {
		if n := d.Root.Get("kind"); n != nil && slices.Contains(others, n.Text) {
			continue
		}
		if !isAPI(d, &errs) {
			continue
		}
		api := newAPI()
		if err := d.Decode(api); err != nil {
			errs = join(errs, err)
		}
		api.Status = nil
		out = append(out, definition{api, d})
	}
	return out, errs
}

// isAPI checks the envelope first: a file of another kind deserves one error, not one per field.
func isAPI(d *doc.Document, errs *doc.Errors) bool {
	if d.Root.Kind != doc.Map {
		*errs = append(*errs, d.Errorf("", "must be a definition with apiVersion: %s and kind: %s", APIVersion, KindAPI))
		return false
	}
	ok := true
	for _, want := range []struct{ key, value string }{{"apiVersion", APIVersion}, {"kind", KindAPI}} {
		n := d.Root.Get(want.key)
		switch {
		case n == nil:
			*errs = append(*errs, d.Errorf("", "lacks %s: %s", want.key, want.value))
			ok = false
		case n.Text != want.value:
			*errs = append(*errs, d.Errorf("/"+want.key, "must be %s", want.value))
			ok = false
		}
	}
	return ok
}

func join(errs doc.Errors, err error) doc.Errors {
	var more doc.Errors
	if errors.As(err, &more) {
		return append(errs, more...)
	}
	return errs
}

// complete fills in what depends on other fields or on the process.
func (a *API) complete(opt Options) {
	s := &a.Spec
	if a.Metadata.DisplayName == "" {
		a.Metadata.DisplayName = a.Metadata.Name
	}
	fillIn(&s.Upstream.ConnectTimeout, opt.ConnectTimeout)
	if s.Upstream.Idle == inherit {
		s.Upstream.Idle = opt.Idle
	}
	fillIn(&s.Upstream.MaxEvent, opt.MaxEvent)
	if opt.MaxEvent > 0 {
		s.Upstream.MaxEvent = min(s.Upstream.MaxEvent, opt.MaxEvent)
	}
	fillIn(&s.Client.Heartbeat, opt.Heartbeat)
	fillIn(&s.Client.Shed, opt.Shed)
	fillIn(&s.Client.Slow, opt.Slow)
	fillIn(&s.Client.Framing, opt.Framing)
	fillIn(&s.Retention.MaxAge, defaultMaxAge)
	fillIn(&s.Retention.MaxEvents, defaultMaxEvents)
	fillIn(&s.Retention.MaxBytes, defaultMaxBytes)
	for i := range s.Topics {
		t := &s.Topics[i]
		if t.Linger == inherit {
			t.Linger = opt.Linger
		}
		fillIn(&t.Slow, s.Client.Slow)
		fillIn(&t.Retention.MaxAge, s.Retention.MaxAge)
		fillIn(&t.Retention.MaxEvents, s.Retention.MaxEvents)
		if t.Demand == DemandAuto {
			t.Demand = DemandOnDemand
			segments, err := parseTopic(t.Name)
			if err == nil && shapeOf(segments) == Exact && !slices.ContainsFunc(mergeQuery(s.Query, t.Query), isRequired) {
				t.Demand = DemandAlways
			}
		}
	}
}

func fillIn[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
