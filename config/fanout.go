package config

import "time"

// Fanout is how events get from the broker to client sockets.
type Fanout struct {
	// Engine is auto (sockets written by shards on Linux, else portable) or portable (one goroutine per client). Default
	// auto. portable is for comparison and for finding faults.
	Engine string `json:"engine"`
	// Shards is how many goroutines own client sockets. Default 0: one per CPU, at most 64.
	Shards int `json:"shards"`
	// Memory is the share of the process memory limit that logs, indexes and backlog blocks may take together. Default 25%.
	// 1%–80%.
	Memory Ratio `json:"memory"`
	// Linger keeps a feed's log without subscribers. Default 30s. 0 closes at once; at most 1h.
	Linger time.Duration `json:"linger"`
	// Heartbeat is the silence after which a client gets a comment. Default 15s. 5s–40s: some polyfills give up at 45 s. An
	// API's client.heartbeat wins.
	Heartbeat time.Duration `json:"heartbeat"`
	// Window is how much of a feed its log holds; what is older comes from the broker.
	Window FanoutWindow `json:"window"`
	// Blocks are encoded pieces of backlog shared by clients that resume.
	Blocks FanoutBlocks `json:"blocks"`
	// Slow says when a client is too slow, and what then.
	Slow FanoutSlow `json:"slow"`
	// Life ends streams now and then, so that load spreads again after nodes came or went.
	Life FanoutLife `json:"life"`
	// Drain is how streams are ended at shutdown.
	Drain FanoutDrain `json:"drain"`
	// Coalesce trades latency for fewer writes.
	Coalesce FanoutCoalesce `json:"coalesce"`
}

// FanoutWindow is how much of a feed its log holds, whichever bound comes first.
type FanoutWindow struct {
	// Bytes per feed. Default 8MiB. 256KiB–1GiB.
	Bytes Bytes `json:"bytes"`
	// Age of the oldest event held. Default 2m. 1s–24h.
	Age time.Duration `json:"age"`
}

// FanoutBlocks are encoded pieces of backlog shared by clients that resume.
type FanoutBlocks struct {
	// Bytes of all blocks held. Default 64MiB. 1MiB–64GiB.
	Bytes Bytes `json:"bytes"`
	// Fetches is how many broker reads run at once. Default 16. 1–256.
	Fetches int `json:"fetches"`
}

// FanoutSlow says when a client is too slow, and what then.
type FanoutSlow struct {
	// Policy is drop (close; the client resumes), backlog (serve it from the store, lossless) or latest (skip to the newest
	// event after a told gap). Default drop. An API's or topic's slow wins.
	Policy SlowPolicy `json:"policy"`
	// Stall is how long a socket may accept no byte before it is closed, whatever the policy. Default 10s. 1s–5m.
	Stall time.Duration `json:"stall"`
	// Lag is how many bytes behind a live client may be at all. Default 1MiB. 64KiB–1GiB.
	Lag Bytes `json:"lag"`
	// SoftLag is how many bytes behind a live client may be for SoftTime. Default 256KiB. At most Lag.
	SoftLag Bytes `json:"softLag"`
	// SoftTime is how long a live client may be SoftLag behind. Default 5s. 100ms–5m.
	SoftTime time.Duration `json:"softTime"`
	// MaxAge is how old the oldest unsent event may get. Default 0: no such limit; 2s suits policy latest. At most 1h.
	MaxAge time.Duration `json:"maxAge"`
}

// FanoutLife ends streams now and then.
type FanoutLife struct {
	// Max is the mean life of a stream. Default 15m. 0 = without end; else 10s–7d.
	Max time.Duration `json:"max"`
	// Jitter is by how much a single life may differ from Max, so that ends never bunch. Default 20%. At most 50%.
	Jitter Ratio `json:"jitter"`
}

// FanoutDrain is how streams are ended at shutdown.
type FanoutDrain struct {
	// Over is the time over which streams are ended evenly. Default 30s. 0–30m.
	Over time.Duration `json:"over"`
}

// FanoutCoalesce trades latency for fewer writes.
type FanoutCoalesce struct {
	// HTTP1 is the write interval of plaintext HTTP/1.1 clients: events that arrive within it go out in one write. Default 0:
	// each pass writes at once. At most 1s.
	HTTP1 time.Duration `json:"http1"`
}

// SlowPolicy is what happens to a client that is too slow.
type SlowPolicy string

// The policies for slow clients.
const (
	SlowDrop    SlowPolicy = "drop"    // close; the client resumes
	SlowBacklog SlowPolicy = "backlog" // serve from the store, lossless
	SlowLatest  SlowPolicy = "latest"  // skip to the newest event after a told gap
)

func defaultFanout() Fanout {
	return Fanout{
		Engine:    "auto",
		Memory:    0.25,
		Linger:    30 * seconds,
		Heartbeat: 15 * seconds,
		Window:    FanoutWindow{Bytes: 8 * MiB, Age: 2 * time.Minute},
		Blocks:    FanoutBlocks{Bytes: 64 * MiB, Fetches: 16},
		Slow: FanoutSlow{Policy: SlowDrop, Stall: 10 * seconds, Lag: MiB, SoftLag: 256 * KiB,
			SoftTime: 5 * seconds},
		Life:  FanoutLife{Max: 15 * time.Minute, Jitter: 0.2},
		Drain: FanoutDrain{Over: 30 * seconds},
	}
}
