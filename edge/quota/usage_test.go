package quota

import "testing"

// What edges were given and told shows, and looking changes nothing.
func TestUsage(t *testing.T) {
	eachSource(t, func(t *testing.T, src Source) {
		s := scope(t, 1)
		limit := Limit{Events: 100, Every: 1, Unit: Year}
		look := func(l Limit, want Usage) {
			t.Helper()
			got, err := src.(Viewer).Usage(t.Context(), s, l)
			if err != nil {
				t.Fatal(err)
			}
			if l.Events > 0 && (got.Window != thisYear() || !got.Window.Holds(got.Now)) {
				t.Errorf("%v in %v", got.Now, got.Window)
			}
			got.Now, got.Window = want.Now, want.Window
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		look(limit, Usage{})
		allot(t, src, Ask{Scope: s, Edge: "a", Call: 1, Limit: 100, Want: 80})
		look(limit, Usage{Given: 50})
		allot(t, src, Ask{Scope: s, Edge: "a", Call: 2, Limit: 100, Mine: 50, Back: 20, Spent: 30})
		allot(t, src, Ask{Scope: s, Edge: "b", Call: 1, Limit: 100, Want: 3})
		if _, err := src.Seats(t.Context(), SeatAsk{Scope: s, Edge: "a", More: 2, Limit: 5}); err != nil {
			t.Fatal(err)
		}
		if err := src.Refresh(t.Context(), []SeatAsk{{Scope: s, Edge: "b", Have: 1, Limit: 5}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			look(limit, Usage{Given: 33, Spent: 30, Seats: 3})
		}
		look(Limit{}, Usage{Seats: 3})
		if n := allot(t, src, Ask{Scope: s, Edge: "a", Call: 3, Limit: 100, Mine: 30, Spent: 30}); n.Held != 3 {
			t.Errorf("after looking %+v", n)
		}
	})
}
