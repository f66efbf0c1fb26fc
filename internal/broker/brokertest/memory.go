package brokertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/broker"
)

// Memory is a node on a broker that is only a data structure, for synctest bubbles and
// fast tests. It stores, fences, expires, republishes and reads as the real one does;
// MaxBytes and the size of the broker's queues it does not know.
type Memory struct {
	faults
	t     testing.TB
	store *store

	// Guarded by store.mu.
	link    broker.Link
	changed chan struct{}
	lives   map[*memoryLive]struct{}
	closed  bool
}

var _ Broker = (*Memory)(nil)

// memoryMaxEvent is the largest body, as of the real broker.
const memoryMaxEvent = 1 << 20

// store is what nodes share.
type store struct {
	mu      sync.Mutex
	streams map[string]*memoryStream
	buckets map[string]*memoryBucket
	nodes   []*Memory
	subs    []*memorySub
	stamped int64             // last time stamp given
	used    map[string]uint64 // by API: highest sequence of streams that are gone
	delay   time.Duration     // of a direct read
	saved   *savedStore
}

// memoryStream is the stream of one API.
type memoryStream struct {
	spec     broker.StreamSpec
	first    uint64 // sequence with which it began
	last     uint64
	feeds    map[broker.FeedID][]broker.Message
	readable uint64 // reads see nothing above; 0 = no limit
}

type savedStore struct {
	streams map[string]*memoryStream
	buckets map[string]*memoryBucket
}

// NewMemory returns a node on a new, empty broker. It is closed when the test ends.
func NewMemory(t testing.TB) *Memory {
	s := &store{
		streams: map[string]*memoryStream{}, buckets: map[string]*memoryBucket{}, used: map[string]uint64{},
	}
	return s.node(t)
}

// Peer connects another node to the same broker, with a link and faults of its own.
func (m *Memory) Peer() *Memory { return m.store.node(m.t) }

func (s *store) node(t testing.TB) *Memory {
	m := &Memory{
		t: t, store: s, lives: map[*memoryLive]struct{}{}, changed: make(chan struct{}),
		link: broker.Link{Up: true, Since: time.Now()},
	}
	s.mu.Lock()
	s.nodes = append(s.nodes, m)
	s.mu.Unlock()
	t.Cleanup(m.Close)
	return m
}

// Close ends what the node started: subscriptions and watches.
func (m *Memory) Close() {
	m.Cut()
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.closed = true
	for _, sub := range m.store.subs {
		if sub.node == m {
			sub.end()
		}
	}
}

// Writer returns the node's writer.
func (m *Memory) Writer() broker.Writer { return faultyWriter{memoryWriter{m}, &m.faults} }

// Direct returns the node's reader.
func (m *Memory) Direct() broker.Direct { return countingDirect{memoryDirect{m}, &m.faults} }

// Bus returns the node's core messages.
func (m *Memory) Bus() broker.Bus { return memoryBus{m} }

// Admin returns the node's admin.
func (m *Memory) Admin() broker.Admin { return memoryAdmin{m} }

// MaxEvent is the largest body of an event.
func (m *Memory) MaxEvent() int { return memoryMaxEvent }

// Link tells whether the node is cut off.
func (m *Memory) Link() broker.Link {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	return m.link
}

// LinkChanged returns a channel that is closed at the next change.
func (m *Memory) LinkChanged() <-chan struct{} {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	return m.changed
}

// Cut implements Faults.
func (m *Memory) Cut() { m.setLink(false, "cut") }

// Heal implements Faults.
func (m *Memory) Heal() { m.setLink(true, "") }

func (m *Memory) setLink(up bool, why string) {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.link.Up == up || m.closed {
		return
	}
	m.link = broker.Link{Up: up, Since: time.Now(), Why: why}
	close(m.changed)
	m.changed = make(chan struct{})
	m.blink()
}

// blink is what a connection that was cut or is back does to receivers and watches.
func (m *Memory) blink() {
	for l := range m.lives {
		l.markAll()
	}
	for _, b := range m.store.buckets {
		b.endWatches(m)
	}
}

// LagReads freezes what direct reads see, as a replica that lags does, or lets them
// see all again.
func (m *Memory) LagReads(on bool) {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	for _, s := range m.store.streams {
		s.readable = 0
		if on {
			s.readable = s.last
		}
	}
}

// DelayReads makes every direct read take d.
func (m *Memory) DelayReads(d time.Duration) {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.store.delay = d
}

// DeleteMsg implements Faults.
func (m *Memory) DeleteMsg(api string, seq uint64) {
	m.t.Helper()
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	for f, ms := range m.stream(api).feeds {
		if i, found := search(ms, seq); found {
			m.store.streams[api].feeds[f] = slices.Delete(slices.Clone(ms), i, i+1)
			return
		}
	}
	m.t.Fatalf("brokertest: no message %d in the stream of %s", seq, api)
}

// PurgeTo implements Faults.
func (m *Memory) PurgeTo(api string, seq uint64) {
	m.t.Helper()
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	s := m.stream(api)
	for f, ms := range s.feeds {
		i, _ := search(ms, seq)
		s.feeds[f] = ms[i:]
	}
	s.last = max(s.last, seq-1)
}

// Recreate implements Faults.
func (m *Memory) Recreate(api string) {
	m.t.Helper()
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	spec := m.stream(api).spec
	m.store.drop(api)
	m.store.create(spec)
}

// stream returns the API's stream, which must exist; store.mu is held.
func (m *Memory) stream(api string) *memoryStream {
	m.t.Helper()
	s := m.store.streams[api]
	if s == nil {
		m.t.Fatalf("brokertest: no stream of %q", api)
	}
	return s
}

// Save implements Faults.
func (m *Memory) Save() {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.store.saved = &savedStore{cloneStreams(m.store.streams), cloneBuckets(m.store.buckets)}
	m.store.blinkAll()
}

// RestoreOld implements Faults.
func (m *Memory) RestoreOld() {
	m.t.Helper()
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.store.saved == nil {
		m.t.Fatal("brokertest: RestoreOld without Save")
	}
	m.store.blinkAll() // ends the watches of the buckets that are replaced
	m.store.streams = cloneStreams(m.store.saved.streams)
	m.store.buckets = cloneBuckets(m.store.saved.buckets)
}

func (s *store) blinkAll() {
	for _, n := range s.nodes {
		n.blink()
	}
}

func cloneStreams(streams map[string]*memoryStream) map[string]*memoryStream {
	out := map[string]*memoryStream{}
	for api, s := range streams {
		c := *s
		c.feeds = maps.Clone(s.feeds)
		for f, ms := range c.feeds {
			c.feeds[f] = slices.Clone(ms)
		}
		out[api] = &c
	}
	return out
}

// stamp returns the next time stamp: the clock's, but always later than the last one,
// so that a sequence used twice has two.
func (s *store) stamp() int64 {
	s.stamped = max(time.Now().UnixMicro(), s.stamped+1)
	return s.stamped
}

// limited fills in the real broker's defaults.
func limited(spec broker.StreamSpec) broker.StreamSpec {
	if spec.MaxEvents <= 0 {
		spec.MaxEvents = 10_000
	}
	if spec.MaxAge <= 0 {
		spec.MaxAge = time.Hour
	}
	return spec
}

func (s *store) create(spec broker.StreamSpec) {
	first := max(uint64(time.Now().UnixMicro()), s.used[spec.API]+1)
	s.streams[spec.API] = &memoryStream{
		spec: limited(spec), first: first, last: first - 1, feeds: map[broker.FeedID][]broker.Message{},
	}
}

func (s *store) drop(api string) {
	if old := s.streams[api]; old != nil {
		s.used[api] = max(s.used[api], old.last)
		delete(s.streams, api)
	}
}

// trim applies the limits to a feed and returns what is kept.
func (s *memoryStream) trim(f broker.FeedID) []broker.Message {
	ms := s.feeds[f]
	if most := s.spec.MaxEvents; int64(len(ms)) > most {
		ms = ms[int64(len(ms))-most:]
	}
	oldest := time.Now().Add(-s.spec.MaxAge).UnixMicro()
	for len(ms) > 0 && ms[0].Micros < oldest {
		ms = ms[1:]
	}
	s.feeds[f] = ms
	return ms
}

// search finds the first message with a sequence of at least seq.
func search(ms []broker.Message, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(ms, seq, func(m broker.Message, seq uint64) int {
		switch {
		case m.Seq < seq:
			return -1
		case m.Seq > seq:
			return 1
		}
		return 0
	})
}

// open returns the stream of an API for a node that is not cut off; store.mu is held.
func (m *Memory) open(api string) (*memoryStream, error) {
	if !m.link.Up {
		return nil, fmt.Errorf("stream of %s: %w: %s", api, broker.ErrUnavailable, m.link.Why)
	}
	s := m.store.streams[api]
	if s == nil {
		return nil, fmt.Errorf("stream of %s: %w", api, broker.ErrNoStream)
	}
	return s, nil
}

// memoryAdmin implements broker.Admin.
type memoryAdmin struct{ m *Memory }

func (a memoryAdmin) EnsureStream(_ context.Context, spec broker.StreamSpec) error {
	a.m.store.mu.Lock()
	defer a.m.store.mu.Unlock()
	if spec.API == "" {
		return fmt.Errorf("stream of %q: %w: bad specification", spec.API, broker.ErrRefused)
	}
	s, err := a.m.open(spec.API)
	switch {
	case err == nil:
		s.spec = limited(spec)
	case a.m.link.Up:
		a.m.store.create(spec)
	default:
		return err
	}
	return nil
}

func (a memoryAdmin) DeleteStream(_ context.Context, api string) error {
	a.m.store.mu.Lock()
	defer a.m.store.mu.Unlock()
	if !a.m.link.Up {
		return fmt.Errorf("stream of %s: delete: %w", api, broker.ErrUnavailable)
	}
	a.m.store.drop(api)
	return nil
}

func (a memoryAdmin) PurgeFeed(_ context.Context, f broker.FeedID) error {
	a.m.store.mu.Lock()
	defer a.m.store.mu.Unlock()
	s, err := a.m.open(f.API)
	if err == nil {
		delete(s.feeds, f)
	}
	return err
}

func (a memoryAdmin) StreamState(_ context.Context, api string) (broker.StreamState, error) {
	a.m.store.mu.Lock()
	defer a.m.store.mu.Unlock()
	s, err := a.m.open(api)
	if err != nil {
		return broker.StreamState{}, err
	}
	st := broker.StreamState{FirstSeq: s.last + 1, LastSeq: s.last}
	for f := range s.feeds {
		ms := s.trim(f)
		if len(ms) == 0 {
			continue
		}
		st.Feeds++
		st.FirstSeq = min(st.FirstSeq, ms[0].Seq)
		for i := range ms {
			st.Messages++
			st.Bytes += uint64(len(ms[i].Body))
		}
	}
	return st, nil
}

func (a memoryAdmin) Bucket(ctx context.Context, name string, history uint8) (broker.Bucket, error) {
	return a.EnsureBucket(ctx, broker.BucketSpec{Name: name, History: history})
}

func (a memoryAdmin) EnsureBucket(_ context.Context, s broker.BucketSpec) (broker.Bucket, error) {
	name := s.Name
	a.m.store.mu.Lock()
	defer a.m.store.mu.Unlock()
	if !a.m.link.Up {
		return nil, fmt.Errorf("bucket %s: %w", name, broker.ErrUnavailable)
	}
	if a.m.store.buckets[name] == nil {
		a.m.store.buckets[name] = &memoryBucket{rev: uint64(time.Now().UnixMicro()), last: map[string]broker.Entry{}, at: map[string]time.Time{}}
	}
	a.m.store.buckets[name].maxAge = s.MaxAge
	return bucketHandle{a.m, name}, nil
}
