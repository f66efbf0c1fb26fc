package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// SubjectRevisions is where control tells the newest revision of each bucket that nodes follow, every RevisionsEvery.
const (
	SubjectRevisions = "ctl.rev"
	RevisionsEvery   = time.Second
)

// lagAllowed is how long a follower may lack what a beacon told of before it reads all anew.
const lagAllowed = 2 * time.Second

// revisions is the body of a beacon.
type revisions struct {
	V    int               `json:"v"` // 1
	Node string            `json:"node"`
	Rev  map[string]uint64 `json:"rev"` // by bucket
}

// TellRevisions tells all nodes the newest revisions of buckets, as the broker's leader has them, until ctx ends. A bucket that cannot be
// asked is left out: nobody is found up to date by what is not known. Only the control role calls it.
func TellRevisions(ctx context.Context, bus Bus, node string, buckets map[string]Bucket) error {
	tick := time.NewTicker(RevisionsEvery)
	defer tick.Stop()
	for {
		r := revisions{V: 1, Node: node, Rev: map[string]uint64{}}
		for name, b := range buckets {
			if rev, err := b.Newest(ctx); err == nil {
				r.Rev[name] = rev
			}
		}
		if text, err := json.Marshal(r); err == nil && len(r.Rev) > 0 {
			_ = bus.Publish(SubjectRevisions, text) //nolint:errcheck // the next one comes in a second
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// HearRevisions gives what beacons tell to lags, by bucket, until ctx ends. A beacon that cannot be read is none.
func HearRevisions(ctx context.Context, bus Bus, lags map[string]*Lag) error {
	hear := func(_ string, body []byte, _ func([]byte) error) {
		r, err := readRevisions(body)
		if err != nil {
			return
		}
		for name, l := range lags {
			if rev, told := r.Rev[name]; told {
				l.heard(rev)
			}
		}
	}
	for {
		stop, err := bus.Subscribe(SubjectRevisions, hear)
		if err == nil {
			<-ctx.Done()
			stop()
			return ctx.Err()
		}
		select {
		case <-time.After(RevisionsEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func readRevisions(body []byte) (revisions, error) {
	var r revisions
	if len(body) > maxBeaconBytes {
		return r, fmt.Errorf("revisions of %d bytes: %w", len(body), ErrForeign)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("revisions: %w: %w", ErrForeign, err)
	}
	if r.V != 1 {
		return r, fmt.Errorf("revisions: %w: version %d", ErrForeign, r.V)
	}
	return r, nil
}

// Lag judges by beacons whether a watch of one bucket keeps up: a watch may go silent without an error. Make it with NewLag; safe for
// concurrent use.
type Lag struct {
	now    func() time.Time
	behind chan struct{} // capacity 1

	mu      sync.Mutex
	applied uint64    // the newest revision that the follower has
	want    uint64    // what a beacon told and the follower lacked; 0 = nothing
	since   time.Time // when it told so
	fresh   time.Time
	timer   *time.Timer // set while want is
}

// NewLag returns a Lag of a follower that has nothing yet.
func NewLag(now func() time.Time) *Lag { return &Lag{now: now, behind: make(chan struct{}, 1)} }

// Applied notes that the follower has all up to rev: of an entry that the watch brought, or of Bucket.Newest as it was before all was
// read anew.
func (l *Lag) Applied(rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = max(l.applied, rev)
	if l.want > 0 && l.applied >= l.want {
		l.caughtUp(l.since)
	}
}

// Behind yields when the follower has lacked something for 2 s, and again until it has it: all must be read anew.
func (l *Lag) Behind() <-chan struct{} { return l.behind }

// Fresh is the time of the last beacon that found the follower up to date; zero if there was none.
func (l *Lag) Fresh() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh
}

func (l *Lag) heard(rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch now := l.now(); {
	case rev <= l.applied:
		l.caughtUp(now)
	case l.want == 0:
		l.want, l.since = rev, now
		l.timer = time.AfterFunc(lagAllowed, l.late)
	}
}

// caughtUp notes that nothing is lacked that was told at t; mu is held.
func (l *Lag) caughtUp(t time.Time) {
	if l.want > 0 {
		l.timer.Stop()
		l.want = 0
	}
	if t.After(l.fresh) {
		l.fresh = t
	}
}

func (l *Lag) late() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.want == 0 {
		return // caught up at this very moment
	}
	l.want = 0 // told again by the next beacon
	select {
	case l.behind <- struct{}{}:
	default:
	}
}
