package badinput

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBroker takes the store away while the process is down, and then presents ids of the old one.
func TestBroker(t *testing.T) {
	t.Parallel()
	f := load(t, "broker")
	fix := f.Fixtures["main"]
	for _, c := range f.Cases {
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
}
