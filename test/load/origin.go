package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// originKeeps is how many events of a topic the origin can send again to a server that comes back.
const originKeeps = 50_000

// origin is an upstream for the server under test: /t/<topic> streams what publish is given, in order, and honours
// Last-Event-ID as far as it keeps events. Topics beyond those of the cell begin again from 0.
type origin struct {
	prefix string // begins every id: ids of an earlier run are not those of this one
	topics []originTopic
	ln     net.Listener
	server *http.Server
}

// originTopic is one stream.
type originTopic struct {
	mu      sync.Mutex // guards the rest
	frames  [][]byte   // the last ones, oldest first
	newest  int64      // n of the last frame
	changed chan struct{}
	readers int
	joined  chan struct{} // closed when the first reader came
}

// newOrigin listens on addr. It serves once run is called.
func newOrigin(ctx context.Context, addr string, topics int, run int64) (*origin, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o := &origin{prefix: strconv.FormatInt(run, 36) + "-", topics: make([]originTopic, topics), ln: ln}
	for i := range o.topics {
		o.topics[i].changed, o.topics[i].joined = make(chan struct{}), make(chan struct{})
	}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 5 * time.Second}
	return o, nil
}

// run serves until ctx ends.
func (o *origin) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = o.server.Close() })
	defer stop()
	if err := o.server.Serve(o.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("origin: %w", err)
	}
	return nil
}

func (o *origin) lanes() int { return 1 }

// publish appends to a topic and wakes its readers.
func (o *origin) publish(_ context.Context, topic int, n int64, data []byte) error {
	frame := make([]byte, 0, len(data)+64)
	frame = strconv.AppendInt(append(append(frame, "id: "...), o.prefix...), n, 10)
	frame = append(append(append(frame, "\ndata: "...), data...), "\n\n"...)
	t := &o.topics[topic]
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.frames) >= originKeeps {
		t.frames = append(t.frames[:0:0], t.frames[originKeeps/2:]...)
	}
	t.frames, t.newest = append(t.frames, frame), n
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// ready waits until somebody reads each topic.
func (o *origin) ready(ctx context.Context) error {
	for i := range o.topics {
		select {
		case <-o.topics[i].joined:
		case <-ctx.Done():
			return fmt.Errorf("nobody reads topic %[2]d of http://%[1]s/t/<topic>: is it the endpoint of the server under test?", o.ln.Addr(), i)
		}
	}
	return nil
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, found := strings.CutPrefix(r.URL.Path, "/t/")
	topic, err := strconv.Atoi(number)
	if !found || err != nil || topic < 0 {
		http.NotFound(w, r)
		return
	}
	t := &o.topics[topic%len(o.topics)] // so that a run can use a path of its own, such as /t/7
	next := t.join(strings.CutPrefix(r.Header.Get("Last-Event-ID"), o.prefix))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w)
	_, _ = w.Write([]byte(":\n")) // so that the head leaves; a failure shows at the flush
	for {
		if flush.Flush() != nil {
			return
		}
		frames, changed := t.from(next)
		if len(frames) == 0 {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			}
		}
		for _, f := range frames {
			if _, err := w.Write(f); err != nil {
				return
			}
		}
		next += int64(len(frames))
	}
}

// join notes a reader and says with which n it begins: after the one it presents, if that is of this run.
func (t *originTopic) join(last string, ofThisRun bool) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readers++; t.readers == 1 {
		close(t.joined)
	}
	if id, err := strconv.ParseInt(last, 10, 64); ofThisRun && err == nil && id <= t.newest && id > t.newest-int64(len(t.frames)) {
		return id + 1
	}
	return t.newest + 1
}

// from returns the frames from n on, and what is closed when there are more.
func (t *originTopic) from(n int64) ([][]byte, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.newest - int64(len(t.frames)) + 1
	if n < oldest {
		n = oldest
	}
	return t.frames[n-oldest:], t.changed
}
