package fanout

import "sluice/internal/broker"

// link is how a live message stands to the newest event appended.
type link uint8

const (
	linkNext   link = iota + 1 // it follows: append
	linkDouble                 // held already: drop
	linkBack                   // the log went backwards: a new life of the feed
	linkBroken                 // something is missing: repair
)

// chain compares a live message with the newest event appended, c; last is the
// feed's sequence before it as the broker saw it when it republished.
func chain(c broker.Position, m *broker.Message, last uint64) link {
	switch {
	case m.Seq <= c.Seq && m.Micros <= c.Micros:
		return linkDouble
	case m.Seq <= c.Seq:
		return linkBack
	case m.Micros < c.Micros: // the clock was set back, or one of the two is of another life
		return linkBroken
	case c.Seq > 0 && last == c.Seq:
		return linkNext
	case last == 0 && m.Link == c.Seq: // the one before expired, or there is none
		return linkNext
	}
	return linkBroken
}
