package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	giveBackLook  = 500 * time.Millisecond
	giveBackStep  = 256 // connections that came or went
	giveBackAgain = 12  // looks, six seconds
)

// giveBack returns memory to the system once a crowd has come or gone. Each accepted connection leaves about 20 KB of
// garbage of its HTTP head behind; idle clients allocate nothing, so no collection would come by itself and the process
// would look, and be charged, twenty times its size.
func (p *process) giveBack(ctx context.Context) error {
	tick := time.NewTicker(giveBackLook)
	defer tick.Stop()
	settled, last := 0, 0 // streams when memory was last given back, streams at the last look
	again := 0            // looks left until it is given back once more: joins may wait 5 s for their turn
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		open := p.edge.Open()
		moved, calm := abs(open-settled) >= giveBackStep, abs(open-last) < giveBackStep/8
		last = open
		if again > 0 {
			again--
		}
		if moved && calm {
			settled, again = open, giveBackAgain
			freeMemory()
		} else if again == 1 {
			freeMemory()
		}
	}
}

// freeMemory collects twice: what lay in pools, the buffers of HTTP heads above all, is garbage only after the first time.
func freeMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}

func abs(n int) int { return max(n, -n) }
