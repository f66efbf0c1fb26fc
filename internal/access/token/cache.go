package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Bounds of what was verified.
const (
	mostVerified = 65_536
	verifiedFor  = 5 * time.Minute
)

// cache remembers verified tokens by their SHA-256, in two halves: the older one is dropped when the newer one is full or old, so that
// nothing needs to be searched for what has ended.
type cache struct {
	mu    sync.Mutex
	newer map[[sha256.Size]byte]*verified // guarded by mu
	older map[[sha256.Size]byte]*verified // guarded by mu
	since time.Time                       // guarded by mu: when newer was begun
}

// get returns what was verified, if that still counts at now.
func (c *cache) get(sum [sha256.Size]byte, now time.Time) *verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.newer[sum]
	if e == nil {
		e = c.older[sum]
	}
	if e == nil || !now.Before(e.until) || now.Before(e.since) || e.issuer.generation() != e.generation {
		return nil
	}
	return e
}

func (c *cache) add(sum [sha256.Size]byte, e *verified, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newer == nil || len(c.newer) >= mostVerified/2 || now.Sub(c.since) >= verifiedFor {
		c.older, c.newer, c.since = c.newer, map[[sha256.Size]byte]*verified{}, now
	}
	c.newer[sum] = e
}

func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.newer) + len(c.older)
}

func sumOf(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }
