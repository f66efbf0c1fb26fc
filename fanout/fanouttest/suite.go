package fanouttest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"sluice/fanout"
)

// Settings are what a case wants of the engine it runs on. Zero values are the
// engine's defaults.
type Settings struct {
	Slow      fanout.Slow
	Heartbeat time.Duration
	Coalesce  time.Duration
	EndBytes  fanout.EndBytes
	// Ended must be called once per stream, when its socket is closed or, for an engine
	// that does not own the socket, when Serve of that stream is about to return.
	Ended func(meta uint32, e fanout.End)
}

// Engine is what both engines can do.
type Engine interface {
	Cut(over time.Duration, why func(meta uint32) fanout.Reason)
	Tell(what func(meta uint32) []byte)
	Drain(ctx context.Context, over time.Duration) error
	Count() int
}

// Launched is a running engine.
type Launched struct {
	Engine Engine
	// OwnFraming is true for an engine that needs the log of the framing wanted; false
	// if net/http delimits bodies.
	OwnFraming bool
	// Serve answers 200 with the event stream's head and hands the client over. first
	// are the body's first bytes, not yet framed; s.Head is empty. chunked says how the
	// HTTP/1.1 body is to be delimited.
	Serve func(w http.ResponseWriter, r *http.Request, s fanout.Subscriber, first []byte, chunked bool)
	// Stop ends the engine and waits for what it started.
	Stop func()
}

// Launch starts the engine under test.
type Launch func(t testing.TB, s Settings) Launched

// Run runs the suite, once per framing where that matters. Cases print the seed they
// draw from; SLUICE_SEED repeats one.
func Run(t *testing.T, launch Launch) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Launch, bool)
	}{
		{"starts", starts},
		{"readers come, are cut and resume", storm},
		{"a slow reader is dropped and loses nothing", slowDrop},
		{"a slow reader goes on from the store", slowBacklog},
		{"a slow reader goes on at the newest event", slowLatest},
		{"small receive buffers", smallBuffers},
		{"a reader that takes nothing is cut", stalls},
		{"heartbeats stand between events", heartbeats},
		{"life ends", life},
		{"cut", cut},
		{"cut hard", cutHard},
		{"told between events", told},
		{"checked again", rechecked},
		{"a plan's longest stream", planned},
		{"drain", drain},
		{"feed ends", feedEnds},
		{"client closes half", halfClose},
		{"client resets", resets},
		{"bytes after the request", pipelined},
		{"meters", meters},
		{"large events", largeEvents},
		{"an event larger than the window", oversize},
		{"a burst far beyond the window", burst},
		{"coalesce", coalesce},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, chunked := range map[string]bool{"identity": false, "chunked": true} {
				t.Run(name, func(t *testing.T) { c.run(t, launch, chunked) })
			}
		})
	}
}
