package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/edge/quota"
	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/problem"
	"sluice/internal/sse"
)

// Reasons for which a stream ends that its meter ends.
const (
	endQuota            fanout.Reason = "quota"
	endQuotaUnavailable fanout.Reason = "quota-unavailable"
)

// What every application has, whatever its plans.
const appStreams = 10_000

// appConnects lets all streams of an application come back at once, as after the death of an edge, and bounds who comes back again and again.
func appConnects() quota.Rate { return quota.Rate{Events: 100, Per: time.Second, Burst: appStreams} }

// Bounds of a pause at the end of a quota; with more to wait streams end.
const (
	autoPause    = time.Minute
	longestPause = 15 * time.Minute
)

// metering turns plans into seats and meters. A nil one asks nothing and counts nothing.
type metering struct {
	limiter *quota.Limiter

	mu       sync.Mutex // guards supplies, and users of each
	supplies map[string]*supply
}

func newMetering(l *quota.Limiter) *metering {
	if l == nil {
		return nil
	}
	return &metering{limiter: l, supplies: map[string]*supply{}}
}

// supply is where the events of one subscription, or of one application's own plan, come from on this node. It is the Meter of streams
// that need no other.
type supply struct {
	scope  string
	grant  string // id, "" for an application's
	app    string // id
	bucket *quota.Bucket
	gate   fanout.Gate
	plan   atomic.Pointer[access.Plan]
	users  int
}

// stake is what one stream holds of what is shared.
type stake struct {
	pass     *quota.Pass
	supplies []*supply
}

// admit takes a client's connect and seats, and looks whether its quotas have ended: steps 10 and 11 of the ladder. The stake is held
// until leave; meter is nil for who is not metered.
func (m *metering) admit(ctx context.Context, q *request) (st *stake, meter fanout.Meter, err error) {
	if m == nil || q.principal == nil || q.principal.App == "" {
		return nil, nil, nil
	}
	app, plan := q.access.Application(q.principal.App), q.plan
	scope := quota.PerApplication.Scope(q.principal.App)
	want := quota.Want{Connects: scope, Rate: appConnects(), FailOpen: true}
	if plan != nil {
		want.FailOpen = plan.WhenSourceDown != access.FailClosed || !plan.Enforce
	}
	if plan != nil && plan.Enforce {
		want.Seats = append(want.Seats, quota.SeatLimit{Scope: quota.PerSubscription.Scope(q.grant.ID), Limit: plan.Connections.PerSubscription})
		if q.principal.Key != "" {
			want.Seats = append(want.Seats, quota.SeatLimit{Scope: quota.PerKey.Scope(q.principal.Key), Limit: plan.Connections.PerKey})
		}
	}
	want.Seats = append(want.Seats, quota.SeatLimit{Scope: scope, Limit: appStreams})
	st = &stake{}
	if q.deal.grant != "" {
		st.supplies = append(st.supplies, m.open(quota.PerSubscription.Scope(q.grant.ID), q.grant.ID, q.principal.App, plan))
	}
	if q.deal.app {
		st.supplies = append(st.supplies, m.open(scope, "", app.ID, q.access.Plan(app.Plan)))
	}
	for _, s := range st.supplies {
		want.Buckets = append(want.Buckets, s.bucket)
	}
	if st.pass, err = m.limiter.Admit(ctx, want); err != nil {
		m.leave(st)
		if ctx.Err() != nil {
			return nil, nil, errGone
		}
		return nil, nil, st.explain(err)
	}
	return st, meterOf(st.supplies, q.deal.rate), nil
}

// leave gives back what a stream held. A nil stake is none.
func (m *metering) leave(st *stake) {
	if m == nil || st == nil {
		return
	}
	st.pass.Release()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range st.supplies {
		if s.users--; s.users == 0 {
			delete(m.supplies, s.scope)
			s.bucket.Close()
			s.gate.Open() // engines forget it
		}
	}
}

// open returns the supply of a scope, made for its first stream.
func (m *metering) open(scope, grant, app string, plan *access.Plan) *supply {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.supplies[scope]
	if s == nil {
		s = &supply{scope: scope, grant: grant, app: app}
		s.plan.Store(plan)
		s.bucket = m.limiter.Open(scope, s.setup(plan))
		m.supplies[scope] = s
	}
	s.users++
	return s
}

// setup is what a plan says of a bucket. Streams that began metered stay so; without a quota they are counted only. Those that began
// unmetered end when they are to be metered: see deal.
func (s *supply) setup(p *access.Plan) quota.Setup {
	return quota.Setup{
		Limit:     quota.Limit{Events: p.Quota.Events, Every: p.Quota.Every, Unit: quota.Unit(p.Quota.Unit)},
		CountOnly: !p.Enforce || p.Quota.Events <= 0, FailOpen: p.WhenSourceDown != access.FailClosed, Wake: s.gate.Open,
	}
}

// replan gives the supplies in use what their plans say now.
func (m *metering) replan(now func() *access.Snapshot) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	snap := now() // with the lock: an older one never comes later
	for _, s := range m.supplies {
		name := ""
		if g := snap.GrantByID(s.grant); g != nil {
			name = g.Plan
		} else if a := snap.Application(s.app); a != nil && s.grant == "" {
			name = a.Plan
		}
		p := snap.Plan(name)
		if p == nil || *p == *s.plan.Load() {
			continue // whose plan is gone is ended for that
		}
		s.plan.Store(p)
		s.bucket.Change(s.setup(p))
		s.gate.Open() // what happens at the end may be another thing now
	}
}

// Take implements fanout.Meter.
func (s *supply) Take(n int) fanout.Taken {
	t := s.bucket.Take(n)
	return fanout.Taken{Events: t.Events, Epochs: [2]uint32{t.Epoch}, Plenty: t.Plenty}
}

// Give implements fanout.Meter.
func (s *supply) Give(t fanout.Taken, n int) { s.bucket.Give(quota.Taken{Epoch: t.Epochs[0]}, n) }

// Dry implements fanout.Meter: a stream waits if the quota begins anew soon enough, else it ends.
func (s *supply) Dry() fanout.Dry {
	d := fanout.Dry{Gate: &s.gate}
	st := s.bucket.State()
	switch st.Phase {
	case quota.Ended:
		if time.Until(st.Reset) > pauseOf(s.plan.Load()) {
			d.End = endQuota
			d.Last = func(dst []byte) []byte { return s.ended(st).append(dst) }
		}
	case quota.Unavailable:
		d.End = endQuotaUnavailable
		d.Last = func(dst []byte) []byte { return s.ended(st).append(dst) }
	}
	return d
}

// pauseOf is how long streams of a plan wait for the next window.
func pauseOf(p *access.Plan) time.Duration {
	switch p.OnQuotaEnd {
	case access.QuotaClose:
		return -1
	case access.QuotaPause:
		return longestPause
	}
	return autoPause
}

// tap is the meter of one stream that takes from several supplies, or whose pace its plan limits. It belongs to one goroutine at a time.
type tap struct {
	supplies []*supply // at most two
	shaper   *quota.Shaper
	dry      *supply   // that had nothing
	again    time.Time // when the pace allows one more
}

// meterOf is the meter of a stream, nil if nothing limits it.
func meterOf(supplies []*supply, rate access.Rate) fanout.Meter {
	t := &tap{supplies: supplies}
	if rate != (access.Rate{}) {
		t.shaper = &quota.Shaper{Rate: quota.Rate{Events: rate.Events, Per: rate.Per}}
	}
	switch {
	case t.shaper == nil && len(supplies) == 0:
		return nil
	case t.shaper == nil && len(supplies) == 1:
		return supplies[0]
	}
	return t
}

// Take implements fanout.Meter.
func (t *tap) Take(n int) fanout.Taken {
	t.dry, t.again = nil, time.Time{}
	if t.shaper != nil {
		var again time.Time
		if n, again = t.shaper.Take(time.Now(), n); n == 0 {
			t.again = again
			return fanout.Taken{}
		}
	}
	got := fanout.Taken{Events: n}
	shaped := n
	for i, s := range t.supplies {
		part := s.bucket.Take(got.Events)
		got.Epochs[i] = part.Epoch
		if more := got.Events - part.Events; more > 0 {
			for k := range i {
				t.supplies[k].bucket.Give(quota.Taken{Epoch: got.Epochs[k]}, more)
			}
			got.Events = part.Events
		}
		if got.Events == 0 {
			t.dry = s
			break
		}
	}
	if t.shaper != nil {
		t.shaper.Give(shaped - got.Events)
	}
	return got
}

// Give implements fanout.Meter.
func (t *tap) Give(taken fanout.Taken, n int) {
	for i, s := range t.supplies {
		s.bucket.Give(quota.Taken{Epoch: taken.Epochs[i]}, n)
	}
	if t.shaper != nil {
		t.shaper.Give(n)
	}
}

// Dry implements fanout.Meter.
func (t *tap) Dry() fanout.Dry {
	if t.dry == nil {
		return fanout.Dry{At: t.again}
	}
	return t.dry.Dry()
}

// throttled is what a client is told at the end of a quota.
type throttled struct {
	reason fanout.Reason
	plan   string
	limit  quota.Limit
	reset  time.Time // zero = not known
}

func (s *supply) ended(st quota.State) throttled {
	t := throttled{reason: endQuota, plan: s.plan.Load().Name, limit: st.Limit, reset: st.Reset}
	if st.Phase == quota.Unavailable {
		t.reason = endQuotaUnavailable
	}
	return t
}

// Error makes a throttled the cause of a refusal, so that a shed one is told the same.
func (t throttled) Error() string { return "plan " + t.plan }

// explain adds to a refusal which quota it was that ended.
func (st *stake) explain(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) || p.Kind != problem.QuotaExceeded {
		return err
	}
	for _, s := range st.supplies {
		if state := s.bucket.State(); state.Phase == quota.Ended {
			p.Err = s.ended(state)
			break
		}
	}
	return p
}

// longestRetry is what browsers' timers can hold at ease: 31 bits of milliseconds end after 24 days.
const longestRetry = 24 * time.Hour

// retryIn is how long a client is to stay away: until the reset and up to a twentieth more, so that not all come at once.
func (t throttled) retryIn() time.Duration {
	if t.reset.IsZero() {
		return time.Duration(shedSpan().draw()) * time.Millisecond
	}
	left := max(time.Until(t.reset), time.Millisecond)
	return min(left+rand.N(min(left/20, time.Minute)+time.Millisecond), longestRetry)
}

// append appends "retry:" and one gateway.throttled.
func (t throttled) append(dst []byte) []byte {
	ms := uint64(t.retryIn().Milliseconds()) + 1
	data := fmt.Appendf(nil, `{"reason":%q,"plan":%q,"limit":%d,"unit":%q`, t.reason, t.plan, t.limit.Events, t.limit.Unit)
	if t.limit.Every > 1 {
		data = fmt.Appendf(data, `,"every":%d`, t.limit.Every)
	}
	if !t.reset.IsZero() {
		data = t.reset.Add(time.Millisecond-1).UTC().AppendFormat(append(data, `,"resetAt":"`...), "2006-01-02T15:04:05.000Z")
		data = append(data, '"')
	}
	data = append(strconv.AppendUint(append(data, `,"retryAfterMs":`...), ms, 10), '}')
	return sse.AppendControl(sse.AppendRetry(dst, ms), "gateway.throttled", data, "")
}
