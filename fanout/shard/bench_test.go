//go:build linux

package shard

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/fanout"
)

// crowd is n live clients on real connections whose other ends are drained between
// measurements.
type crowd struct {
	r    *rig
	f    *feed
	fds  []int32 // the shard's ends
	far  []int
	sink []byte
}

func newCrowd(b testing.TB, n int, meter ...fanout.Meter) *crowd {
	b.Helper()
	c := &crowd{r: newRig(b, Config{}), sink: make([]byte, 256<<10)}
	c.f = c.r.feed(fanout.LogConfig{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	for i := range n {
		server, client := tcpPair(b, l)
		fd, err := takeSocket(server)
		if err != nil {
			b.Fatal(err)
		}
		server.Close()
		far, err := takeSocket(client)
		if err != nil {
			b.Fatal(err)
		}
		client.Close()
		b.Cleanup(func() { unix.Close(int(far)) })
		c.fds, c.far = append(c.fds, fd), append(c.far, int(far))
		c.r.s.count.Add(1)
		sub := c.f.live(uint32(i))
		if len(meter) > 0 {
			sub.Meter = meter[i%len(meter)]
		}
		c.r.s.in.put(message{join: &joining{fd: fd, sub: sub}})
		c.r.step()
	}
	return c
}

// drain empties the far ends, outside the measured time: a kernel that waits for
// acknowledgements would only queue, which is cheaper than sending.
func (c *crowd) drain(b *testing.B) {
	b.StopTimer()
	for _, fd := range c.far {
		if _, err := unix.Read(fd, c.sink); err != nil && err != unix.EAGAIN {
			b.Fatal(err)
		}
	}
	b.StartTimer()
}

// pass publishes a frame and turns the shard until all have it.
func (c *crowd) pass(frame []byte) time.Duration {
	began := time.Now()
	c.event(frame)
	for c.r.s.turn(c.r.now) || !c.r.s.in.empty() {
	}
	return time.Since(began)
}

// rawLoop sends the same to the same without any bookkeeping.
func (c *crowd) rawLoop(b *testing.B, frame []byte) time.Duration {
	began := time.Now()
	for _, fd := range c.fds {
		if _, errno := send(fd, frame); errno != 0 {
			b.Fatal(errno)
		}
	}
	return time.Since(began)
}

// event is a 200-byte frame, published without the bookkeeping of feed.
func (c *crowd) event(frame []byte) {
	c.f.seq++
	c.f.log.Append(fanout.Frame{Pos: position(c.f.seq, c.r.now), Bytes: frame})
	c.f.log.Publish()
}

// BenchmarkPass guards the cost of a delivery. The raw loop is its floor: the same
// sends on the same sockets and no bookkeeping. Figures drift with the machine; only
// the ratio of the two, taken in turn, says something: ratio-% is the pass in per cent
// of the raw loop.
func BenchmarkPass(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		b.Run(fmt.Sprintf("subs=%d", n), func(b *testing.B) {
			c := newCrowd(b, n)
			frame := make([]byte, 200)
			for i := range frame {
				frame[i] = 'x'
			}
			copy(frame[198:], "\n\n")
			var ours, raw time.Duration
			b.ReportAllocs()
			for round := 0; b.Loop(); round++ {
				if round%2 == 0 {
					raw += c.rawLoop(b, frame)
					c.drain(b)
				}
				ours += c.pass(frame)
				c.drain(b)
				if round%2 == 1 {
					raw += c.rawLoop(b, frame)
					c.drain(b)
				}
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*n), "ns/delivery")
			b.ReportMetric(100*float64(ours)/float64(raw), "ratio-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// quota is a Meter that costs what one of edge does: a look at the clock and one
// compare-and-swap.
type quota struct {
	began time.Time
	left  atomic.Int64
}

func (q *quota) Take(n int) fanout.Taken {
	if time.Since(q.began) > time.Hour {
		return fanout.Taken{}
	}
	for {
		have := q.left.Load()
		got := min(int64(n), have)
		if q.left.CompareAndSwap(have, have-got) {
			return fanout.Taken{Events: int(got), Plenty: true}
		}
	}
}

func (q *quota) Give(_ fanout.Taken, n int) { q.left.Add(int64(n)) }
func (q *quota) Dry() fanout.Dry            { return fanout.Dry{} }

// BenchmarkPassMetered guards what a metered delivery costs more than one that is not:
// the same events to two crowds of one size in turn. more-% is the difference.
func BenchmarkPassMetered(b *testing.B) {
	const n = 1000
	q := &quota{began: time.Now()}
	q.left.Store(1 << 50)
	free, paid := newCrowd(b, n), newCrowd(b, n, q)
	frame := make([]byte, 200)
	copy(frame[198:], "\n\n")
	var without, with time.Duration
	for round := 0; b.Loop(); round++ {
		first, second := free, paid
		if round%2 == 1 {
			first, second = paid, free
		}
		for _, c := range []*crowd{first, second} {
			took := c.pass(frame)
			c.drain(b)
			if c == free {
				without += took
			} else {
				with += took
			}
		}
	}
	b.ReportMetric(float64(without.Nanoseconds())/float64(b.N*n), "free-ns")
	b.ReportMetric(float64(with.Nanoseconds())/float64(b.N*n), "metered-ns")
	b.ReportMetric(100*(float64(with)/float64(without)-1), "more-%")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPassWaiting guards that ten waiting events cost about as much as one.
func BenchmarkPassWaiting(b *testing.B) {
	c := newCrowd(b, 1000)
	frame := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			c.f.seq++
			c.f.log.Append(fanout.Frame{Pos: position(c.f.seq, c.r.now), Bytes: frame})
		}
		c.f.log.Publish()
		for c.r.s.turn(c.r.now) || !c.r.s.in.empty() {
		}
		c.drain(b)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000*10), "ns/event")
}

// BenchmarkSweep guards the cost of looking at a silent client: a million of them are
// looked at every five seconds.
func BenchmarkSweep(b *testing.B) {
	b.Run("1M", func(b *testing.B) {
		r := newRig(b, Config{})
		s := r.s
		s.classes = append(s.classes, class{heartbeats: 1 << 30})
		for range 1_000_000 {
			_, e := s.slab.alloc()
			e.state, e.fd, e.sent = stLive, -1, s.tick
		}
		b.ReportAllocs()
		for b.Loop() {
			s.sweepLeft = s.slab.top
			for s.sweep() {
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1_000_000), "ns/slot")
		for slot := range s.slab.top {
			s.slab.release(slot)
		}
	})
}

// BenchmarkCloseAll guards that ending all clients of one log is linear.
func BenchmarkCloseAll(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		b.Run(fmt.Sprintf("subs=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r := newRig(b, Config{})
				f := r.feed(fanout.LogConfig{})
				for i := range n {
					r.offer(f.live(uint32(i)))
				}
				r.step()
				b.StartTimer()
				r.s.closeClients()
				r.s.report()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/client")
		})
	}
}

// BenchmarkIdle is a shard with nothing to do: what a tick costs.
func BenchmarkIdle(b *testing.B) {
	r := newRig(b, Config{})
	f := r.feed(fanout.LogConfig{})
	for i := range 1000 {
		r.join(f.live(uint32(i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		r.now = r.now.Add(tickLen)
		for _, slot := range r.s.rosters[0].members {
			r.s.slab.at(slot).sent = r.s.tick // no heartbeats
		}
		for r.s.turn(r.now) {
		}
	}
}

// A delivery allocates nothing.
func TestADeliveryAllocatesNothing(t *testing.T) {
	c := newCrowd(t, 50)
	frame := make([]byte, 20)
	deliver := func() {
		c.event(frame)
		for c.r.s.turn(c.r.now) || !c.r.s.in.empty() {
		}
	}
	for range 100 {
		deliver() // segment and index grow
	}
	if n := testing.AllocsPerRun(20, deliver); n > 1 { // the log may grow once more
		t.Errorf("%v allocations for 50 deliveries", n)
	}
	for i, fd := range c.far {
		for left := 121 * len(frame); left > 0; { // the kernel delivers bit by bit
			n, err := unix.Read(int(fd), c.sink[:left])
			if err != nil && err != unix.EAGAIN {
				t.Fatalf("client %d: %v", i, err)
			}
			left -= max(n, 0)
		}
	}
}
