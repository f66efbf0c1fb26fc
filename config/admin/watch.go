package admin

import (
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/access"
	"sluice/internal/auth"
	"sluice/internal/problem"
)

// Times and bounds of streams of changes.
const (
	watchBehind = 5 * time.Second // how long this node may be behind the reader

	mostWatchers   = 1000
	mostWatchersBy = 32 // of one user
)

// Watch implements ServerInterface.
func (s *Server) Watch(c echo.Context, params WatchParams) error {
	kinds, err := watchedKinds(callerOf(c), params.Kinds)
	if err != nil {
		return err
	}
	from, err := s.watchFrom(c, params, kinds)
	if err != nil {
		return err
	}
	return s.stream(c, &s.watching, func(f *flow) error {
		w := &watcher{flow: f, server: s, kinds: kinds, at: from, began: time.Now()}
		return w.run(c.Request().Context().Done(), s.ending)
	})
}

// watchedKinds are the kinds that a caller asks to be told of.
func watchedKinds(p auth.Principal, asked []WatchParamsKinds) (map[string]bool, error) {
	manages := p.Has(auth.RoleCreator) || p.Has(auth.RolePublisher)
	kinds := map[string]bool{}
	for _, k := range asked {
		kinds[string(k)] = true
	}
	switch {
	case kinds[catalog.KindAPI] && !manages:
		return nil, &problem.Error{Kind: problem.Forbidden, Detail: "Changes of APIs are for creators and publishers."}
	case len(asked) > 0:
	case manages:
		kinds[catalog.KindAPI] = true
	default:
		kinds = map[string]bool{kindPlan: true, kindApplication: true, kindSubscription: true, kindKey: true}
	}
	return kinds, nil
}

// kindKey is the kind of an API key, which has no definition.
const kindKey = "Key"

// place is how far a reader was told: revisions of the catalog and of what says who may read.
type place struct {
	api, access uint64
	both        bool // access counts
}

// String is the id of an event.
func (p place) String() string {
	text := strconv.FormatUint(p.api, 10)
	if p.both {
		text += "-" + strconv.FormatUint(p.access, 10)
	}
	return text
}

// parsePlace reads an id; both tells whether it must have two parts.
func parsePlace(text string, both bool) (p place, err error) {
	first, second, two := strings.Cut(text, "-")
	if two != both {
		return p, problem.InvalidLastEventID
	}
	p.both = both
	if p.api, err = strconv.ParseUint(first, 10, 63); err == nil && both {
		p.access, err = strconv.ParseUint(second, 10, 63)
	}
	if err != nil {
		return p, problem.InvalidLastEventID
	}
	return p, nil
}

// watchFrom is the place after which a stream tells of changes.
func (s *Server) watchFrom(c echo.Context, params WatchParams, kinds map[string]bool) (place, error) {
	both := len(kinds) > 1 || !kinds[catalog.KindAPI]
	if last := strings.TrimSpace(params.LastEventID); last != "" {
		return parsePlace(last, both)
	}
	if c.QueryParams().Has("since") {
		if both && params.Since != 0 {
			return place{}, &problem.Error{Kind: problem.InvalidQuery, Detail: "With kinds beside API since can be 0 only; use Last-Event-ID."}
		}
		return place{api: uint64(params.Since), both: both}, nil //nolint:gosec // the contract knows none below 0
	}
	return place{s.catalog.Rev(), s.access.Status().Access, both}, nil
}

// watcher is one stream of changes; it belongs to its request's goroutine.
type watcher struct {
	*flow
	server *Server
	kinds  map[string]bool
	at     place // told up to here
	began  time.Time
}

// change is WatchedChange as it is written.
type change struct {
	Kind string      `json:"kind"`
	ID   string      `json:"id"`
	Rev  uint64      `json:"rev"`
	API  *APISummary `json:"api,omitempty"`
	// Application is the id of what a subscription or key belongs to.
	Application string `json:"application,omitempty"`
}

// position is what events say that are not about an object.
type position struct {
	Rev    uint64 `json:"rev"`
	Access uint64 `json:"access,omitempty"`
}

// Names of events.
const (
	eventReady   = "ready"
	eventChanged = "changed"
	eventDeleted = "deleted"
	eventReset   = "reset"
	eventEnd     = "end"
)

// run tells of changes until the reader is gone, the caller may not be told any more or the server ends.
func (w *watcher) run(gone, ending <-chan struct{}) error {
	beat, look := time.NewTicker(watchHeartbeat), time.NewTicker(watchLook)
	defer beat.Stop()
	defer look.Stop()
	if err := w.tell(eventReady, position{w.at.api, w.at.access}); err != nil {
		return err
	}
	for {
		moved, others := w.server.catalog.Moved(), (<-chan struct{})(nil) // taken before what changed is looked at
		if w.at.both {
			others = w.server.access.Moved()
		}
		caller, reason := w.caller()
		switch {
		case reason != "":
			return w.end(reason)
		case w.kinds[catalog.KindAPI] && !caller.Has(auth.RoleCreator) && !caller.Has(auth.RolePublisher):
			return w.end("role-lost")
		}
		if err := w.changes(caller); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-others:
		case <-look.C:
		case <-beat.C:
			w.heartbeat()
		case <-ending:
			return w.end("shutdown")
		case <-gone:
			return nil
		}
	}
}

// changes tells what changed since the last time, and sends what waits to be sent.
func (w *watcher) changes(caller auth.Principal) error {
	known := true
	for _, tell := range []func(auth.Principal) (bool, error){w.apis, w.records} {
		ok, err := tell(caller)
		if err != nil {
			return err
		}
		known = known && ok
	}
	if !known {
		w.began = time.Now()
		if err := w.tell(eventReset, position{w.at.api, w.at.access}); err != nil {
			return err
		}
	}
	return w.flush()
}

// apis tells what changed of APIs; false = it cannot be told.
func (w *watcher) apis(caller auth.Principal) (bool, error) {
	if !w.kinds[catalog.KindAPI] {
		return true, nil
	}
	list, until := w.server.catalog.ChangesSince(w.at.api)
	if until < w.at.api {
		if time.Since(w.began) < watchBehind {
			return true, nil
		}
		list = nil
	}
	known := until >= w.at.api
	for i := 0; i < len(list) && known; i++ {
		m := &list[i]
		w.at.api = m.Rev
		var err error
		switch {
		case m.Record != nil && manages(caller, m.Record):
			summary := summaryOf(m.Record)
			err = w.tell(eventChanged, change{Kind: catalog.KindAPI, ID: m.Record.ID(), Rev: m.Rev, API: &summary})
		case m.Before != nil && sees(caller, *m.Before):
			err = w.tell(eventDeleted, change{Kind: catalog.KindAPI, ID: m.Before.ID, Rev: m.Rev})
		case !m.Known: // the caller may have seen it
			known = false
		}
		if err != nil {
			return known, err
		}
	}
	w.at.api = until
	return known, nil
}

// records tells what changed of what says who may read; false = it cannot be told.
func (w *watcher) records(caller auth.Principal) (bool, error) {
	if !w.at.both {
		return true, nil
	}
	list, until, ok := w.server.access.ChangesSince(w.at.access)
	if until < w.at.access {
		if time.Since(w.began) < watchBehind {
			return true, nil
		}
		list, ok = nil, false
	}
	for _, m := range list {
		w.at.access = m.Rev
		now, sees := w.server.shownTo(caller, m.Record, "")
		was, saw := w.server.shownTo(caller, m.Before, m.Owner)
		name, c := eventChanged, now
		switch {
		case sees && w.kinds[now.Kind]:
		case saw && w.kinds[was.Kind]:
			name, c = eventDeleted, was
		default:
			continue
		}
		c.Rev = m.Rev
		if err := w.tell(name, c); err != nil {
			return ok, err
		}
	}
	w.at.access = until
	return ok, nil
}

// shownTo is what a caller is told of a record, and whether they may be. owner has its application, if that may be gone; "" = as it is now.
func (s *Server) shownTo(p auth.Principal, record any, owner string) (change, bool) {
	owned := func(app string) bool {
		if owner != "" {
			return owner == p.Name || p.Has(auth.RoleAdmin)
		}
		a := s.access.Snapshot().Application(app)
		return a != nil && owns(p, a)
	}
	switch r := record.(type) {
	case *access.Plan:
		return change{Kind: kindPlan, ID: r.Name}, true
	case *access.Application:
		return change{Kind: kindApplication, ID: r.ID}, owns(p, r)
	case *access.Key:
		return change{Kind: kindKey, ID: r.ID, Application: r.Application}, owned(r.Application)
	case *access.Grant:
		return change{Kind: kindSubscription, ID: r.ID, Application: r.Application}, owned(r.Application) || s.rightsOn(p, r).publisher
	}
	return change{}, false
}

// tell adds an event whose id is the place up to which all was told.
func (w *watcher) tell(name string, data any) error { return w.event(name, w.at.String(), data) }
