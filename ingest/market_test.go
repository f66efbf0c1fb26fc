package ingest

import (
	"math/rand/v2"
	"testing"
	"time"

	"sluice/internal/broker"
	market "sluice/test/feed"
)

// numbers are those of the stored events of the seeded market, with 0 for a marker. Payloads are compared byte for byte.
func (r *rig) numbers(tape *market.Tape, f broker.FeedID) []uint64 {
	r.t.Helper()
	var out []uint64
	for _, m := range r.stored(f) {
		if m.Gap {
			out = append(out, 0)
			continue
		}
		data := m.Body[len("data: ") : len(m.Body)-1]
		_, n, ok := market.Identify(data)
		if !ok || string(data) != string(tape.Append(nil, "/ticks", n)) {
			r.t.Fatalf("stored %q is no event of the market", m.Body)
		}
		out = append(out, n)
	}
	return out
}

// Against the seeded market, cut again and again in the middle of things: an upstream that resumes costs nothing; one that
// does not costs what it lost, and a marker stands where that was.
func TestMarketThatIsCut(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      market.Options
		proven bool
	}{
		{"numbers", market.Options{}, true},
		{"opaque ids", market.Options{IDs: market.IDOpaque}, true},
		{"replays too much", market.Options{Overlap: 40}, true},
		{"ignores what is presented", market.Options{Resume: market.ResumeIgnore}, false},
		{"no ids", market.Options{IDs: market.IDNone}, false},
		{"one constant id", market.Options{IDs: market.IDSame}, false},
		{"ids too long", market.Options{IDs: market.IDLong}, false},
		{"ids with NUL", market.Options{IDs: market.IDNul}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			const seed, cuts = 7, 12
			r := newRig(t)
			r.cfg.Upstream.Backoff.Reset = time.Millisecond // each cut is the first failure
			c.o.Rate = 1000
			m := market.New(seed, c.o)
			t.Cleanup(m.Close)
			r.up.set(m.ServeHTTP)
			r.define("  topics:\n    - {name: /ticks, security: none, backend: /stream/ticks}\n")
			r.run()
			for i := range cuts {
				before := r.status("/ticks").Events
				r.until("events between cuts", func() bool { return r.status("/ticks").Events > before+20 })
				opens := r.status("/ticks").Opens
				kind := []market.Kind{market.FIN, market.RST, market.EOFInside}[i%3]
				m.Inject(market.Fault{Kind: kind, Feed: "/ticks", Byte: 1 + rand.IntN(60)})
				r.until("connected again", func() bool { return r.status("/ticks").Opens > opens })
			}
			last := r.status("/ticks").Events
			r.until("events after the last cut", func() bool { return r.status("/ticks").Events > last+20 })
			r.stop()
			prev, marked, markers := uint64(0), true, 0
			for i, n := range r.numbers(m.Tape(), feedOf("/ticks")) {
				switch {
				case n == 0 && marked && i > 0:
					t.Fatalf("two markers in a row at %d", i)
				case n == 0:
					marked = true
					markers++
					continue
				case n <= prev:
					t.Fatalf("event %d after %d", n, prev)
				case n != prev+1 && !marked:
					t.Fatalf("event %d after %d without a marker", n, prev)
				}
				prev, marked = n, false
			}
			if c.proven && markers != 0 || !c.proven && (markers == 0 || markers > cuts) {
				t.Errorf("%d markers for %d cuts", markers, cuts)
			}
		})
	}
}

// A burst far above what one commit carries, and the stall that no event will end.
func TestMarketBurstAndStall(t *testing.T) {
	const seed = 9
	r := newRig(t)
	r.cfg.Upstream.Idle = 300 * time.Millisecond
	m := market.New(seed, market.Options{Rate: 100})
	t.Cleanup(m.Close)
	r.up.set(m.ServeHTTP)
	r.define("  topics:\n    - {name: /ticks, security: none, backend: /stream/ticks}\n")
	r.run()
	r.until("events", func() bool { return r.status("/ticks").Events > 10 })
	m.Emit("/ticks", 5000)
	r.until("burst stored", func() bool { return r.status("/ticks").Events > 5000 })
	opens := r.status("/ticks").Opens
	m.Inject(market.Fault{Kind: market.Stall, Feed: "/ticks"})
	r.until("connected again", func() bool { return r.status("/ticks").Opens > opens })
	events := r.status("/ticks").Events
	r.until("events again", func() bool { return r.status("/ticks").Events > events+10 })
	r.stop()
	prev := uint64(0)
	for i, n := range r.numbers(m.Tape(), feedOf("/ticks")) {
		if i > 0 && n != prev+1 {
			t.Fatalf("event %d after %d", n, prev)
		}
		prev = n
	}
}
