// Package tracetest has a recorder that keeps spans, for tests of the packages that make them. Exporting is tested where it
// is done, in internal/obs.
package tracetest

import (
	"fmt"
	"slices"
	"sync"

	"sluice/internal/trace"
)

// Kept is a trace.Recorder that keeps every span, or, told so, records none. The zero value is ready. Safe for concurrent use.
type Kept struct {
	mu    sync.Mutex // guards below
	none  bool
	spans []trace.Data
}

var _ trace.Recorder = (*Kept)(nil)

// None makes k record nothing from now on.
func (k *Kept) None() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.none = true
}

// Sampled implements trace.Recorder.
func (k *Kept) Sampled([16]byte, trace.Context, string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.none
}

// Record implements trace.Recorder.
func (k *Kept) Record(d *trace.Data) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, *d)
}

// Named are the spans with a name that have ended, in that order.
func (k *Kept) Named(name string) (list []trace.Data) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.spans {
		if d.Name == name {
			list = append(list, d)
		}
	}
	return list
}

// String is all that the spans say, for a search of what must not be said.
func (k *Kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("%+v", k.spans)
}

// Attr is the value of a span's attribute; nil if it has none of that key.
func Attr(d trace.Data, key string) any {
	for _, a := range d.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

// LinksTo says that d is linked to c.
func LinksTo(d trace.Data, c trace.Context) bool { return slices.Contains(d.Links, c) }
