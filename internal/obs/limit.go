package obs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of a Limiter.
const (
	limitPerSecond = 10
	limitKeys      = 1024
)

// Limiter lets at most ten records per second of one message through, for records
// of level warn and above. The next one let through says how many were kept back
// (suppressed=n). Less severe records pass untouched: those are bounded where they
// are made. Safe for concurrent use.
type Limiter struct {
	now        func() time.Time
	suppressed *prometheus.CounterVec // nil without a registry

	mu   sync.Mutex // guards seen
	seen map[string]*limitWindow
}

type limitWindow struct {
	start      time.Time
	passed     int
	suppressed int
}

// NewLimiter makes a Limiter. now and reg may be nil (wall clock, no metric).
func NewLimiter(now func() time.Time, reg prometheus.Registerer) *Limiter {
	if now == nil {
		now = time.Now
	}
	l := &Limiter{now: now, seen: map[string]*limitWindow{}}
	if reg != nil {
		l.suppressed = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_log_suppressed_total",
			Help: "Log records kept back because the same message came more than ten times in a second.",
		}, []string{"level"})
		reg.MustRegister(l.suppressed)
	}
	return l
}

// Handler wraps h.
func (l *Limiter) Handler(h slog.Handler) slog.Handler { return &limitHandler{limiter: l, next: h} }

// pass reports whether a record with this message may be written now, and how many
// were kept back before it.
func (l *Limiter) pass(message string) (ok bool, suppressed int) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.seen[message]
	if w == nil {
		if len(l.seen) >= limitKeys {
			l.forget(now)
		}
		w = &limitWindow{start: now}
		l.seen[message] = w
	}
	if now.Sub(w.start) >= time.Second {
		w.start, w.passed = now, 0
	}
	if w.passed >= limitPerSecond {
		w.suppressed++
		return false, 0
	}
	w.passed++
	suppressed, w.suppressed = w.suppressed, 0
	return true, suppressed
}

// forget makes room: windows that ended, or all of them.
func (l *Limiter) forget(now time.Time) {
	for k, w := range l.seen {
		if now.Sub(w.start) >= time.Second {
			delete(l.seen, k)
		}
	}
	if len(l.seen) >= limitKeys {
		clear(l.seen)
	}
}

type limitHandler struct {
	limiter *Limiter
	next    slog.Handler
}

func (h *limitHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *limitHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	ok, n := h.limiter.pass(r.Message)
	if !ok {
		if c := h.limiter.suppressed; c != nil {
			c.WithLabelValues(r.Level.String()).Inc()
		}
		return nil
	}
	if n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", n))
	}
	return h.next.Handle(ctx, r)
}

func (h *limitHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limitHandler{limiter: h.limiter, next: h.next.WithAttrs(attrs)}
}

func (h *limitHandler) WithGroup(name string) slog.Handler {
	return &limitHandler{limiter: h.limiter, next: h.next.WithGroup(name)}
}
