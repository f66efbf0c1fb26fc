package fanout

import (
	"sync"
	"time"
)

// Meter accounts the events of one subscriber, or of many that share a quota. Its methods are called on the engines' goroutines: they
// must be cheap and never wait. An event is taken before its first byte goes; what was taken and did not go is given back, but for events
// of which nobody knows whether they arrived.
type Meter interface {
	// Take asks for n events and answers how many may be sent now.
	Take(n int) Taken
	// Give returns n events of what was taken.
	Give(t Taken, n int)
	// Dry says what becomes of a stream for which Take gave nothing.
	Dry() Dry
}

// Taken is what a Meter granted.
type Taken struct {
	Events int
	// Epochs are the meter's own: it knows by them what may still be given back.
	Epochs [2]uint32
	// Plenty: so much is left that an engine may take some more ahead of its need, if it gives back at once what is not used. Only a meter
	// that many subscribers share tells it. Meters are compared: they are pointers.
	Plenty bool
}

// Dry is what a stream does whose meter gave nothing: it ends, or it waits and gets heartbeats.
type Dry struct {
	// Gate opens when it is worth asking again. nil = at At.
	Gate *Gate
	At   time.Time
	// End, if set, ends the stream, and Last appends its last bytes: gateway events in full.
	End  Reason
	Last func(dst []byte) []byte
}

// Gate is where streams wait that share a quota. The zero value is ready. Safe for concurrent use.
type Gate struct {
	mu      sync.Mutex // guards waiting
	waiting map[any]func()
}

// Wait has wake called by the next Open, once for each who. Who waits looks at the meter again after it called Wait: the gate may have
// opened before.
func (g *Gate) Wait(who any, wake func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[any]func(){}
	}
	g.waiting[who] = wake
}

// Leave takes back a Wait.
func (g *Gate) Leave(who any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, who)
}

// Open wakes all who wait. It does not block.
func (g *Gate) Open() {
	g.mu.Lock()
	list := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	for _, wake := range list {
		wake()
	}
}
