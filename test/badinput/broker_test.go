package badinput

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBroker takes the store away while the process is down, and then presents ids of the old one; and it does to a broker apart what
// others can.
func TestBroker(t *testing.T) {
	t.Parallel()
	f := load(t, "broker")
	fix := f.Fixtures["main"]
	var apart []Case
	for _, c := range f.Cases {
		if c.On == "apart" {
			apart = append(apart, c)
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			ran(t, c.ID)
			r := newRig(t, fix, "auto")
			for i, h := range c.Send.Headers {
				c.Send.Headers[i] = r.expand(h)
			}
			r.gate.Stop()
			if err := os.RemoveAll(filepath.Join(r.gate.Dir, "data")); err != nil {
				t.Fatal(err)
			}
			r.gate.Start()
			r.allUp()
			r.watched = nil
			w := fix.Watch[0]
			w.Emit = 1
			r.watch(w)
			r.edgeCase(t, c)
			r.end()
		})
	}
	t.Run("apart", func(t *testing.T) {
		r := newRig(t, f.Fixtures["apart"], "auto")
		r.apartCases(t, apart)
		r.end()
	})
}
