package fanouttest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/fanout"
)

// meter grants what it holds; it may be shared.
type meter struct {
	gate fanout.Gate

	mu            sync.Mutex // guards what follows
	left          int
	taken, gotten int
	end           fanout.Reason // of who finds it empty
	looks         int           // at an empty one
}

func (m *meter) Take(n int) fanout.Taken {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, m.left)
	m.left -= n
	m.taken += n
	return fanout.Taken{Events: n}
}

func (m *meter) Give(_ fanout.Taken, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += n
	m.gotten += n
}

const quotaText = "retry: 700\nevent: gateway.throttled\ndata: {}\n\n"

func (m *meter) Dry() fanout.Dry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return fanout.Dry{Gate: &m.gate, End: m.end, Last: func(dst []byte) []byte { return append(dst, quotaText...) }}
}

// add fills it and wakes who waits.
func (m *meter) add(n int) {
	m.mu.Lock()
	m.left += n
	m.mu.Unlock()
	m.gate.Open()
}

// dryLooks is how often it was found empty.
func (m *meter) dryLooks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looks
}

// charged is how many events it let go.
func (m *meter) charged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken - m.gotten
}

// meters: not one event more than granted is sent, and what was not sent is given back.
func meters(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f := feedID("meters")
	w.publish(f, 25, 50)
	for name, at := range map[string]fanout.At{"backlog": {Kind: fanout.AtEarliest}, "live": {}} {
		from := 1
		if name == "live" {
			from = w.published(f) + 1
		}
		m := &meter{left: 10}
		c := w.open(plan{want: fanout.Want{Feed: f, At: at}, meter: m})
		if name == "live" {
			w.publish(f, 25, 50)
		}
		if _, err := c.upTo(from, from+9); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		m.add(7)
		if _, err := c.upTo(from+10, from+16); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.conn.Close()
		if e := w.end(c.meta); e.Events != 17 || m.charged() != 17 {
			t.Errorf("%s: %d events sent, %d charged", name, e.Events, m.charged())
		}
	}
}

// sharedQuota: readers of one quota, some of them slow and with events of all sizes, get exactly as many events as it has, wait with
// heartbeats, and go on in order when it has more.
func sharedQuota(t *testing.T, launch Launch, chunked bool) {
	const readers, events = 6, 40
	w := newWorld(t, launch, chunked, worldConfig{Settings: Settings{Heartbeat: 20 * time.Millisecond}, Window: 4 << 20})
	f := feedID("shared")
	m := &meter{left: 100}
	var cs []*client
	for range readers {
		cs = append(cs, w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, meter: m}))
	}
	for i := range events {
		w.publish(f, 1, []int{10, 2000, 70_000}[i%3])
	}
	counts := make([]int, readers)
	var mu sync.Mutex
	total := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range counts {
			n += c
		}
		return n
	}
	var all sync.WaitGroup
	for i, c := range cs {
		all.Go(func() {
			for n := 1; n <= events; n++ {
				e, err := c.next()
				if err != nil || e.n() != n {
					t.Errorf("reader %d: event %d, want %d: %v", i, e.n(), n, err)
					return
				}
				mu.Lock()
				counts[i]++
				mu.Unlock()
			}
		})
	}
	for granted := 100; granted <= readers*events; granted += 10 {
		w.until("what is granted is delivered", func() bool {
			if n := total(); n > granted {
				t.Fatalf("%d delivered of %d", n, granted)
			}
			return total() == granted
		})
		looks := m.dryLooks()
		if granted < readers*events && looks == 0 {
			t.Error("nobody found the meter empty")
		}
		m.add(10)
	}
	all.Wait()
	if n := m.charged(); n != readers*events {
		t.Errorf("%d charged for %d events", n, readers*events)
	}
}

// quotaEnds: who finds the quota ended is told by the meter's own last bytes, also one that waits; who needs nothing stays.
func quotaEnds(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{})
	f, quiet := feedID("ends"), feedID("quiet")
	m := &meter{left: 3}
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, meter: m})
	other := w.open(plan{want: fanout.Want{Feed: quiet, At: fanout.At{Kind: fanout.AtEarliest}}, meter: m})
	w.publish(f, 5, 50)
	if _, err := c.upTo(1, 3); err != nil {
		t.Fatal(err)
	}
	w.until("it waits", func() bool { return m.dryLooks() > 0 })
	m.mu.Lock()
	m.end = "quota"
	m.mu.Unlock()
	m.gate.Open()
	if rest, err := c.rest(); err != nil || !strings.HasSuffix(rest, quotaText) || strings.Contains(rest, "id:") {
		t.Errorf("after the third event came %q, %v", rest, err)
	}
	if e := w.end(c.meta); e.Reason != "quota" || e.Events != 3 {
		t.Errorf("ended for %q after %d events", e.Reason, e.Events)
	}
	m.mu.Lock()
	m.end = ""
	m.mu.Unlock()
	m.add(1)
	w.publish(quiet, 1, 50)
	if _, err := other.upTo(1, 1); err != nil {
		t.Error(err)
	}
}

// longPause: who waited while the log gave up what it wants next is not slow, whatever the policy: it goes on where it was.
func longPause(t *testing.T, launch Launch, chunked bool) {
	w := newWorld(t, launch, chunked, worldConfig{Window: 64 << 10})
	f := feedID("pause")
	m := &meter{left: 2}
	c := w.open(plan{want: fanout.Want{Feed: f, At: fanout.At{Kind: fanout.AtEarliest}}, meter: m})
	w.publish(f, 5, 1000)
	if _, err := c.upTo(1, 2); err != nil {
		t.Fatal(err)
	}
	w.until("it waits", func() bool { return m.dryLooks() > 0 })
	w.publish(f, 600, 1000)
	w.until("the log has all of it", func() bool { // else it would be live in between, and slow
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.plans[c.meta].log.Last().Seq == w.feeds[f].prev
	})
	m.add(1000)
	if _, err := c.upTo(3, 605); err != nil {
		t.Fatal(err)
	}
	if n := m.charged(); n != 605 {
		t.Errorf("%d charged for 605 events", n)
	}
}
