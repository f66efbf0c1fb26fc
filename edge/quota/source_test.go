package quota

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// what is compared of an Allotment: not its times.
type given struct{ Given, Free, Held int64 }

func allot(t *testing.T, src Source, a Ask) given {
	t.Helper()
	if a.Window == (Window{}) {
		a.Window = thisYear()
	}
	got, err := src.Allot(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(a.Window.End) - got.Left; got.Outside || left < -5*time.Second || left > 5*time.Second {
		t.Fatalf("%+v: %v from the true end", got, left)
	}
	return given{got.Given, got.Free, got.Held}
}

func TestAllotments(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		s := scope(t, 1)
		steps := []struct {
			what string
			ask  Ask
			want given
		}{
			{"the first asker gets half of what is free", Ask{Edge: "a", Call: 1, Limit: 100, Want: 80}, given{50, 50, 50}},
			{"another a quarter", Ask{Edge: "b", Call: 1, Limit: 100, Want: 80}, given{12, 38, 62}},
			{"the same call the same answer", Ask{Edge: "a", Call: 1, Limit: 100, Want: 80}, given{50, 50, 50}},
			{"an answer that was lost comes with the next", Ask{Edge: "a", Call: 2, Limit: 100, Want: 60}, given{59, 29, 71}},
			{"what goes back can be given again", Ask{Edge: "a", Call: 3, Limit: 100, Mine: 59, Back: 50, Spent: 9}, given{0, 79, 12}},
			{"a return that nobody confirmed is done once", Ask{Edge: "a", Call: 4, Limit: 100, Mine: 9, Spent: 9}, given{0, 79, 12}},
			{"a return that did not arrive comes back", Ask{Edge: "b", Call: 2, Limit: 100, Mine: 2}, given{10, 79, 12}},
			{"what the source forgot it learns", Ask{Edge: "c", Call: 7, Limit: 100, Mine: 60, Spent: 60}, given{0, 19, 12}},
			{"the limit may shrink below what was given", Ask{Edge: "a", Call: 5, Limit: 10, Mine: 9, Spent: 9, Want: 5}, given{0, 0, 12}},
			{"a life that begins anew has nothing", Ask{Edge: "c", Call: 8, Life: 8, Limit: 100, Want: 2}, given{2, 17, 14}},
			{"and its answer that was lost comes with the next", Ask{Edge: "c", Call: 9, Life: 8, Limit: 100, Want: 2}, given{2, 17, 14}},
			{"and grow", Ask{Edge: "a", Call: 6, Limit: 84, Mine: 9, Spent: 9, Want: 5}, given{1, 0, 15}},
		}
		for _, x := range steps {
			x.ask.Scope = s
			if got := allot(t, src, x.ask); got != x.want {
				t.Errorf("%s: got %+v, want %+v", x.what, got, x.want)
			}
		}
		_, err := src.Allot(t.Context(), Ask{Scope: s, Edge: "a", Call: 2, Limit: 100, Window: thisYear()})
		if !errors.Is(err, errLate) {
			t.Errorf("a late call: %v", err)
		}
		for name, w := range map[string]Window{"past": year.Window(time.Now().AddDate(-1, 0, 0)), "future": year.Window(time.Now().AddDate(1, 0, 0))} {
			got, err := src.Allot(t.Context(), Ask{Scope: s, Edge: "a", Call: 9, Limit: 10, Want: 1, Window: w})
			if err != nil || !got.Outside || got.Given != 0 || time.Since(got.Now).Abs() > 5*time.Second {
				t.Errorf("a %s window: %+v, %v", name, got, err)
			}
		}
	})
}

func TestSeats(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		s := scope(t, 1)
		seats := func(edge string, have, more int) int {
			t.Helper()
			n, err := src.Seats(t.Context(), SeatAsk{Scope: s, Edge: edge, Have: have, More: more, Limit: 5})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		got := []int{seats("a", 0, 3), seats("b", 0, 3), seats("a", 3, 1), seats("b", 1, 1)}
		if err := src.Refresh(t.Context(), []SeatAsk{{Scope: s, Edge: "a"}, {Scope: s, Edge: "b", Have: 1}}); err != nil {
			t.Fatal(err)
		}
		got = append(got, seats("b", 1, 9), seats("a", 0, 1))
		if diff := cmp.Diff([]int{3, 2, 0, 1, 4, 0}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConnectRate(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		r := Rate{Events: 1, Per: time.Hour, Burst: 3}
		for i, want := range []bool{true, true, true, false, false} {
			d, err := src.Spend(t.Context(), "app:x", r)
			if err != nil || d.OK != want {
				t.Errorf("%d: %+v, %v", i, d, err)
			}
			if !d.OK && (d.RetryAfter > time.Hour || d.RetryAfter < 59*time.Minute) {
				t.Errorf("come back in %v", d.RetryAfter)
			}
		}
	})
}

// Several edges on one quota: answers are lost, calls arrive late and twice, edges give back and die. Never is one event too many given,
// and without a dead edge all are.
func TestNeverOneEventTooMany(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			w := &quotaWorld{rt: rt, src: src, scope: scope(t, n), limit: rapid.Int64Range(0, 300).Draw(rt, "limit")}
			for range rapid.IntRange(1, 4).Draw(rt, "edges") {
				w.join()
			}
			crashes := rapid.Bool().Draw(rt, "edges die")
			for range rapid.IntRange(5, 40).Draw(rt, "steps") {
				e := w.edges[rapid.IntRange(0, len(w.edges)-1).Draw(rt, "edge")]
				switch step := rapid.IntRange(0, 9).Draw(rt, "step"); {
				case step < 4:
					e.deliver(rapid.IntRange(1, 60).Draw(rt, "events"))
				case step < 8:
					e.ask(rapid.SampledFrom([]string{"", "", "request lost", "answer lost", "late"}).Draw(rt, "fate"), rapid.Bool().Draw(rt, "idle"))
				case step == 8:
					w.late()
				case crashes && rapid.Bool().Draw(rt, "forgets"):
					e.forget()
				case crashes:
					w.edges = append(w.edges[:0], w.edges[1:]...)
					w.join()
				}
			}
			w.late()
			for range 50 { // everybody takes what there is, and asks for more
				for _, e := range w.edges {
					e.deliver(1000)
					e.ask("", false)
				}
			}
			if !crashes && w.delivered != w.limit {
				rt.Fatalf("%d of %d delivered", w.delivered, w.limit)
			}
		})
	})
}

// quotaWorld is some edges without a loop: the test makes their calls.
type quotaWorld struct {
	rt        *rapid.T
	src       Source
	scope     string
	limit     int64
	edges     []*quotaEdge
	born      int
	delivered int64
	held      []Ask // on their way
}

type quotaEdge struct {
	w *quotaWorld
	b *Bucket
}

func (w *quotaWorld) join() {
	w.born++
	l := New(Options{Source: w.src, Edge: fmt.Sprintf("edge-%d", w.born)})
	b := l.Open(w.scope, Setup{Limit: Limit{Events: w.limit, Every: 1, Unit: Year}})
	w.edges = append(w.edges, &quotaEdge{w, b})
}

// forget begins anew on the same edge, as after the last stream: what it had and did not give back is lost.
func (e *quotaEdge) forget() {
	l := e.b.l
	delete(l.buckets, e.w.scope)
	e.b = l.Open(e.w.scope, Setup{Limit: Limit{Events: e.w.limit, Every: 1, Unit: Year}})
}

// deliver takes events, and gives some back as a full socket would.
func (e *quotaEdge) deliver(n int) {
	got := e.b.Take(n)
	back := got.Events / 5
	e.b.Give(got, back)
	e.w.delivered += int64(got.Events - back)
	if e.w.delivered > e.w.limit {
		e.w.rt.Fatalf("%d of %d delivered", e.w.delivered, e.w.limit)
	}
}

// ask makes one call, with what may happen to it.
func (e *quotaEdge) ask(fate string, idle bool) {
	b := e.b
	now := time.Now()
	if idle {
		b.kicked.Store(false)
		b.moved = now.Add(-time.Hour)
	} else {
		b.kicked.Store(true)
	}
	a, ok := b.ask(now)
	if !ok {
		e.w.rt.Fatal("nothing to ask")
	}
	if fate == "late" {
		e.w.held = append(e.w.held, a)
	}
	if fate == "request lost" || fate == "late" {
		b.apply(a, Allotment{}, errors.New(fate), now)
		return
	}
	got, err := e.w.src.Allot(e.w.rt.Context(), a)
	if err != nil {
		e.w.rt.Fatal(err)
	}
	if e.w.born%2 == 0 { // a client that sends it again
		if again, err := e.w.src.Allot(e.w.rt.Context(), a); err != nil || again.Given != got.Given {
			e.w.rt.Fatalf("the same call: %+v, then %+v, %v", got, again, err)
		}
	}
	if fate != "" {
		err = errors.New(fate)
	}
	b.apply(a, got, err, now)
}

// late lets the calls arrive that are on their way. Nobody waits for their answers.
func (w *quotaWorld) late() {
	for _, a := range w.held {
		_, err := w.src.Allot(w.rt.Context(), a)
		if err != nil && !errors.Is(err, errLate) {
			w.rt.Fatal(err)
		}
	}
	w.held = nil
}

// A process that is killed has lost what it had not delivered, and its successor gives nothing twice.
func TestTheFileOutlivesAKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "quota.state")
	rapid.Check(t, func(rt *rapid.T) {
		s := fmt.Sprintf("sub:%x", rapid.Uint64().Draw(rt, "id"))
		limit := rapid.Int64Range(1, 1000).Draw(rt, "limit")
		var total int64
		for life := range rapid.IntRange(1, 6).Draw(rt, "lives") {
			m, err := NewMemory(MemoryOptions{File: file})
			if err != nil {
				rt.Fatal(err)
			}
			var mine int64
			for call := range rapid.IntRange(0, 9).Draw(rt, "calls") {
				got, err := m.Allot(t.Context(), Ask{Scope: s, Edge: fmt.Sprint("boot", life), Call: uint64(call + 1), Window: thisYear(), Limit: limit,
					Want: rapid.Int64Range(1, 100).Draw(rt, "want"), Mine: mine, Spent: mine})
				if err != nil {
					rt.Fatal(err)
				}
				mine += got.Given
			}
			total += mine
			_ = m.Close() // as a kill does: nothing is written by it
		}
		if total > limit {
			rt.Fatalf("%d of %d given", total, limit)
		}
	})
}

func TestWindows(t *testing.T) {
	at := time.Date(2028, 2, 29, 13, 47, 31, 5, time.FixedZone("", 3600))
	for _, x := range []struct {
		l        Limit
		from, to string
	}{
		{Limit{Unit: Second, Every: 5}, "2028-02-29T12:47:30Z", "2028-02-29T12:47:35Z"},
		{Limit{Unit: Minute}, "2028-02-29T12:47:00Z", "2028-02-29T12:48:00Z"},
		{Limit{Unit: Minute, Every: 15}, "2028-02-29T12:45:00Z", "2028-02-29T13:00:00Z"},
		{Limit{Unit: Hour, Every: 1}, "2028-02-29T12:00:00Z", "2028-02-29T13:00:00Z"},
		{Limit{Unit: Day, Every: 1}, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		{Limit{Unit: Month, Every: 1}, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{Limit{Unit: Month, Every: 3}, "2028-01-01T00:00:00Z", "2028-04-01T00:00:00Z"},
		{Limit{Unit: Year, Every: 1}, "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"},
		{Limit{Unit: Year, Every: 2}, "2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z"},
	} {
		w := x.l.Window(at)
		if got := w.Start.Format(time.RFC3339) + " " + w.End.Format(time.RFC3339); got != x.from+" "+x.to {
			t.Errorf("%+v: %s", x.l, got)
		}
		if !w.Holds(at) || !w.Holds(w.Start) || w.Holds(w.End) || x.l.Window(w.End).Start != w.End {
			t.Errorf("%+v: does not hold what it should", x.l)
		}
	}
}

func TestShaper(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := Shaper{Rate: Rate{Events: rapid.IntRange(1, 1000).Draw(rt, "events"), Per: time.Second}}
		now := time.Unix(1000, 0)
		total := 0
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(rt, "ms")) * time.Millisecond)
			want := rapid.IntRange(1, 500).Draw(rt, "want")
			got, again := s.Take(now, want)
			if got < want {
				if n, _ := (&Shaper{s.Rate, s.tat}).Take(again.Add(-2*time.Microsecond), 1); n != 0 {
					rt.Fatalf("there is one before %v", again)
				}
				if n, _ := (&Shaper{s.Rate, s.tat}).Take(again, 1); n != 1 {
					rt.Fatalf("there is none at %v", again)
				}
			}
			back := got / 3
			s.Give(back)
			total += got - back
			if most := float64(s.Rate.Events)*(1+now.Sub(time.Unix(1000, 0)).Seconds())*1.001 + 1; float64(total) > most {
				rt.Fatalf("%d events by %v, at most %v", total, now, most)
			}
		}
	})
}
