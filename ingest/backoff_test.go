package ingest

import (
	"testing"
	"time"

	"sluice/config"
)

func TestBackoff(t *testing.T) {
	cfg := config.Default().Upstream.Backoff
	for range 50 {
		b := backoff{cfg: cfg}
		for n := 1; n <= 40; n++ {
			d := b.next()
			most := min(cfg.Base<<min(n-1, 20), cfg.Max)
			switch {
			case n > steadyAfter && (d < cfg.Max || d > cfg.Max*12/10+1):
				t.Fatalf("failure %d: %s, want the longest and a bit", n, d)
			case n <= steadyAfter && d > most:
				t.Fatalf("failure %d: %s, want at most %s", n, d, most)
			case n >= 2 && d < minRetry:
				t.Fatalf("failure %d: %s is below the floor", n, d)
			}
		}
		b.fine()
		if d := b.next(); d > cfg.Base {
			t.Fatalf("first failure again: %s", d)
		}
	}
}

func TestRetryIsClamped(t *testing.T) {
	for ms, want := range map[uint64]time.Duration{0: minRetry, 499: minRetry, 2000: 2 * time.Second, 60_001: maxRetry,
		1_000_000_000_000: maxRetry, 1<<63 - 1: maxRetry, 1<<64 - 1: maxRetry} {
		var b backoff
		if b.retry(ms); b.base != want {
			t.Errorf("retry %d: base %s, want %s", ms, b.base, want)
		}
	}
}
