package edge

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
	"sluice/internal/sse"
)

// Times of the events that clients opt in to.
const (
	staleAfter     = 10 * time.Second // upstream not up, or broker link lost
	ownerAfter     = 30 * time.Second // no word of the feed's owner
	bookmarkEvery  = 60 * time.Second // of silence
	bookmarkSilent = 30 * time.Second // of the feed, before a bookmark by time
	bookmarkFresh  = 10 * time.Second // age of the word that confirms the tail
	controlTick    = time.Second
)

// source is what an opt-in client is told about; *fanout.Feed is one.
type source interface {
	State() (broker.Beacon, time.Time)
}

// notifier is a sink that slips in the gateway events a client asked for. They go
// between events only, and never past one that was not sent. The engine writes on
// the handler's goroutine, timed events come from tick's: mu keeps them apart.
type notifier struct {
	fanout.Sink
	want    control
	shared  bool
	stall   time.Duration
	now     func() time.Time
	log     *fanout.Log
	feed    source
	link    func() broker.Link // nil = not known
	metrics *edgeMetrics
	api     string

	mu       sync.Mutex // guards what follows
	opened   bool       // the first bytes are out
	boundary bool       // between two events
	over     bool       // gateway.end was sent, or a write failed
	carry    []byte     // the last bytes written, to find an id cut in two
	last     broker.Position
	target   broker.Position // replay ends here
	replayed uint64
	live     bool      // gateway.live was due, and sent if wanted
	quiet    time.Time // when something was last sent
	stale    time.Time // since when gateway.stale stands; zero = fresh
	began    time.Time
	held     bool // the client holds a valid id
}

// newNotifier wraps to for one stream. start and head are the log's places at the
// join; start is zero for one that begins in a block of backlog.
func (s *Server) newNotifier(to fanout.Sink, q *request, j *fanout.Joined) *notifier {
	n := &notifier{
		Sink: to, want: q.choice.control, shared: q.proto == protoHTTP2, stall: s.cfg.Fanout.Slow.Stall, now: s.now,
		log: j.Log, feed: j.Feed, link: s.link, metrics: s.metrics, api: q.apiLabel(), began: s.now(), quiet: s.now(),
		held: q.choice.at.Kind == fanout.AtID,
	}
	if n.stall <= 0 {
		n.stall = 10 * time.Second
	}
	n.target = j.Log.Last()
	if j.Start.Block == nil {
		n.last = j.Log.Mark(j.Start.Cursor).Pos
	}
	return n
}

// Multiplexed tells the engine whether the connection carries other streams.
func (n *notifier) Multiplexed() bool { return n.shared }

// Write passes the engine's bytes on and, if they end between two events, what was
// due there.
func (n *notifier) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	written, err := n.Sink.Write(p)
	n.note(p[:written])
	if err != nil {
		n.over = true
		return written, err
	}
	if n.boundary && !n.over {
		if err := n.due(false); err != nil {
			return written, err
		}
	}
	return written, nil
}

// note follows what the client has now. mu is held.
func (n *notifier) note(p []byte) {
	if len(p) == 0 {
		return
	}
	heartbeat := n.boundary && string(p) == sse.Heartbeat
	first := !n.opened
	n.opened = true
	n.carry = append(n.carry, p[max(0, len(p)-64):]...)
	n.carry = n.carry[max(0, len(n.carry)-64):]
	n.boundary = first || heartbeat || bytes.HasSuffix(n.carry, []byte("\n\n"))
	if heartbeat {
		return
	}
	n.quiet = n.now()
	n.over = n.over || bytes.Contains(p, []byte("event: gateway.end\n"))
	n.replayed += uint64(bytes.Count(p, []byte("\nid: ")))
	for _, b := range [][]byte{p, n.carry} {
		if pos, ok := lastID(b); ok {
			n.last, n.held = pos, true
			return
		}
	}
}

// lastID finds the id of the last whole event in b.
func lastID(b []byte) (broker.Position, bool) {
	for {
		at := bytes.LastIndex(b, []byte("\nid: "))
		if at < 0 {
			return broker.Position{}, false
		}
		if id, _, whole := bytes.Cut(b[at+len("\nid: "):], []byte("\n\n")); whole {
			return fanout.ParseID(string(id))
		}
		b = b[:at+1]
	}
}

// due sends what is due now. timed says that a second has passed. mu is held, and
// the stream stands between two events.
func (n *notifier) due(timed bool) error {
	var b []byte
	if !n.live && n.last.Seq >= n.target.Seq {
		n.live = true
		b = n.appendLive(b)
	}
	if n.live && n.want&controlBookmark != 0 && (!n.held || timed && n.now().Sub(n.quiet) >= bookmarkEvery) {
		b = n.appendBookmark(b)
	}
	if timed && n.want&controlStale != 0 {
		b = n.appendStale(b)
	}
	if len(b) == 0 {
		return nil
	}
	_ = n.Sink.SetWriteDeadline(time.Now().Add(n.stall))
	_, err := n.Sink.Write(b)
	if err == nil {
		err = n.Sink.Flush()
	}
	if n.shared {
		_ = n.Sink.SetWriteDeadline(time.Time{})
	}
	n.over = n.over || err != nil
	return err
}

func (n *notifier) appendLive(dst []byte) []byte {
	if n.want&controlLive == 0 {
		return dst
	}
	id := string(fanout.AppendID(nil, n.last))
	data := []byte(`{"id":null,"replayed":`)
	if id != "" {
		data = append(strconv.AppendQuote([]byte(`{"id":`), id), `,"replayed":`...)
	}
	data = append(strconv.AppendUint(data, n.replayed, 10), '}')
	n.held = n.held || id != ""
	n.metrics.told(n.api, "gateway.live", "")
	return sse.AppendControl(dst, "gateway.live", data, id)
}

// appendBookmark tells a position without an event, so that who heard nothing can
// resume exactly: the feed's last event, or a time before which nothing is missing.
func (n *notifier) appendBookmark(dst []byte) []byte {
	pos := n.last
	if pos.IsZero() {
		beacon, at := n.feed.State()
		now := n.now()
		if at.IsZero() || now.Sub(at) > bookmarkFresh || beacon.Seq != n.log.Last().Seq || now.Sub(n.began) < bookmarkSilent {
			return dst
		}
		pos.Micros = now.Add(-bookmarkFresh).UnixMicro()
	}
	n.held, n.quiet = true, n.now()
	n.metrics.bookmarked()
	dst = append(dst, "id: "...)
	dst = fanout.AppendID(dst, pos)
	return append(dst, "\n\n"...)
}

// appendStale tells that the feed's line is cut, or cured.
func (n *notifier) appendStale(dst []byte) []byte {
	now := n.now()
	reason, since := n.staleness(now)
	switch {
	case reason != "" && n.stale.IsZero():
		n.stale = now
		data := append([]byte(`{"reason":"`), reason...)
		data = since.UTC().AppendFormat(append(data, `","since":"`...), time.RFC3339)
		n.metrics.told(n.api, "gateway.stale", reason)
		return sse.AppendControl(dst, "gateway.stale", append(data, `"}`...), "")
	case reason == "" && !n.stale.IsZero():
		data := strconv.AppendInt([]byte(`{"staleMs":`), now.Sub(n.stale).Milliseconds(), 10)
		n.stale = time.Time{}
		n.metrics.told(n.api, "gateway.fresh", "")
		return sse.AppendControl(dst, "gateway.fresh", append(data, '}'), "")
	}
	return dst
}

// staleness says what of the line is cut, and since when; "" = nothing.
func (n *notifier) staleness(now time.Time) (reason string, since time.Time) {
	return staleness(now, n.link, n.feed, n.began)
}

// staleness says the same of any feed; began is since when a word of its owner may be
// expected.
func staleness(now time.Time, link func() broker.Link, feed source, began time.Time) (reason string, since time.Time) {
	if link != nil {
		if l := link(); !l.Up && now.Sub(l.Since) >= staleAfter {
			return "broker", l.Since
		}
	}
	beacon, at := feed.State()
	if at.IsZero() {
		at = began
	}
	if now.Sub(at) >= ownerAfter {
		return "owner", at
	}
	if beacon.State == "" || beacon.State == broker.StateUp {
		return "", time.Time{}
	}
	if since = time.UnixMicro(beacon.Since); now.Sub(since) >= staleAfter {
		return "upstream", since
	}
	return "", time.Time{}
}

// run sends timed events until ctx ends.
func (n *notifier) run(ctx context.Context) {
	tick := time.NewTicker(controlTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		if n.opened && n.boundary && !n.over {
			_ = n.due(true) // a broken connection is found by the engine
		}
		n.mu.Unlock()
	}
}

// serveNotified serves a client that asked for gateway events.
func (s *Server) serveNotified(q *request, n *notifier, sub fanout.Subscriber) fanout.End {
	ctx, cancel := context.WithCancel(q.r.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); n.run(ctx) }()
	end := s.portable.Serve(ctx, n, sub)
	cancel()
	<-done
	return end
}
