package ingest

import (
	"math/rand/v2"
	"time"

	"sluice/config"
)

// Bounds of the reconnection time an upstream may set.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 60 * time.Second
)

// steadyAfter is the number of failures in a row after which the wait is the longest one, without chance.
const steadyAfter = 10

// backoff is the wait between attempts of one feed: full jitter below base·2ⁿ, never less than half a second from the
// second failure on. Owned by the reader.
type backoff struct {
	cfg  config.UpstreamBackoff
	base time.Duration // from the upstream's retry; 0 = cfg.Base
	n    int           // failures in a row
}

// retry takes the reconnection time an upstream sent.
func (b *backoff) retry(ms uint64) {
	b.base = min(max(time.Duration(min(ms, 1<<40))*time.Millisecond, minRetry), maxRetry)
}

// fine says that the upstream works: the next failure is the first again.
func (b *backoff) fine() { b.n = 0 }

// next counts a failure and returns the wait before the next attempt.
func (b *backoff) next() time.Duration {
	b.n++
	if b.n > steadyAfter {
		return b.longest()
	}
	base := b.base
	if base == 0 {
		base = b.cfg.Base
	}
	limit := min(base<<(b.n-1), b.cfg.Max)
	if limit <= 0 {
		limit = b.cfg.Max
	}
	d := rand.N(limit + 1)
	if b.n >= 2 {
		d = max(d, minRetry)
	}
	return d
}

// longest is the wait after a failure that trying sooner cannot cure.
func (b *backoff) longest() time.Duration { return spread(b.cfg.Max) }

// spread adds up to a fifth, so that feeds that failed together do not come back together.
func spread(d time.Duration) time.Duration { return d + rand.N(d/5+1) }
