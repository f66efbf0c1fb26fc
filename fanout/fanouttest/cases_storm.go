package fanouttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/fanout"
	"sluice/internal/broker"
)

// seedOf is SLUICE_SEED or a fresh one, shown with the test's result.
func seedOf(t *testing.T) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("SLUICE_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("SLUICE_SEED=%d", seed)
	return seed
}

// storm: many readers come at random, are cut at random bytes and resume by the last
// id they got whole, while events flow, live messages are lost and the window is
// trimmed. Each gets every event once, in order, and no gap.
func storm(t *testing.T, launch Launch, chunked bool) {
	readers, events := 1000, 1000
	if testing.Short() {
		readers, events = 120, 400
	}
	seed := seedOf(t)
	w := newWorld(t, launch, chunked, worldConfig{Window: 64 << 10})
	f := feedID("storm")
	w.publish(f, 20, 100)
	w.mem.DropLive(97)

	var wg sync.WaitGroup
	errs := make(chan error, readers)
	turn := make(chan struct{}, 200) // streams opened at once
	for i := range readers {
		wg.Go(func() {
			if err := w.follow(rand.New(rand.NewPCG(seed, uint64(i))), f, events, turn); err != nil {
				errs <- fmt.Errorf("reader %d: %w", i, err)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 1<<40))
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	for n := 20; n < events; {
		k := min(1+rnd.IntN(12), events-n)
		if n+k == events {
			w.mem.DropLive(0) // the end must come by itself
		}
		w.publish(f, k, 20+rnd.IntN(200))
		n += k
		<-pace.C
	}
	wg.Wait()
	close(errs)
	shown := 0
	for err := range errs {
		if shown++; shown <= 5 {
			t.Error(err)
		}
	}
}

// follow reads f from the start up to event n over as many connections as it takes.
func (w *world) follow(rnd *rand.Rand, f broker.FeedID, n int, turn chan struct{}) error {
	at := fanout.At{Kind: fanout.AtEarliest}
	dropped := 0
	for have := 0; have < n; {
		turn <- struct{}{}
		c, err := w.dial(plan{want: fanout.Want{Feed: f, At: at}}, 0)
		<-turn
		if err != nil {
			return err
		}
		last := n
		if rnd.IntN(10) < 7 {
			last = min(n, have+1+rnd.IntN(200))
		}
		e, err := c.upTo(have+1, last)
		switch {
		case err == nil && last < n && rnd.IntN(2) == 0: // cut inside what follows
			_, _ = c.body.Peek(1 + rnd.IntN(100)) //nolint:errcheck // how much comes is chance
			_ = c.conn.SetLinger(0)               //nolint:errcheck // a reset, if it can be
		case (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && dropped < 100:
			dropped++ // too slow, says the engine: the reader resumes
		case err != nil:
			c.conn.Close()
			return err
		}
		c.conn.Close()
		if e.n() > 0 {
			have, at = e.n(), fanout.At{Kind: fanout.AtID, Pos: e.pos()}
		}
	}
	return nil
}
