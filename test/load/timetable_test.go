package load

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// slowSource takes its time, and refuses some events.
type slowSource struct {
	took   time.Duration
	refuse int64
	sent   []time.Time
	ns     []int64
}

func (s *slowSource) lanes() int { return 1 }

func (s *slowSource) publish(_ context.Context, _ int, n int64, _ []byte) error {
	s.sent, s.ns = append(s.sent, time.Now()), append(s.ns, n)
	time.Sleep(s.took)
	if n == s.refuse {
		return errors.New("no")
	}
	return nil
}

// publishTo runs a publisher of 20 events at 10 a second over two topics in fake time.
func publishTo(t *testing.T, s *slowSource) (p *publisher, start time.Time) {
	cell, err := Cell{URL: "http://x/", Topics: 2, Rate: 10, Origin: "x"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	run := testCommon(true, 20)
	run.published = append(run.published, run.published...)
	start = time.Now().Add(time.Second)
	p = newPublisher(cell, run, s, timetable{start: start, rate: 10, total: 20})
	p.keep(t.Context())
	return p, start
}

func TestPublisherKeepsItsTimetable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowSource{took: 30 * time.Millisecond, refuse: 3}
		p, start := publishTo(t, s)
		for i, at := range s.sent {
			if want := start.Add(time.Duration(i) * 100 * time.Millisecond); !at.Equal(want) {
				t.Errorf("event %d at %v, want %v", i, at.Sub(start), want.Sub(start))
			}
			if want := int64(i/2 + 1); s.ns[i] != want {
				t.Errorf("event %d has number %d, want %d", i, s.ns[i], want)
			}
		}
		r := p.result()
		if r.Events != 20 || r.Failed != 2 || r.Why != "no" || r.Behind {
			t.Errorf("%+v", r)
		}
	})
}

func TestPublisherTellsWhoIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A server that takes 150 ms an event: the last of 20 events begins 19 × 50 ms late, by the server's fault.
		p, _ := publishTo(t, &slowSource{took: 150 * time.Millisecond})
		if r := p.result(); !r.Held || r.Behind || r.OwnP99 > 1 || r.LateMax < 949 || r.LateMax > 951 {
			t.Errorf("%+v", r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// A publisher that starts half a second after its timetable is late by its own fault.
		p, start := publishTo(t, &slowSource{})
		p = newPublisher(p.cell, p.run, &slowSource{}, timetable{start: start, rate: 1000, total: 20})
		time.Sleep(500 * time.Millisecond)
		p.keep(t.Context())
		if r := p.result(); !r.Behind || r.Held {
			t.Errorf("%+v", r)
		}
	})
}

func TestTimetableCounts(t *testing.T) {
	table := timetable{start: time.Unix(0, 0), rate: 3, total: 10}
	for d, want := range map[time.Duration]int64{0: 0, time.Second: 3, 2 * time.Second: 6, time.Hour: 10} {
		if got := table.count(d); got != want {
			t.Errorf("after %v: %d, want %d", d, got, want)
		}
	}
}

func TestTimetableHasABurst(t *testing.T) {
	c, err := Cell{URL: "http://x/", Rate: 10, Origin: "x", Warmup: 2 * time.Second, Duration: 8 * time.Second, ResumeBehind: 1000, BurstRate: 500}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	table := c.table()
	// 2 s of warm-up, 2 s until clients leave and 1 s to be gone make 50 events; 2 s of burst; 3 s to the end.
	if table.total != 50+1000+30 {
		t.Errorf("%d events", table.total)
	}
	for g, want := range map[int64]time.Duration{0: 0, 49: 4900 * time.Millisecond, 50: 5 * time.Second, 550: 6 * time.Second, 1050: 7 * time.Second, 1060: 8 * time.Second} {
		if got := table.at(g).Sub(table.start).Round(time.Microsecond); got != want {
			t.Errorf("event %d at %v, want %v", g, got, want)
		}
	}
}

func TestRoundsVoidAndRatios(t *testing.T) {
	run := func(cpu, p99 float64, void string) *Result {
		return &Result{ServerPer: cpu, Latency: Latency{P99: p99}, Void: void}
	}
	c := Comparison{Rounds: 6, Series: []Series{
		{Name: "ours", Runs: []*Result{run(2, 10, ""), run(6, 12, ""), run(100, 900, ""), run(2.2, 11, ""), run(3, 1, "behind"), {Failed: "9 lost"}}},
		{Name: "raw", Runs: []*Result{run(2, 5, ""), run(2.1, 6, ""), run(40, 300, ""), run(1.9, 5, ""), run(2, 5, ""), run(2, 5, "")}},
	}}
	c.sumUp(1)
	if c.Counted(0) != 3 || c.Counted(1) != 5 || len(c.Void) != 3 {
		t.Errorf("void: %v", c.Void)
	}
	if len(c.Ratios) != 2 || c.Ratios[0].Rounds != 3 || c.Ratios[0].Min != 1 || c.Ratios[0].Median < 1.15 || c.Ratios[0].Median > 1.16 {
		t.Errorf("ratios: %+v", c.Ratios)
	}
	c.Series[0].Runs[4].Published.Held = true // in a run that is void: it says nothing
	c.Series[1].Runs[0].Published.Held = true
	c.Void, c.Ratios = nil, nil
	if c.sumUp(1); c.Series[0].Held || !c.Series[1].Held {
		t.Errorf("held: %v, %v", c.Series[0].Held, c.Series[1].Held)
	}
	if c.Series[0].ServerPer != 2.2 || c.Series[0].P99 != 11 {
		t.Errorf("medians: %+v", c.Series[0])
	}
}

func TestTurnsAlternate(t *testing.T) {
	if a, b := turn(3, 0), turn(3, 1); a[0] != 0 || a[2] != 2 || b[0] != 2 || b[2] != 0 {
		t.Errorf("%v, then %v", a, b)
	}
}
