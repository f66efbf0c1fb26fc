// Package rate measures how often something happens: per feed, so that a page of feeds can say events per second without
// anybody sampling them. Read rate.go, which is all of it. It has no goroutine.
package rate

import (
	"math"
	"time"
)

// memory is how long a Meter remembers: after so long a change of pace has reached 63 % of its effect.
const memory = 5 * time.Second

// Meter is the rate of something over the last seconds, the newest counting most. The zero value is ready. Its owner
// guards it.
type Meter struct {
	perSecond float64 // at the time at
	at        time.Time
}

// Add counts n things that happened by now.
func (m *Meter) Add(n int, now time.Time) {
	m.perSecond = m.PerSecond(now) + float64(n)/memory.Seconds()
	m.at = now
}

// PerSecond is the rate as of now. It fades to 0 when nothing is added.
func (m *Meter) PerSecond(now time.Time) float64 {
	if m.perSecond == 0 {
		return 0
	}
	age := max(0, now.Sub(m.at))
	return m.perSecond * math.Exp(-age.Seconds()/memory.Seconds())
}
