package edge

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"sluice/fanout"
	"sluice/internal/access"
	"sluice/internal/sse"
)

// Times of a credential's end.
const (
	reauthAhead = 10 * time.Second // the client is told that it ends
	mostEarly   = 5 * time.Second  // streams end so much earlier at most, so that not all end at once
	earlyShare  = 20               // and by so small a part of the time that was left when the first one came
)

// right is by what streams may be read: one credential at one place, shared by all its streams. Immutable but for what is marked.
type right struct {
	key   rightKey
	p     *access.Principal
	place *place
	deal  deal          // by which its streams began
	early time.Duration // the credential ends so much before its time
	refs  int32         // guarded by metaTable.mu
	told  bool          // guarded by metaTable.mu: gateway.reauth was sent
	due   time.Time     // guarded by metaTable.mu: when it must be judged again; zero = when something changes
}

// rightKey makes streams of one credential, subscription, deal and place share a right.
type rightKey struct {
	holder [16]byte
	place  *place
}

// holderOf tells credentials apart that may differ in what they may read or when they end, or by what deal they read.
func holderOf(p *access.Principal, g *access.Grant, d deal) (id [16]byte) {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, s := range []string{p.Kind.String(), p.App, p.Issuer, p.Subject, p.TokenID, p.Key, p.Bound.API, p.Bound.Version, p.Bound.Topic,
		strconv.FormatBool(p.Bound.Try), strconv.FormatInt(p.Issued.UnixNano(), 36), strconv.FormatInt(p.Expires.UnixNano(), 36)} {
		text(s)
	}
	for _, s := range p.Scopes {
		text(s)
	}
	if g != nil {
		text("grant")
		text(g.ID)
	}
	if d != (deal{}) {
		text("deal")
		text(d.grant)
		text(strconv.FormatBool(d.app))
		for _, n := range []int64{int64(d.rate.Events), int64(d.rate.Per), int64(d.longest)} {
			text(strconv.FormatInt(n, 36))
		}
	}
	copy(id[:], h.Sum(nil))
	return id
}

// newRight makes the right of a client that was let in by x.
func newRight(x ask, d deal) *right {
	r := &right{p: x.p, deal: d}
	if at := x.expires(); !at.IsZero() {
		left := at.Sub(x.now)
		r.told = left <= reauthAhead // with its first bytes
		if most := min(mostEarly, left/earlyShare); most > 0 {
			r.early = rand.N(most)
		}
	}
	r.due = r.next(x)
	return r
}

// next is when the right must be judged again though nothing changes; zero = never.
func (r *right) next(x ask) time.Time {
	var due time.Time
	sooner := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	if at := x.expires(); !at.IsZero() {
		sooner(at.Add(-r.early))
		if !r.told {
			sooner(at.Add(-reauthAhead))
		}
	}
	if g := x.grant(); g != nil && !g.Expires.IsZero() {
		sooner(g.Expires)
	}
	return due
}

// principalName names a principal in the access log: its kind and what it is known by.
func principalName(p *access.Principal) string {
	name := p.Subject
	switch {
	case p.Key != "":
		name = p.Key
	case name == "":
		name = p.TokenID
	}
	return p.Kind.String() + ":" + clip(name)
}

// appendReauth appends the event that tells when a credential ends.
func appendReauth(dst []byte, at, now time.Time) []byte {
	data := at.UTC().AppendFormat([]byte(`{"expiresAt":"`), time.RFC3339)
	data = strconv.AppendInt(append(data, `","inMs":`...), max(at.Sub(now).Milliseconds(), 0), 10)
	return sse.AppendControl(dst, "gateway.reauth", append(data, '}'), "")
}

// doom is why a stream ends. The number of a record is used again, so it says of which stream.
type doom struct {
	right  *right
	opened int64
	why    fanout.Reason
}

// find asks about every stream that has a right, and returns those with an answer. may is called with the lock held: it must be cheap.
func (t *metaTable) find(may func(r *record) fanout.Reason) map[uint32]doom {
	found := map[uint32]doom{}
	for block := 0; ; block++ {
		if !t.findIn(block, may, found) {
			return found
		}
	}
}

// findIn asks about the records of one block, so that others are not kept waiting for all. It reports whether there is one.
func (t *metaTable) findIn(block int, may func(r *record) fanout.Reason, found map[uint32]doom) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if block >= len(t.blocks) {
		return false
	}
	for i := range t.blocks[block] {
		r := &t.blocks[block][i]
		if r.place == nil || r.right == nil {
			continue
		}
		if why := may(r); why != "" {
			found[uint32(block*metaBlock+i)] = doom{r.right, r.opened, why}
		}
	}
	return true
}

// still tells whether a record is still that of the stream that was found.
func (t *metaTable) still(n uint32, d doom) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= t.next {
		return false
	}
	r := &t.blocks[n/metaBlock][n%metaBlock]
	return r.place != nil && r.right == d.right && r.opened == d.opened
}

// rightsInUse returns the rights that streams have now, all or those that are due.
func (t *metaTable) rightsInUse(due func(at time.Time) bool) []*right {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*right
	for _, r := range t.rights {
		if due == nil || due(r.due) {
			list = append(list, r)
		}
	}
	return list
}

// judged notes when a right is due next, and whether its clients were told that it ends.
func (t *metaTable) judged(r *right, told bool, next func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.told = r.told || told
	r.due = next()
}

// planDue plans the next look at rights: when the first is due, but not before earliest. Zero = none is due.
func (t *metaTable) planDue(earliest time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.soonest = time.Time{}
	for _, r := range t.rights {
		if !r.due.IsZero() && (t.soonest.IsZero() || r.due.Before(t.soonest)) {
			t.soonest = r.due
		}
	}
	if !t.soonest.IsZero() && t.soonest.Before(earliest) {
		t.soonest = earliest
	}
	return t.soonest
}

// holder is what decides about one stream.
type holder struct {
	place  *place // nil = there is no such stream
	right  *right // nil = it has none
	flags  flags
	ip     netip.Addr
	origin string
}

// holderAt returns what decides about a stream by its number.
func (t *metaTable) holderAt(n uint32) holder {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= t.next {
		return holder{}
	}
	return t.blocks[n/metaBlock][n%metaBlock].holder()
}

func (r *record) holder() holder {
	if r.place == nil {
		return holder{}
	}
	return holder{r.place, r.right, r.flags, r.client.addr(), r.from.Value().origin}
}
