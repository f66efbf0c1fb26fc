package quota

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Memory is a Source in this process: exact for one edge. Several edges with one Memory each do not see each other, so each gets
// its part of every limit; see Options of NewMemory.
type Memory struct {
	edges int
	now   func() time.Time

	mu     sync.Mutex // guards what follows
	quotas map[quotaKey]*quotaCount
	seats  map[string]map[string]seatCount
	rates  map[string]int64
	marks  *marks // nil = nothing is kept
	swept  time.Time
}

// quotaKey names a window of a scope.
type quotaKey struct {
	scope string
	start int64 // ms since 1970
}

// quotaCount is what was given and spent in a window.
type quotaCount struct {
	end          time.Time
	given, spent int64
	marked       int64 // given will not pass it before it is written
	edges        map[string]*edgeCount
}

// edgeCount is the part of one edge.
type edgeCount struct {
	given, spent int64
	call, life   uint64
	answer       Allotment
}

type seatCount struct {
	held  int
	until time.Time
}

// MemoryOptions are what a Memory is made from. All have defaults.
type MemoryOptions struct {
	// File keeps how far each quota was given, so that a process that was killed gives nothing twice: what it had not delivered yet is
	// lost. "" = a restart begins all quotas anew.
	File string
	// Edges is how many edges have a source like this: each gets that part of every limit.
	Edges int
	// Clock is the wall clock. Default time.Now.
	Clock func() time.Time
}

// NewMemory makes a source. It reads the file, if there is one.
func NewMemory(o MemoryOptions) (*Memory, error) {
	m := &Memory{edges: max(o.Edges, 1), now: o.Clock, quotas: map[quotaKey]*quotaCount{}, seats: map[string]map[string]seatCount{}, rates: map[string]int64{}}
	if m.now == nil {
		m.now = time.Now
	}
	if o.File == "" {
		return m, nil
	}
	var err error
	m.marks, err = openMarks(o.File, func(k quotaKey, end time.Time, given int64) {
		if end.After(m.now()) {
			m.quotas[k] = &quotaCount{end: end, given: given, marked: given, edges: map[string]*edgeCount{}}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("quota: %w", err)
	}
	return m, m.compact()
}

// Shared implements Source.
func (m *Memory) Shared() bool { return false }

// Close implements Source.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks.close()
}

// part is this edge's part of a limit.
func (m *Memory) part(limit int64) int64 {
	if limit <= 0 || m.edges == 1 {
		return limit
	}
	return max(1, limit/int64(m.edges))
}

// Allot implements Source, by the same steps as allot.lua.
func (m *Memory) Allot(ctx context.Context, a Ask) (Allotment, error) {
	if err := ctx.Err(); err != nil {
		return Allotment{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	key := quotaKey{a.Scope, a.Window.Start.UnixMilli()}
	q := m.quotas[key]
	if !a.Window.Holds(now) {
		if q != nil {
			q.settle(a)
		}
		return Allotment{Outside: true, Now: now}, nil
	}
	if q == nil {
		q = &quotaCount{end: a.Window.End, edges: map[string]*edgeCount{}}
		m.quotas[key] = q
	}
	e := q.edges[a.Edge]
	if e == nil {
		e = &edgeCount{}
		q.edges[a.Edge] = e
	}
	switch {
	case a.Call < e.call:
		return Allotment{}, errLate
	case a.Call == e.call:
		got := e.answer
		got.Now = now
		return got, nil
	}
	e.begin(a)
	limit := m.part(a.Limit)
	lost := max(0, e.given-a.Mine)
	if e.given < a.Mine {
		q.given += a.Mine - e.given
		e.given = a.Mine
	}
	q.given -= a.Back
	e.given -= a.Back
	give := share(a.Want-lost, limit-q.given, max(a.Edges, len(q.edges)))
	if err := m.mark(key, q, q.given+give, limit); err != nil {
		return Allotment{}, err
	}
	q.given += give
	e.given += give
	q.settle(a)
	e.call = a.Call
	e.answer = Allotment{Given: lost + give, Free: max(0, limit-q.given), Held: q.given - q.spent, Left: q.end.Sub(now), Now: now, Edges: len(q.edges)}
	return e.answer, nil
}

// begin forgets what an edge had before the life of a call that is not late.
func (e *edgeCount) begin(a Ask) {
	if e.life != a.Life {
		e.life, e.given, e.spent = a.Life, 0, 0
	}
}

// settle books what an edge says it spent.
func (q *quotaCount) settle(a Ask) {
	if e := q.edges[a.Edge]; e != nil && a.Call > e.call {
		e.begin(a)
		q.spent += a.Spent - e.spent
		e.spent = a.Spent
	}
}

// mark writes down that given may reach to, before it does, a hundredth of the limit ahead.
func (m *Memory) mark(k quotaKey, q *quotaCount, to, limit int64) error {
	if m.marks == nil || to <= q.marked {
		return nil
	}
	next := max(to, min(limit, to+limit/100))
	if err := m.marks.write(k, q.end, next); err != nil {
		return fmt.Errorf("quota: %w", err)
	}
	q.marked = next
	if m.marks.lines > 4*len(m.quotas)+1024 {
		return m.compact()
	}
	return nil
}

// compact writes the file anew, without what no longer counts.
func (m *Memory) compact() error {
	return m.marks.rewrite(func(put func(quotaKey, time.Time, int64)) {
		for k, q := range m.quotas {
			put(k, q.end, q.marked)
		}
	})
}

// sweep forgets what is over, once a minute.
func (m *Memory) sweep(now time.Time) {
	if now.Sub(m.swept) < time.Minute && !now.Before(m.swept) {
		return
	}
	m.swept = now
	for k, q := range m.quotas {
		if now.Sub(q.end) > keepWindow {
			delete(m.quotas, k)
		}
	}
	for scope, tat := range m.rates {
		if tat < now.UnixMicro() {
			delete(m.rates, scope)
		}
	}
}

// Seats implements Source, by the same steps as seats.lua.
func (m *Memory) Seats(ctx context.Context, a SeatAsk) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	taken := 0
	for edge, c := range m.seats[a.Scope] {
		switch {
		case edge == a.Edge:
		case now.Before(c.until):
			taken += c.held
		default:
			delete(m.seats[a.Scope], edge)
		}
	}
	got := max(0, min(a.More, int(m.part(int64(a.Limit)))-taken-a.Have))
	m.hold(a.Scope, a.Edge, a.Have+got, now)
	return got, nil
}

func (m *Memory) hold(scope, edge string, n int, now time.Time) {
	if n <= 0 {
		delete(m.seats[scope], edge)
		if len(m.seats[scope]) == 0 {
			delete(m.seats, scope)
		}
		return
	}
	if m.seats[scope] == nil {
		m.seats[scope] = map[string]seatCount{}
	}
	m.seats[scope][edge] = seatCount{n, now.Add(seatLife)}
}

// Refresh implements Source.
func (m *Memory) Refresh(ctx context.Context, held []SeatAsk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, a := range held {
		m.hold(a.Scope, a.Edge, a.Have, now)
	}
	return ctx.Err()
}

// Spend implements Source, by the same steps as spend.lua.
func (m *Memory) Spend(ctx context.Context, scope string, r Rate) (Decision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, tat, wait := r.gcra(m.rates[scope], m.now().UnixMicro(), 1)
	m.rates[scope] = tat
	return Decision{OK: got == 1, RetryAfter: wait}, ctx.Err()
}

// marks is the file that Memory writes: a line per window and step, the last one of a window counts.
type marks struct {
	name  string
	f     *os.File
	lines int
}

// openMarks reads the file; a line that is not whole is one whose events were not given.
func openMarks(name string, each func(k quotaKey, end time.Time, given int64)) (*marks, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	m := &marks{name: name, f: f}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var k quotaKey
		var end, given int64
		var stop string
		if n, _ := fmt.Sscan(lines.Text(), &k.scope, &k.start, &end, &given, &stop); n == 5 && stop == "." { //nolint:errcheck // n tells
			each(k, time.UnixMilli(end), given)
		}
	}
	return m, nil
}

func markLine(k quotaKey, end time.Time, given int64) string {
	return fmt.Sprintf("%s %d %d %d .\n", k.scope, k.start, end.UnixMilli(), given)
}

func (m *marks) write(k quotaKey, end time.Time, given int64) error {
	m.lines++
	_, err := m.f.WriteString(markLine(k, end, given))
	return err
}

// rewrite replaces the file by what fill puts.
func (m *marks) rewrite(fill func(put func(quotaKey, time.Time, int64))) error {
	if m == nil {
		return nil
	}
	f, err := os.OpenFile(m.name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	lines := 0
	fill(func(k quotaKey, end time.Time, given int64) {
		lines++
		if _, bad := f.WriteString(markLine(k, end, given)); bad != nil {
			err = bad
		}
	})
	if err = errors.Join(err, os.Rename(f.Name(), m.name)); err != nil {
		return errors.Join(err, f.Close())
	}
	old := m.f
	m.f, m.lines = f, lines
	return old.Close()
}

func (m *marks) close() error {
	if m == nil {
		return nil
	}
	return m.f.Close()
}
