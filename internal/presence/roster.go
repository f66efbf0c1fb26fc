package presence

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/internal/broker"
)

// Roster knows which edges live. Create it with NewRoster; any goroutine may call its methods.
type Roster struct {
	bus broker.Bus
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	edges map[string]Edge
	began time.Time     // of listening; zero before Run
	moved chan struct{} // closed and made anew when a beat says something else, and when an edge goes
}

// NewRoster returns a Roster. It starts nothing.
func NewRoster(bus broker.Bus, log *slog.Logger) *Roster {
	return &Roster{bus: bus, log: log, edges: map[string]Edge{}, moved: make(chan struct{})}
}

// Run listens until ctx ends. Call once. The error says that beats cannot be heard at the start.
func (r *Roster) Run(ctx context.Context) error {
	stop, err := r.bus.Subscribe(broker.SubjectEdgeBeats, func(_ string, body []byte, _ func([]byte) error) { r.hear(body) })
	if err != nil {
		return err
	}
	defer stop()
	r.mu.Lock()
	r.began = time.Now()
	r.mu.Unlock()
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.scan(time.Now())
		case <-ctx.Done():
			return nil
		}
	}
}

// hear takes one beat. Of two edges with one name the last one heard counts.
func (r *Roster) hear(body []byte) {
	b, ok := decode(body)
	if !ok {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	have, known := r.edges[b.Node]
	switch {
	case b.Gone:
		if !known || have.Boot != b.Boot {
			return
		}
		delete(r.edges, b.Node)
		r.log.Info("edge left", "node", b.Node)
		r.tell()
		return
	case !known && len(r.edges) >= maxEdges:
		return
	case !known:
		r.log.Info("edge seen", "node", b.Node, "boot", b.Boot, "group", b.Group)
	}
	b.Heard = now
	r.edges[b.Node] = b.Edge
	if !known || have.Boot != b.Boot || have.Rev != b.Rev || !slices.Equal(have.Refused, b.Refused) {
		r.tell()
	}
}

// scan lets the silent go.
func (r *Roster) scan(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, e := range r.edges {
		if now.Sub(e.Heard) >= deadAfter {
			delete(r.edges, name)
			r.log.Warn("edge is silent: taken for dead", "node", name, "boot", e.Boot)
			r.tell()
		}
	}
}

// tell wakes who waits; r.mu is held.
func (r *Roster) tell() {
	close(r.moved)
	r.moved = make(chan struct{})
}

// Edges lists the edges that live, by name.
func (r *Roster) Edges() []Edge {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list()
}

func (r *Roster) list() []Edge {
	out := make([]Edge, 0, len(r.edges))
	for _, e := range r.edges {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Edge) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Progress is how far the edges that live have followed the catalog.
type Progress struct {
	Live, Done int
	Failed     []Failure // by node
}

// Failure is one edge that does not serve what it should.
type Failure struct {
	Node string
	Rev  uint64
	// Refused tells that it could not take the API, else it is behind.
	Refused bool
}

// Await waits until every edge that lives has come to revision rev of the catalog, or ctx ends; one that refuses an API of those ids has
// failed nevertheless. A Roster that listens for a short time only waits until it must have heard every edge.
func (r *Roster) Await(ctx context.Context, rev uint64, ids ...string) Progress {
	for {
		r.mu.Lock()
		p, waits := progress(r.list(), rev, ids)
		moved, left := r.moved, listenTime
		if !r.began.IsZero() {
			left -= time.Since(r.began)
		}
		r.mu.Unlock()
		if !waits && left <= 0 {
			return p
		}
		listened := time.NewTimer(max(left, scanEvery))
		select {
		case <-moved:
		case <-listened.C:
		case <-ctx.Done():
			listened.Stop()
			return p
		}
		listened.Stop()
	}
}

// progress judges the edges; waits tells that some are only behind.
func progress(edges []Edge, rev uint64, ids []string) (p Progress, waits bool) {
	p.Live = len(edges)
	for _, e := range edges {
		refused := slices.ContainsFunc(e.Refused, func(id string) bool { return slices.Contains(ids, id) })
		switch {
		case e.Rev < rev:
			waits = true
			p.Failed = append(p.Failed, Failure{Node: e.Node, Rev: e.Rev})
		case refused:
			p.Failed = append(p.Failed, Failure{Node: e.Node, Rev: e.Rev, Refused: true})
		default:
			p.Done++
		}
	}
	return p, waits
}
