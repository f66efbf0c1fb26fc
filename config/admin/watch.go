package admin

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
	"sluice/internal/sse"
)

// Times and bounds of streams of changes.
const (
	watchHeartbeat = 15 * time.Second
	watchLook      = time.Second      // how often the caller's standing is looked at, beside each change
	watchWrite     = 10 * time.Second // a reader who takes longer is cut
	watchBehind    = 5 * time.Second  // how long this node may be behind the reader

	mostWatchers   = 1000
	mostWatchersBy = 32 // of one user
)

// Watch implements ServerInterface.
func (s *Server) Watch(c echo.Context, params WatchParams) error {
	rev, err := s.watchFrom(c, params)
	if err != nil {
		return err
	}
	caller := callerOf(c)
	leave, err := s.watching.enter(caller.Name)
	if err != nil {
		return err
	}
	defer leave()
	w := &watcher{server: s, op: s.contract.find(http.MethodGet, c.Path()), standing: s.accounts.Standing(caller.Name, bearer(c.Request())),
		out: c.Response(), control: http.NewResponseController(c.Response()), rev: rev, began: time.Now()}
	if err := w.control.SetReadDeadline(time.Time{}); err != nil { // the server's is for requests that end
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	if err := w.run(c.Request().Context().Done(), s.ending); err != nil {
		s.log.Debug("stream of changes ended", "user", caller.Name, "error", err)
	}
	return nil
}

// watchFrom is the revision after which a stream tells of changes.
func (s *Server) watchFrom(c echo.Context, params WatchParams) (uint64, error) {
	switch last := strings.TrimSpace(params.LastEventID); {
	case last != "":
		rev, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return 0, problem.InvalidLastEventID
		}
		return rev, nil
	case c.QueryParams().Has("since"):
		return uint64(params.Since), nil //nolint:gosec // the contract knows none below 0
	}
	return s.catalog.Rev(), nil
}

// bearer is the token of a request, "" if it has none.
func bearer(r *http.Request) string {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// watchers counts the streams of changes that are open.
type watchers struct {
	mu  sync.Mutex // guards what follows
	all int
	by  map[string]int // by user
}

// enter counts one more, until leave; it refuses one too many.
func (w *watchers) enter(user string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= mostWatchers || w.by[user] >= mostWatchersBy {
		return nil, &problem.Error{Kind: problem.TooManyConnections, Detail: "As many streams of changes are open as may be.", RetryAfter: 5 * time.Second}
	}
	if w.by == nil {
		w.by = map[string]int{}
	}
	w.all++
	w.by[user]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.by[user]--; w.by[user] == 0 {
			delete(w.by, user)
		}
	}, nil
}

// watcher is one stream of changes; it belongs to its request's goroutine.
type watcher struct {
	server   *Server
	op       *operation
	standing func() (auth.Principal, bool)
	out      http.ResponseWriter
	control  *http.ResponseController
	rev      uint64 // told up to here
	began    time.Time
	buf      []byte
}

// change is WatchedChange as it is written.
type change struct {
	Kind string      `json:"kind"`
	ID   string      `json:"id"`
	Rev  uint64      `json:"rev"`
	API  *APISummary `json:"api,omitempty"`
}

// position is what events say that are not about an object.
type position struct {
	Rev uint64 `json:"rev"`
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
	if err := w.event(eventReady, w.rev, position{w.rev}); err != nil {
		return err
	}
	for {
		moved := w.server.catalog.Moved() // taken before what changed is looked at
		caller, stands := w.standing()
		switch {
		case !stands:
			return w.end("signed-out")
		case !w.op.allows(caller):
			return w.end("role-lost")
		}
		if err := w.changes(caller); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-look.C:
		case <-beat.C:
			w.buf = append(w.buf, sse.Heartbeat...)
		case <-ending:
			return w.end("shutdown")
		case <-gone:
			return nil
		}
	}
}

// changes tells what changed since the last time, and sends what waits to be sent.
func (w *watcher) changes(caller auth.Principal) error {
	list, until := w.server.catalog.ChangesSince(w.rev)
	if until < w.rev && time.Since(w.began) < watchBehind {
		return w.flush()
	}
	unclear := until < w.rev
	for i := 0; i < len(list) && !unclear; i++ {
		m := &list[i]
		var err error
		switch {
		case m.Record != nil && manages(caller, m.Record):
			summary := summaryOf(m.Record)
			err = w.event(eventChanged, m.Rev, change{Kind: catalog.KindAPI, ID: m.Record.ID(), Rev: m.Rev, API: &summary})
		case m.Before != nil && sees(caller, *m.Before):
			err = w.event(eventDeleted, m.Rev, change{Kind: catalog.KindAPI, ID: m.Before.ID, Rev: m.Rev})
		case !m.Known: // the caller may have seen it
			unclear = true
		}
		if err != nil {
			return err
		}
	}
	w.rev = until
	if unclear {
		w.began = time.Now()
		if err := w.event(eventReset, until, position{until}); err != nil {
			return err
		}
	}
	return w.flush()
}

// end tells why the stream ends.
func (w *watcher) end(reason string) error {
	text, err := doc.Marshal(struct {
		Reason string `json:"reason"`
	}{reason})
	if err != nil {
		return err
	}
	w.buf = sse.AppendFrame(w.buf, sse.AppendBody(nil, []byte(eventEnd), text), nil)
	return w.flush()
}

// mostUnsent is how many bytes of events are sent together.
const mostUnsent = 64 << 10

// event adds one event, and sends if enough wait.
func (w *watcher) event(name string, rev uint64, data any) error {
	text, err := doc.Marshal(data)
	if err != nil {
		return err
	}
	w.buf = sse.AppendFrame(w.buf, sse.AppendBody(nil, []byte(name), text), strconv.AppendUint(nil, rev, 10))
	if len(w.buf) < mostUnsent {
		return nil
	}
	return w.flush()
}

// flush sends what waits.
func (w *watcher) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(watchWrite)); err != nil {
		return err
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return err
	}
	return w.control.Flush()
}
