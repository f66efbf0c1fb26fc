package edge

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/problem"
)

// Bounds of admission that are no settings.
const (
	joinWait   = 5 * time.Second // longest wait for a turn before the head
	vainTries  = 60              // credentials that do not count, of one address per minute
	idleIPs    = 65_536          // addresses remembered without an open stream
	memoryFull = 0.80            // of the process's limit: joins are refused
	memoryOver = 0.95            // of it: who lags most is cut,
	cutShare   = 0.01            // of the open streams so many at most per second
)

// errGone says that the client left before it was answered: nothing is written.
var errGone = errors.New("client left")

// admission holds the node's limits. New is refused, old is never evicted. Safe for
// concurrent use.
type admission struct {
	perIP  config.EdgePerIP
	most   int // streams of this node
	joins  *rate.Limiter
	now    func() time.Time
	memory atomic.Bool // over the threshold; set by whoever watches memory

	mu    sync.Mutex // guards what follows
	total int
	ips   map[netip.Addr]*ipState // by address, IPv6 by /64
	apis  map[apiKey]*apiSeats
}

// ipState is what one client address holds and how fast it connects.
type ipState struct {
	streams int
	tokens  float64
	at      time.Time // of tokens
	vain    float64   // credentials that did not count, less those forgiven since
	vainAt  time.Time // of vain
}

// apiKey names an API version.
type apiKey struct{ name, version string }

// apiSeats counts an API's open streams.
type apiSeats struct {
	key  apiKey
	open int
}

// seat is one place taken. Whoever closes the socket gives it back, once.
type seat struct {
	ip  netip.Addr // zero = exempt
	api *apiSeats  // nil = not taken
}

func newAdmission(c config.Edge, now func() time.Time) *admission {
	most := c.MaxConnections
	if most <= 0 {
		most = defaultConnections()
	}
	perSecond := c.JoinRate
	if perSecond <= 0 {
		perSecond = 2000
	}
	return &admission{
		perIP: c.PerIP, most: most, now: now,
		// Two seconds' worth at once: a burst is what reconnects look like.
		joins: rate.NewLimiter(rate.Limit(perSecond), 2*perSecond),
		ips:   map[netip.Addr]*ipState{},
		apis:  map[apiKey]*apiSeats{},
	}
}

// defaultConnections is min(100,000, 0.9 × (NOFILE − 512)).
func defaultConnections() int {
	most := 100_000
	if n := fileLimit(); n > 0 {
		most = min(most, max(n-512, 64)*9/10)
	}
	return most
}

// ipKey is what an address counts as; the zero Addr is exempt.
func ipKey(ip netip.Addr) netip.Addr {
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Addr{}
	}
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter takes a place on the node and for the address, or refuses. Each call counts
// as one connect of the address, also when it is refused.
func (a *admission) enter(ip netip.Addr) (seat, error) {
	key := ipKey(ip)
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if key.IsValid() {
		if bad := a.enterIP(key, now); bad != nil {
			return seat{}, bad
		}
	}
	if a.total >= a.most || a.memory.Load() {
		a.leaveIP(key)
		return seat{}, refuse(problem.Overloaded, "This node is full.")
	}
	a.total++
	return seat{ip: key}, nil
}

// enterIP counts a connect and a stream of one address. a.mu is held.
func (a *admission) enterIP(key netip.Addr, now time.Time) error {
	st := a.ips[key]
	if st == nil {
		a.forgetIdle(now)
		st = &ipState{tokens: float64(a.perIP.Burst), at: now}
		a.ips[key] = st
	}
	if a.perIP.Connects > 0 {
		st.refill(a.perIP, now)
		if st.tokens < 1 {
			return refuse(problem.TooManyConnections, "This address connects too often.")
		}
		st.tokens--
	}
	if a.perIP.Streams > 0 && st.streams >= a.perIP.Streams {
		return refuse(problem.TooManyConnections, "This address holds too many streams.")
	}
	st.streams++
	return nil
}

func (st *ipState) refill(c config.EdgePerIP, now time.Time) {
	gained := now.Sub(st.at).Seconds() * float64(c.Connects)
	st.tokens = math.Min(st.tokens+math.Max(gained, 0), float64(max(c.Burst, 1)))
	st.at = now
}

// mayTry tells whether a credential of the address is looked at: not after too many of
// them did not count.
func (a *admission) mayTry(ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.ips[ipKey(ip)]
	return st == nil || st.forgive(a.now()) <= vainTries-1
}

// triedInVain counts a credential of the address that did not count.
func (a *admission) triedInVain(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if st := a.ips[ipKey(ip)]; st != nil {
		st.vain = st.forgive(a.now()) + 1
	}
}

// forgive is how many tries in vain count at now: one a second is forgiven.
func (st *ipState) forgive(now time.Time) float64 {
	gone := max(now.Sub(st.vainAt).Seconds(), 0) * vainTries / 60
	st.vain, st.vainAt = max(st.vain-gone, 0), now
	return st.vain
}

// forgetIdle keeps the table bounded: addresses without a stream go, first those
// whose bucket is full again. a.mu is held.
func (a *admission) forgetIdle(now time.Time) {
	if len(a.ips) < idleIPs+a.total {
		return
	}
	spare := len(a.ips) / 2
	for k, st := range a.ips {
		st.refill(a.perIP, now)
		if st.streams == 0 && (st.tokens >= float64(a.perIP.Burst) || spare > 0) {
			delete(a.ips, k)
			spare--
		}
	}
}

// enterAPI takes a place of the API too.
func (a *admission) enterAPI(s *seat, api *catalog.API) error {
	key := apiKey{api.Name(), api.Version()}
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.apis[key]
	if held == nil {
		held = &apiSeats{key: key}
		a.apis[key] = held
	}
	if most := api.Spec.Limits.MaxClients; most > 0 && held.open >= most {
		return refuse(problem.Overloaded, "This API has no room on this node.")
	}
	held.open++
	s.api = held
	return nil
}

// leave gives a seat back.
func (a *admission) leave(s seat) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	a.leaveIP(s.ip)
	if s.api == nil {
		return
	}
	if s.api.open--; s.api.open == 0 {
		delete(a.apis, s.api.key)
	}
}

func (a *admission) leaveIP(key netip.Addr) {
	if st := a.ips[key]; st != nil {
		st.streams--
	}
}

// open is how many seats are taken.
func (a *admission) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// waitTurn spreads joins: it returns when this one's turn has come, at most
// joinWait later, or refuses at once when the queue is longer than that.
func (a *admission) waitTurn(ctx context.Context) (time.Duration, error) {
	now := a.now()
	r := a.joins.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	switch {
	case wait <= 0:
		return 0, nil
	case wait > joinWait:
		r.CancelAt(now)
		return 0, refuse(problem.Overloaded, "Too many clients connect at once.")
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return wait, nil
	case <-ctx.Done():
		return wait, errGone
	}
}
