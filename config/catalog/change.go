package catalog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"time"

	"sluice/internal/broker"
	"sluice/internal/problem"
)

// Times of a write.
const (
	writeTimeout = 15 * time.Second
	catchUpTime  = 2 * time.Second // until this node has seen what another wrote
	outcomeTime  = 5 * time.Second // until a change whose answer was lost is seen
	mostTries    = 20
	mostWrites   = 16 // changes that one node makes at once
)

// plan is one change, made of what a node has seen: what to write, and what to answer.
type plan struct {
	seen   *seen // as it was; only while the mutex is held
	by     Write
	now    time.Time
	writes []broker.BucketWrite
	gated  bool
	result Result
	needs  []*API // whose streams must be there first
	gone   []*API // whose streams go afterwards
	drops  bool   // the subscriptions to what has, or had, the name of the result go first
	// carryFrom is the version whose subscribers get the result too; "" = none.
	carryFrom string
	req       string
}

// decide makes a plan; it reads p.seen and nothing else of the catalog.
type decide func(p *plan) error

// change makes one change: it decides on what this node has seen, writes compare-and-set, and decides anew if that was not the newest.
func (m *Manager) change(ctx context.Context, w Write, f decide) (Result, error) {
	if len(w.Comment) > 4*maxComment || len([]rune(w.Comment)) > maxComment {
		return Result{}, &problem.Error{Kind: InvalidValue, Detail: fmt.Sprintf("comment must be at most %d characters", maxComment)}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	select {
	case m.writing <- struct{}{}:
		defer func() { <-m.writing }()
	case <-ctx.Done():
		return Result{}, unavailable("The node is busy with other changes.", ctx.Err())
	}
	if err := m.writable(); err != nil {
		return Result{}, err
	}
	if w.Expect > 0 {
		m.until(ctx, catchUpTime, func(s *seen) bool { return s.rev >= w.Expect })
	}
	fresh, alone := false, false
	for range mostTries {
		p, err := m.planned(w, f)
		if problem.KindOf(orNone(err)) == VersionMismatch && m.Rev() >= w.Expect {
			return Result{}, err // revisions only grow: nothing newer can make it true
		}
		if err != nil && !fresh { // another node may have changed what the refusal rests on
			if e := m.catchUp(ctx); e != nil {
				return Result{}, e
			}
			fresh = true
			p, err = m.planned(w, f)
		}
		if err != nil {
			return Result{}, err
		}
		if w.DryRun || len(p.writes) == 0 {
			return p.result, nil
		}
		if p.gated && !alone { // who meets at the gate on one node does not meet at the broker
			select {
			case m.gating <- struct{}{}:
				defer func() { <-m.gating }() //nolint:revive // once: alone is true from here on
			case <-ctx.Done():
				return Result{}, unavailable("The node is busy with other changes.", ctx.Err())
			}
			alone = true
			continue
		}
		again, err := m.make(ctx, p)
		if err != nil || !again {
			return m.finish(ctx, p, err)
		}
		fresh = false
	}
	return Result{}, unavailable("Too many changes at once.", nil)
}

// orNone is for looking at the kind of an error that may be nil.
func orNone(err error) error {
	if err == nil {
		return problem.Kind("")
	}
	return err
}

// finish answers what was made, with the record as it is now.
func (m *Manager) finish(ctx context.Context, p *plan, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	if rec := p.result.Record; rec != nil {
		if now, e := m.Get(rec.ID()); e == nil && now.UID == rec.UID {
			p.result.Record = now
		}
	}
	for _, api := range p.gone {
		if m.opt.Forget == nil {
			break
		}
		if err := m.opt.Forget(ctx, api); err != nil {
			m.log.Warn("catalog: what is stored of a deleted API was not removed", "api", api.ID(), "error", err)
		}
	}
	m.audit(p)
	return p.result, m.carrySubscriptions(ctx, p)
}

// audit writes who changed what, where the history cannot be edited.
func (m *Manager) audit(p *plan) {
	attrs := []slog.Attr{slog.String("by", p.by.By.Name), slog.Int("changes", len(p.result.Diff))}
	if r := p.result.Record; r != nil {
		attrs = append(attrs, slog.String("api", r.ID()), slog.String("state", string(r.API.Spec.State)), slog.Uint64("rev", r.Rev))
		if len(r.History) > 0 {
			attrs = append(attrs, slog.String("action", r.History[0].Action))
		}
	}
	if p.by.Comment != "" {
		attrs = append(attrs, slog.String("comment", p.by.Comment))
	}
	m.log.LogAttrs(context.Background(), slog.LevelInfo, "catalog.change", attrs...)
}

func (m *Manager) planned(w Write, f decide) (*plan, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p := &plan{seen: m.seen, by: w, now: m.now().UTC(), req: randomHex()}
	if err := f(p); err != nil {
		return nil, err
	}
	if p.gated && len(p.writes) > 0 {
		g := gate{N: p.seen.gate.N + 1, By: w.By.Name, Request: p.req}
		if err := p.write(gateKey, g); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// write adds one value to the batch, if its key is still as it was seen.
func (p *plan) write(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	p.writes = append(p.writes, broker.BucketWrite{Key: key, Value: text, Revision: p.seen.at(key)})
	return nil
}

// remove adds a delete marker.
func (p *plan) remove(key string) {
	p.writes = append(p.writes, broker.BucketWrite{Key: key, Delete: true, Revision: p.seen.at(key)})
}

// make writes the plan; again says that it was made of something old.
func (m *Manager) make(ctx context.Context, p *plan) (again bool, err error) {
	for _, api := range p.needs {
		if m.opt.Prepare == nil {
			break
		}
		err := m.opt.Prepare(ctx, api)
		if errors.Is(err, broker.ErrUnfit) {
			return false, &problem.Error{Kind: InvalidValue, Detail: "This broker cannot give the durability that the API asks for.", Err: err,
				Errors: []problem.Part{{Pointer: "/spec/durability", Type: string(InvalidValue), Reason: "cannot be given by this broker"}}}
		}
		if err != nil {
			return false, unavailable("The stream of the API cannot be made.", err)
		}
	}
	if err := m.dropSubscriptions(ctx, p); err != nil {
		return false, err
	}
	before := m.Rev()
	done := m.await(p.req)
	defer m.forget(p.req)
	bucket := m.open()
	for {
		rev, err := bucket.Batch(ctx, p.writes)
		switch {
		case err == nil:
			if !m.until(ctx, catchUpTime, func(s *seen) bool { return s.rev >= rev }) {
				m.log.Warn("catalog: change made but not seen yet", "rev", rev)
			}
			return false, nil
		case errors.Is(err, broker.ErrConflict):
			m.until(ctx, catchUpTime, func(s *seen) bool { return s.rev > before })
			pause(ctx, 5*time.Millisecond, 50*time.Millisecond)
			return true, nil
		case errors.Is(err, broker.ErrBusy) && ctx.Err() == nil:
			pause(ctx, time.Millisecond, 5*time.Millisecond)
			continue
		case errors.Is(err, broker.ErrUnknownOutcome), errors.Is(err, broker.ErrUnavailable):
			return false, outcome(ctx, done, err)
		case errors.Is(err, broker.ErrTooLarge):
			return false, &problem.Error{Kind: "document-too-large", Detail: "The record is too large to be stored.", Err: err}
		}
		return false, unavailable("", err)
	}
}

// outcome waits for a change whose answer was lost.
func outcome(ctx context.Context, done <-chan struct{}, cause error) error {
	late := time.NewTimer(outcomeTime)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
	case <-ctx.Done():
	}
	return unavailable("The broker did not answer: the change may have been made, or may still be.", errors.Join(ErrUnsure, cause))
}

func unavailable(detail string, cause error) error {
	return &problem.Error{Kind: StoreUnavailable, Detail: detail, RetryAfter: time.Second, Err: cause}
}

// pause waits for a random time.
func pause(ctx context.Context, least, most time.Duration) {
	select {
	case <-time.After(least + randv2.N(most-least)):
	case <-ctx.Done():
	}
}

// writable tells why nothing can be written.
func (m *Manager) writable() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch {
	case m.suspect != "":
		return unavailable("The store lost APIs that nobody deleted; nothing can be changed until it is restored.", errors.New(m.suspect))
	case !m.loaded:
		return unavailable("The store has not been read yet.", nil)
	}
	return nil
}

func (m *Manager) open() broker.Bucket {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.bucket
}

// catchUp waits until this node has seen what the leader says of the gate.
func (m *Manager) catchUp(ctx context.Context) error {
	last, err := m.open().Last(ctx, gateKey)
	if err != nil {
		return unavailable("", err)
	}
	if !m.until(ctx, catchUpTime, func(s *seen) bool { return s.at(gateKey) >= last.Revision }) {
		return unavailable("This node is behind.", nil)
	}
	return nil
}

// until waits until what was seen satisfies ok, at most d.
func (m *Manager) until(ctx context.Context, d time.Duration, ok func(*seen) bool) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	for {
		m.mu.RLock()
		good, moved := ok(m.seen), m.moved
		m.mu.RUnlock()
		if good {
			return true
		}
		select {
		case <-moved:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// await registers a change whose entries will name it.
func (m *Manager) await(req string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := make(chan struct{})
	m.waiting[req] = done
	return done
}

func (m *Manager) forget(req string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, req)
}

func randomHex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
