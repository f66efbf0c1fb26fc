package auth

import (
	"sync"
	"time"

	"sluice/internal/problem"
)

// Wrong attempts that are taken within a minute.
const (
	wrongPerAccount = 10 // and address
	wrongPerAddress = 60
	mostCounters    = 65_536
)

// throttle counts wrong credentials, by account and address and by address alone, in windows of a minute. Safe for concurrent use.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex // guards wrong
	wrong map[attempt]window
}

// attempt is who tried what; account "" counts for the address alone.
type attempt struct{ account, address string }

type window struct {
	count int
	ends  time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, wrong: map[attempt]window{}}
}

// allow tells whether another attempt is looked at; the error says when to come back. account is "" for a token.
func (t *throttle) allow(account, address string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.room(attempt{"", address}, wrongPerAddress); err != nil || account == "" {
		return err
	}
	return t.room(attempt{account, address}, wrongPerAccount)
}

// room tells whether k may be wrong once more; mu is held.
func (t *throttle) room(k attempt, most int) error {
	w, seen := t.wrong[k]
	now := t.now()
	if w.ends.After(now) && w.count >= most {
		return tooMany(w.ends.Sub(now))
	}
	if !seen && len(t.wrong) >= mostCounters && !t.forget(now) {
		return tooMany(time.Minute)
	}
	return nil
}

func tooMany(wait time.Duration) error {
	return &problem.Error{Kind: problem.TooManyAttempts, Detail: "Too many wrong passwords or tokens.", RetryAfter: wait}
}

// forget drops windows that are over and tells whether there is room again; mu is held.
func (t *throttle) forget(now time.Time) bool {
	for k, w := range t.wrong {
		if !w.ends.After(now) {
			delete(t.wrong, k)
		}
	}
	return len(t.wrong) < mostCounters
}

// failed counts one wrong attempt.
func (t *throttle) failed(account, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(attempt{"", address})
	if account != "" {
		t.count(attempt{account, address})
	}
}

func (t *throttle) count(k attempt) {
	w, now := t.wrong[k], t.now()
	if !w.ends.After(now) {
		w = window{ends: now.Add(time.Minute)}
	}
	w.count++
	t.wrong[k] = w
}
