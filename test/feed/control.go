package feed

import (
	"time"

	"sluice/test/oracle"
)

// Emit makes n more events of a feed due at once; later ones of the timetable are numbered after them.
func (m *Market) Emit(feed string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.resource(feed); r != nil && n > 0 {
		r.extra += uint64(n)
		m.wake()
		m.tellWaiting()
	}
}

// Pause stops the timetable: no further event comes due until Resume. Emit still works.
func (m *Market) Pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.paused.IsZero() {
		m.paused = time.Now()
		m.wake()
	}
}

// Resume lets the timetable go on where Pause stopped it.
func (m *Market) Resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.paused.IsZero() {
		m.skipped += time.Since(m.paused)
		m.paused = time.Time{}
		m.wake()
	}
}

// Inject makes the fault happen: one that meets connections on every open one of its feed, or on the next to
// be opened if there is none; one that meets requests at the next ones, after ending the open connections.
func (m *Market) Inject(f Fault) {
	m.mu.Lock()
	m.inject(f)
	m.mu.Unlock()
}

// inject is Inject. Under mu.
func (m *Market) inject(f Fault) {
	if f.Kind == Burst {
		m.burst(f)
		return
	}
	var hit int
	for _, r := range m.resources {
		if f.Feed != "" && f.Feed != r.feed {
			continue
		}
		for c := range r.open {
			if f.meetsRequest() {
				c.faults = append(c.faults, Fault{Kind: FIN})
			} else {
				c.faults = append(c.faults, f)
			}
			hit++
		}
	}
	queues, feedQueue := &m.streaming, func(r *resource) *[]Fault { return &r.streaming }
	if f.meetsRequest() {
		queues, feedQueue = &m.requests, func(r *resource) *[]Fault { return &r.requests }
	}
	if f.meetsRequest() || hit == 0 {
		if f.Feed == "" {
			*queues = append(*queues, f)
		} else if r := m.resource(f.Feed); r != nil {
			q := feedQueue(r)
			*q = append(*q, f)
		}
	}
	m.wake()
}

// burst makes Size events due on the fault's feed, or on every feed that is open. Under mu.
func (m *Market) burst(f Fault) {
	for _, r := range m.resources {
		if f.Feed == r.feed || f.Feed == "" && len(r.open) > 0 {
			r.extra += uint64(f.Size)
		}
	}
	m.wake()
	m.tellWaiting()
}

// Clear forgets all faults that wait for a request or a connection.
func (m *Market) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests, m.streaming = nil, nil
	for _, r := range m.resources {
		r.requests, r.streaming = nil, nil
	}
}

// Cut ends all open connections of a feed at once, of all feeds if it is empty: by a reset, or by closing.
func (m *Market) Cut(feed string, reset bool) {
	kind := FIN
	if reset {
		kind = RST
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.resources {
		if feed == "" || feed == r.feed {
			for c := range r.open {
				c.faults = append([]Fault{{Kind: kind}}, c.faults...)
			}
		}
	}
	m.wake()
}

// Settle announces as produced what came due that no connection has asked for yet. Call it, after Pause, at the
// end of a run that is judged.
func (m *Market) Settle() {
	m.mu.Lock()
	var facts []oracle.Fact
	for _, r := range m.resources {
		facts = append(facts, r.announce(m.head(r, time.Now())))
	}
	m.mu.Unlock()
	m.tell(facts...)
}

// runScript injects the timed steps whose time has come. Under mu.
func (m *Market) runScript(now time.Time) {
	for i, s := range m.script {
		if s.AtN == 0 && !m.fired[i] && now.Sub(m.created) >= s.After {
			m.fired[i] = true
			m.inject(s.Do)
		}
	}
}

// nextStep returns how long it is until the next timed step, or a large time. Under mu.
func (m *Market) nextStep(now time.Time) time.Duration {
	wait := time.Hour
	for i, s := range m.script {
		if s.AtN == 0 && !m.fired[i] {
			wait = min(wait, max(0, s.After-now.Sub(m.created)))
		}
	}
	return wait
}

// scripted returns the step that must happen on the feed before event n is sent, and the first later event that
// has one. Under mu.
func (m *Market) scripted(r *resource, n uint64) (now *Fault, next uint64) {
	next = ^uint64(0)
	for i, s := range m.script {
		if s.AtN == 0 || r.fired[i] || s.Do.Feed != "" && s.Do.Feed != r.feed {
			continue
		}
		if s.AtN <= n {
			r.fired[i] = true
			return &s.Do, next
		}
		next = min(next, s.AtN)
	}
	return nil, next
}
