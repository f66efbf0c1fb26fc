package edge

import (
	"encoding/hex"
	"net/netip"
	"sync"
	"time"
	"unique"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/broker"
)

// record is what is kept of one open stream: what its access line and its seat need.
// There is one per client and it is most of what a client costs beside its slot in an
// engine, so it owns no other object: texts are interned or packed.
type record struct {
	place  *place // nil = free slot
	hold   fanout.Hold
	api    *apiSeats
	right  *right // nil = none was needed
	stake  *stake // nil = nothing shared is held
	from   unique.Handle[sender]
	opened int64 // ns since 1970
	remote packedAddr
	client packedAddr
	id     [10]byte // request id, unless flagForeignID
	port   uint16   // of remote
	flags  flags
	start  startKind
	resume resumeResult
	proto  protocol
}

// sender is what many clients have in common.
type sender struct{ origin, agent string }

// seat is what the stream holds of the node.
func (r *record) seat() seat { return seat{ip: ipKey(r.client.addr()), api: r.api} }

// packedAddr is an address in as many bytes as it has: without zone, IPv4 mapped into
// IPv6. All zeros, which no client can have, stand for no address.
type packedAddr [16]byte

func packAddr(a netip.Addr) packedAddr {
	if !a.IsValid() {
		return packedAddr{}
	}
	return a.As16()
}

func (p packedAddr) addr() netip.Addr {
	if p == (packedAddr{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(p).Unmap()
}

// packID packs a request id of our own form; false for one that a proxy gave.
func packID(id string) (packed [10]byte, ok bool) {
	if len(id) != hex.EncodedLen(len(packed)) {
		return packed, false
	}
	_, err := hex.Decode(packed[:], []byte(id))
	return packed, err == nil && hex.EncodeToString(packed[:]) == id
}

// flags of a record.
type flags uint8

const (
	flagTLS flags = 1 << iota // by the client's own side
	flagListenerTLS
	flagShard // its socket belongs to a shard
	flagToldGap
	flagForeignID // its request id is in metaTable.foreign
)

// listener is the name of the listener that a connection came by.
func (f flags) listener() string {
	if f&flagListenerTLS != 0 {
		return "edge-https"
	}
	return "edge-http"
}

// protocol is how the response travels.
type protocol uint8

const (
	protoHTTP10 protocol = iota
	protoHTTP11
	protoHTTP2
)

// String is the name in logs and metrics.
func (p protocol) String() string { return [...]string{"HTTP/1.0", "HTTP/1.1", "HTTP/2"}[p] }

// version is the name without "HTTP/".
func (p protocol) version() string { return p.String()[len("HTTP/"):] }

// place is one feed as clients reach it; all its connections share it. Immutable
// but for refs.
type place struct {
	key   placeKey
	api   *catalog.API // as of the first connection: for names only
	refs  int          // guarded by metaTable.mu
	route catalog.Route
}

// placeKey makes connections of one feed, topic and spelling share a place.
type placeKey struct {
	feed  broker.FeedID
	topic string
	byDef bool // reached without a version
}

// ended is one stream's end as an engine reported it.
type ended struct {
	meta uint32
	end  fanout.End
}

// metaTable holds the records of open streams by number. Numbers are reused after
// their end has been processed. Bounded by the node's seats. Safe for concurrent use.
type metaTable struct {
	mu     sync.Mutex // guards all below
	blocks []*[metaBlock]record
	free   []uint32
	next   uint32 // numbers below it were used before
	places map[placeKey]*place
	rights map[rightKey]*right
	// soonest is when the warden will look at rights next; zero = not planned. early wakes it before.
	soonest time.Time
	early   chan struct{}
	// foreign has the request ids that proxies gave, by number.
	foreign map[uint32]string
	ends    []ended // reported, not yet processed; never more than there are records
	signal  chan struct{}
}

// metaBlock is how many records are allocated at once: 13 pages, so that none is
// wasted. Blocks never move.
const metaBlock = 1024

func newMetaTable() *metaTable {
	return &metaTable{places: map[placeKey]*place{}, rights: map[rightKey]*right{}, foreign: map[uint32]string{},
		signal: make(chan struct{}, 1), early: make(chan struct{}, 1)}
}

// addRight gives r its right: that which holder has at the place already, else made. t.mu is held.
func (t *metaTable) addRight(r *record, holder [16]byte, made *right) {
	k := rightKey{holder, r.place}
	have := t.rights[k]
	if have == nil {
		have = made
		have.key, have.place = k, r.place
		t.rights[k] = have
		if !have.due.IsZero() && (t.soonest.IsZero() || have.due.Before(t.soonest)) {
			t.soonest = have.due
			select {
			case t.early <- struct{}{}:
			default:
			}
		}
	}
	have.refs++
	r.right = have
}

// add stores r with its request id, finds or makes its place for route, and returns its
// number. r.right, if set, is what holder has there unless it has one already.
func (t *metaTable) add(r record, id string, key placeKey, route catalog.Route, holder [16]byte) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.places[key]
	if p == nil {
		p = &place{key: key, api: route.API, route: route}
		t.places[key] = p
	}
	p.refs++
	r.place = p
	if r.right != nil {
		t.addRight(&r, holder, r.right)
	}
	var n uint32
	if last := len(t.free) - 1; last >= 0 {
		n = t.free[last]
		t.free = t.free[:last]
	} else {
		n = t.next
		t.next++
		if int(n/metaBlock) == len(t.blocks) {
			t.blocks = append(t.blocks, new([metaBlock]record))
		}
	}
	packed, own := packID(id)
	if r.id = packed; !own {
		r.flags |= flagForeignID
		t.foreign[n] = id
	}
	t.blocks[n/metaBlock][n%metaBlock] = r
	return n
}

// take removes a record and returns it with its request id; ok is false for a number
// not in use.
func (t *metaTable) take(n uint32) (r record, id string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= t.next {
		return record{}, "", false
	}
	at := &t.blocks[n/metaBlock][n%metaBlock]
	if r = *at; r.place == nil {
		return record{}, "", false
	}
	if r.flags&flagForeignID != 0 {
		id = t.foreign[n]
		delete(t.foreign, n)
	} else {
		id = hex.EncodeToString(r.id[:])
	}
	*at = record{}
	t.free = append(t.free, n)
	if r.right != nil {
		if r.right.refs--; r.right.refs == 0 {
			delete(t.rights, r.right.key)
		}
	}
	if r.place.refs--; r.place.refs == 0 {
		delete(t.places, r.place.key)
	}
	return r, id, true
}

// report queues an end for the closer. Never blocks; engines call it.
func (t *metaTable) report(e ended) {
	t.mu.Lock()
	t.ends = append(t.ends, e)
	t.mu.Unlock()
	select {
	case t.signal <- struct{}{}:
	default:
	}
}

// drainEnds moves the queued ends into buf.
func (t *metaTable) drainEnds(buf []ended) []ended {
	t.mu.Lock()
	defer t.mu.Unlock()
	buf = append(buf[:0], t.ends...)
	t.ends = t.ends[:0]
	if cap(t.ends) > 4096 {
		t.ends = nil
	}
	return buf
}

// open is how many records are in use.
func (t *metaTable) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.next) - len(t.free)
}

// inUse returns the places that have connections now.
func (t *metaTable) inUse() []*place {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*place, 0, len(t.places))
	for _, p := range t.places {
		list = append(list, p)
	}
	return list
}
