package edge

import (
	"errors"
	"sync"
	"time"

	"sluice/internal/problem"
)

// linesPerSecond is how many log lines of one event are written in a second.
const linesPerSecond = 10

// lines bounds log lines by event. The events are a fixed set, so the table is
// bounded. Safe for concurrent use.
type lines struct {
	now func() time.Time

	mu   sync.Mutex // guards seen
	seen map[string]*lineWindow
}

type lineWindow struct {
	start      time.Time
	passed     int
	suppressed int
}

func newLines(now func() time.Time) *lines { return &lines{now: now, seen: map[string]*lineWindow{}} }

// pass reports whether a line may be written, and how many were kept back before it.
func (l *lines) pass(event string) (ok bool, suppressed int) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.seen[event]
	if w == nil {
		w = &lineWindow{start: now}
		l.seen[event] = w
	}
	if now.Sub(w.start) >= time.Second {
		w.start, w.passed = now, 0
	}
	if w.passed >= linesPerSecond {
		w.suppressed++
		return false, 0
	}
	w.passed++
	suppressed, w.suppressed = w.suppressed, 0
	return true, suppressed
}

// causeOf is the part of a refusal's error that only the log may see, "" for none.
func causeOf(err error) string {
	var e *problem.Error
	if errors.As(err, &e) {
		if e.Err != nil {
			return e.Err.Error()
		}
		return ""
	}
	var k problem.Kind
	if errors.As(err, &k) && string(k) == err.Error() {
		return ""
	}
	return err.Error()
}
