package load

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxEvents bounds the table that holds one row per published event. Events beyond it are judged, but not timed to the
// last client.
const maxEvents = 1 << 20

// maxTells bounds how many different things a server may tell.
const maxTells = 64

// common is what all books of a run share. Only the fields that are atomic change while clients live.
type common struct {
	countOnly bool  // nothing is judged by number
	own       bool  // the bench is the source: every event must carry its payload
	tag       int64 // of this run's payloads
	topics    int64
	lateAfter int64 // µs
	events    int   // rows of the event table
	seed      maphash.Seed

	counting  atomic.Bool    // listening only: deliveries count now
	countFrom atomic.Int64   // own source: number over all topics from which deliveries count
	firstN    atomic.Int64   // listening only: the first n that anybody saw, +1
	relative  atomic.Int64   // ns: what to add to due times that count from an unknown start
	published []atomic.Int64 // by topic: the newest n
	target    []atomic.Int64 // by topic: a returning client that has this n is back
	returnAt  atomic.Int64   // ns: when all were told to return
}

// eventRow is what one book knows of one event.
type eventRow struct {
	count uint32
	last  uint32 // µs until the last client of this book had it
	id    uint64 // hash of its id; 0 = none yet
}

// book adds up what the clients of one worker see. The worker locks it for a batch of reads; the sampler in between.
type book struct {
	run *common

	mu          sync.Mutex
	now         int64 // ns: when the batch being judged was read
	interval    *hdrhistogram.Histogram
	connects    *hdrhistogram.Histogram // µs from dialling to the head
	resumes     *hdrhistogram.Histogram // µs from the call to return until a client was back
	rows        []eventRow
	counts      [faults]int64
	first       [faults]*Offence
	holes       map[int32][]hole
	tells       map[string]int64
	statuses    map[int]int64
	delivered   int64 // counted events, new to their client
	all         int64 // also those that do not count
	replayed    int64 // of delivered: sent because the client had missed them
	bytes       int64
	comments    int64
	foreign     int64
	unjudged    int64
	toldMissing int64
	toldDoubles int64
	live        int64
	opened      int64 // heads that came
	retries     int64 // streams that said how long to wait
	retryMin    int32
	retryMax    int32
	reconnects  int64
	withoutID   int64 // returned, but had no id to present
	slowCut     int64 // slow readers that the server cut
	dialErrors  int64
	dialError   string // the first
}

func newBook(run *common) *book {
	return &book{run: run, interval: newHist(), connects: newHist(), resumes: newHist(), rows: make([]eventRow, run.events)}
}

// fault counts one case of f and keeps the first.
func (b *book) fault(f Fault, c *client, n int64, what string) {
	if b.counts[f]++; b.first[f] == nil {
		b.first[f] = &Offence{Client: int(c.index), Topic: int(c.topic), N: n, At: time.Unix(0, b.now), What: what}
	}
}

// tell counts something that the server said.
func (b *book) tell(what string) {
	if b.tells == nil {
		b.tells = map[string]int64{}
	}
	if _, known := b.tells[what]; known || len(b.tells) < maxTells {
		b.tells[what]++
	}
}

// arrived times an event that is new to its client.
func (b *book) arrived(c *client, s stamp) {
	b.all++
	if c.returning && s.n >= b.run.target[c.topic].Load() {
		c.returning = false
		record(b.resumes, (b.now-b.run.returnAt.Load())/1000)
	}
	g := b.number(c, s.n)
	if c.slow {
		return
	}
	if g < b.run.countFrom.Load() || !b.run.own && !b.run.counting.Load() {
		return
	}
	b.delivered++
	row := b.row(g)
	if row != nil {
		row.count++
	}
	if s.n <= c.caughtUp {
		b.replayed++ // what it missed while it was away says nothing of the server's speed
		return
	}
	us := (b.now - b.dueNanos(s.t)) / 1000
	record(b.interval, us)
	c.sum += us
	c.count++
	if us > b.run.lateAfter {
		b.fault(Late, c, s.n, time.Duration(us*1000).Round(time.Millisecond).String()+" after it was due")
	}
	if row != nil {
		row.last = max(row.last, uint32(min(max(us, 0), maxLatency)))
	}
}

// number is the place of event n of the client's topic among all events.
func (b *book) number(c *client, n int64) int64 { return (n-1)*b.run.topics + int64(c.topic) }

// row is the row of event g in the table, nil if it has none.
func (b *book) row(g int64) *eventRow {
	if !b.run.own {
		first := b.run.firstN.Load()
		if first == 0 {
			b.run.firstN.CompareAndSwap(0, g+1)
			first = b.run.firstN.Load()
		}
		g -= first - 1
	}
	if g < 0 || g >= int64(len(b.rows)) {
		return nil
	}
	return &b.rows[g]
}

// agree checks that all clients of this book see event n under one id.
func (b *book) agree(c *client, n int64) {
	row := b.row(b.number(c, n))
	if row == nil {
		return
	}
	h := maphash.Bytes(b.run.seed, c.id.bytes()) | 1
	if row.id == 0 {
		row.id = h
	} else if row.id != h {
		b.fault(IDDiffers, c, n, "not under the id that others got")
	}
}

// dueNanos turns what a payload says of its time into ns since 1970. Small values are µs since the start of a market:
// of the day, as the demo's is, or else an unknown one, taken so that the first event seen is on time.
func (b *book) dueNanos(t int64) int64 {
	switch {
	case t > 1e17:
		return t
	case t > 1e14:
		return t * 1000
	}
	add := b.run.relative.Load()
	if add == 0 {
		midnight := b.now - b.now%int64(24*time.Hour)
		if d := b.now - (midnight + t*1000); d < 0 || d > int64(time.Minute) {
			midnight = b.now - t*1000
		}
		b.run.relative.CompareAndSwap(0, midnight)
		add = b.run.relative.Load()
	}
	return add + t*1000
}

// headed takes the head of an answer.
func (b *book) headed(c *client, eventStream bool) {
	if b.statuses == nil {
		b.statuses = map[int]int64{}
	}
	b.statuses[int(c.status)]++
	if c.status != 200 || !eventStream {
		what := "answer is no event stream"
		if c.status != 200 {
			what = "status " + itoa(int64(c.status))
		}
		b.fault(Refused, c, c.last+1, what)
		c.state = atEnd
		return
	}
	b.lives(c)
	b.opened++
	record(b.connects, (b.now-c.dialed)/1000)
}

// lives notes that a connection stands.
func (b *book) lives(c *client) {
	c.live, c.everLive = true, true
	b.live++
}

// comment takes a line that keeps a silent stream alive.
func (b *book) comment(*client) { b.comments++ }

// broken takes bytes that no event stream holds.
func (b *book) broken(c *client, why string) { b.fault(Corrupt, c, c.last+1, why) }

// closed takes the end of a connection: by the server, or because the bench wanted it.
func (b *book) closed(c *client, wanted bool) {
	if c.parser.retry > 0 && c.live {
		if b.retries++; b.retryMin == 0 || c.parser.retry < b.retryMin {
			b.retryMin = c.parser.retry
		}
		b.retryMax = max(b.retryMax, c.parser.retry)
	}
	if c.live {
		b.live--
		switch {
		case wanted:
		case c.slow:
			b.slowCut++
		case !c.ended:
			b.fault(Cut, c, c.last+1, "connection ended")
		}
	}
	c.live, c.ended = false, false
}

// merge adds what from holds to b. Both are at rest. The interval histogram is not touched: the sampler owns it.
func (b *book) merge(from *book) {
	b.connects.Merge(from.connects)
	b.resumes.Merge(from.resumes)
	for i := range b.counts {
		b.counts[i] += from.counts[i]
		if f := from.first[i]; f != nil && (b.first[i] == nil || f.At.Before(b.first[i].At)) {
			b.first[i] = f
		}
	}
	for i, row := range from.rows {
		to := &b.rows[i]
		to.count += row.count
		to.last = max(to.last, row.last)
		if to.id == 0 {
			to.id = row.id
		} else if row.id != 0 && row.id != to.id {
			b.counts[IDDiffers]++
			if b.first[IDDiffers] == nil {
				b.first[IDDiffers] = &Offence{Client: -1, N: int64(i)/b.run.topics + 1, What: "two workers saw different ids"}
			}
		}
	}
	for what, n := range from.tells {
		for range n {
			b.tell(what)
		}
	}
	if b.statuses == nil {
		b.statuses = map[int]int64{}
	}
	for status, n := range from.statuses {
		b.statuses[status] += n
	}
	b.delivered += from.delivered
	b.all += from.all
	b.replayed += from.replayed
	b.bytes += from.bytes
	b.comments += from.comments
	b.foreign += from.foreign
	b.unjudged += from.unjudged
	b.toldMissing += from.toldMissing
	b.toldDoubles += from.toldDoubles
	b.live += from.live
	b.opened += from.opened
	b.retries += from.retries
	if from.retryMin > 0 && (b.retryMin == 0 || from.retryMin < b.retryMin) {
		b.retryMin = from.retryMin
	}
	b.retryMax = max(b.retryMax, from.retryMax)
	b.reconnects += from.reconnects
	b.withoutID += from.withoutID
	b.slowCut += from.slowCut
	b.dialErrors += from.dialErrors
	if b.dialError == "" {
		b.dialError = from.dialError
	}
}

// Fairness is how far apart clients are served, by the order in which they connected.
type Fairness struct {
	// Tenths are mean latencies in ms of the first tenth of clients to connect, the second, and so on.
	Tenths []float64 `json:"tenths_ms"`
	// Spread is the slowest tenth's mean by the fastest's.
	Spread float64 `json:"spread"`
}

// fairness compares clients by tenths of their connect order.
func fairness(clients []*client) Fairness {
	const parts = 10
	var f Fairness
	for part := range parts {
		var sum, count int64
		for _, c := range clients[len(clients)*part/parts : len(clients)*(part+1)/parts] {
			sum += c.sum
			count += c.count
		}
		if count > 0 {
			f.Tenths = append(f.Tenths, float64(sum)/float64(count)/1000)
		}
	}
	if len(f.Tenths) > 1 && slices.Min(f.Tenths) > 0 {
		f.Spread = slices.Max(f.Tenths) / slices.Min(f.Tenths)
	}
	return f
}
