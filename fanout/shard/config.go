package shard

import (
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/fanout"
)

// Errors of New and Adopt. After an error of Adopt the connection is still the caller's.
var (
	// ErrUnsupported: not on this system, or not this kind of connection.
	ErrUnsupported = errors.New("shard engine: unsupported")
	// ErrClosed: Run has returned.
	ErrClosed = errors.New("shard engine: closed")
	// ErrDraining: Drain was called; nobody new is taken.
	ErrDraining = errors.New("shard engine: draining")
)

// Config is what an Engine is made from. Only Ended has no default.
type Config struct {
	// Shards is how many goroutines share the sockets. Default: GOMAXPROCS; at most 64.
	// The process should run with GOMAXPROCS = Shards+1, else busy shards keep the
	// goroutines that read the broker waiting.
	Shards int
	// Slow replaces zero fields of Subscriber.Slow (the policy is always the
	// subscriber's). Defaults: stall 10s, lag 1 MiB, soft lag 256 KiB for 5s.
	Slow fanout.Slow
	// Heartbeat is the silence after which a client gets ":\n". Default 15s.
	Heartbeat time.Duration
	// EndBytes makes the last bytes of a stream that ends; nil = none are told.
	EndBytes fanout.EndBytes
	// Coalesce is the shortest time between two passes over one log. The first event
	// after a pause goes at once. Default 0: each event goes at once. At most 1s.
	Coalesce time.Duration
	// Ended is told of every adopted connection once, when its socket is closed. It is
	// called on a shard's goroutine: it must be cheap and must not block.
	Ended func(meta uint32, e fanout.End)
	// Logger is told of a drain that had to cut; never of a client. Default: nowhere.
	Logger *slog.Logger
	// Registerer takes the metrics; nil = none.
	Registerer prometheus.Registerer
}

const maxShards = 64

func (c Config) withDefaults() Config {
	if c.Shards <= 0 {
		c.Shards = runtime.GOMAXPROCS(0)
	}
	c.Shards = min(c.Shards, maxShards)
	c.Slow = fill(c.Slow, fanout.Slow{Stall: 10 * time.Second, Lag: 1 << 20, SoftLag: 256 << 10, SoftTime: 5 * time.Second})
	if c.Heartbeat <= 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.EndBytes == nil {
		c.EndBytes = func(dst []byte, _ fanout.Reason) []byte { return dst }
	}
	c.Coalesce = min(max(c.Coalesce, 0), time.Second)
	if c.Ended == nil {
		c.Ended = func(uint32, fanout.End) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// fill replaces the zero limits of s by those of d.
func fill(s, d fanout.Slow) fanout.Slow {
	if s.Stall <= 0 {
		s.Stall = d.Stall
	}
	if s.Lag <= 0 {
		s.Lag = d.Lag
	}
	if s.SoftLag <= 0 {
		s.SoftLag = d.SoftLag
	}
	if s.SoftTime <= 0 {
		s.SoftTime = d.SoftTime
	}
	if s.MaxAge <= 0 {
		s.MaxAge = d.MaxAge
	}
	return s
}
