package admin

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
	"sluice/internal/sse"
)

// Times and bounds of event streams of the management API.
const (
	watchHeartbeat = 15 * time.Second
	watchLook      = time.Second      // how often the caller's standing is looked at, beside each event
	watchWrite     = 10 * time.Second // a reader who takes longer is cut
	mostUnsent     = 64 << 10         // of events are sent together
)

// flow is an event stream to one reader; it belongs to its request's goroutine.
type flow struct {
	op       *operation
	standing func() (auth.Principal, bool)
	out      http.ResponseWriter
	control  *http.ResponseController
	buf      []byte
}

// stream opens an event stream for one reader among those that are counted in open, and runs it until it has ended.
func (s *Server) stream(c echo.Context, open *readers, run func(*flow) error) error {
	name := callerOf(c).Name
	leave, err := open.enter(name)
	if err != nil {
		return err
	}
	defer leave()
	f, err := s.newFlow(c)
	if err != nil {
		return err
	}
	if err := run(f); err != nil {
		s.log.Debug("event stream ended", "path", c.Path(), "user", name, "error", err)
	}
	return nil
}

// newFlow sends the head of a stream.
func (s *Server) newFlow(c echo.Context) (*flow, error) {
	f := &flow{op: s.contract.find(http.MethodGet, c.Path()), standing: s.accounts.Standing(callerOf(c).Name, sessionOf(c.Request())),
		out: c.Response(), control: http.NewResponseController(c.Response())}
	if err := f.control.SetReadDeadline(time.Time{}); err != nil { // the server's is for requests that end
		return nil, err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	return f, nil
}

// sessionOf is the token of the session that a request is part of, "" if it is of none.
func sessionOf(r *http.Request) string {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	if r.Header.Get("Authorization") == "" {
		return auth.CookieToken(r)
	}
	return ""
}

// caller is who reads, or the reason why nobody may any more.
func (f *flow) caller() (p auth.Principal, reason string) {
	p, stands := f.standing()
	switch {
	case !stands:
		return p, "signed-out"
	case !f.op.allows(p):
		return p, "role-lost"
	}
	return p, ""
}

// event adds one event, and sends if enough wait. id "" = none.
func (f *flow) event(name, id string, data any) error {
	text, err := doc.Marshal(data)
	if err != nil {
		return err
	}
	var tag []byte
	if id != "" {
		tag = []byte(id)
	}
	f.buf = sse.AppendFrame(f.buf, sse.AppendBody(nil, []byte(name), text), tag)
	if len(f.buf) < mostUnsent {
		return nil
	}
	return f.flush()
}

// heartbeat adds a comment.
func (f *flow) heartbeat() { f.buf = append(f.buf, sse.Heartbeat...) }

// end tells why the stream ends.
func (f *flow) end(reason string) error {
	err := f.event(eventEnd, "", struct {
		Reason string `json:"reason"`
	}{reason})
	if err != nil {
		return err
	}
	return f.flush()
}

// flush sends what waits.
func (f *flow) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	if err := f.control.SetWriteDeadline(time.Now().Add(watchWrite)); err != nil {
		return err
	}
	_, err := f.out.Write(f.buf)
	f.buf = f.buf[:0]
	if err != nil {
		return err
	}
	return f.control.Flush()
}

// readers counts the streams of one kind that are open.
type readers struct {
	what     string
	most, of int // in all, of one user

	mu  sync.Mutex // guards what follows
	all int
	by  map[string]int // by user
}

// enter counts one more, until leave; it refuses one too many.
func (r *readers) enter(user string) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= r.most || r.by[user] >= r.of {
		return nil, &problem.Error{Kind: problem.TooManyConnections, Detail: "As many " + r.what + " are open as may be.", RetryAfter: 5 * time.Second}
	}
	if r.by == nil {
		r.by = map[string]int{}
	}
	r.all++
	r.by[user]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.by[user]--; r.by[user] == 0 {
			delete(r.by, user)
		}
	}, nil
}
