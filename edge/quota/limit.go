package quota

import "time"

// Unit is what windows are measured in.
type Unit string

// The units. Plans have no Second: it is for tests, which cannot wait for a minute.
const (
	Second Unit = "second"
	Minute Unit = "minute"
	Hour   Unit = "hour"
	Day    Unit = "day"
	Month  Unit = "month"
	Year   Unit = "year"
)

// MaxEvents bounds the events of a limit; more is as good as no limit.
const MaxEvents = 1 << 40

// Limit is how many events a window of Every × Unit holds.
type Limit struct {
	Events int64
	Every  int
	Unit   Unit
}

// events is Events within what a Bucket can hold.
func (l Limit) events() int64 { return min(max(l.Events, 0), MaxEvents) }

// Window is a span of time that a limit is for: Start is in it, End is not.
type Window struct{ Start, End time.Time }

// Holds tells whether t is in w.
func (w Window) Holds(t time.Time) bool { return !t.Before(w.Start) && t.Before(w.End) }

// Window is the one that t is in. Windows are aligned in UTC: seconds to days to the beginning of 1970, months and years to the
// calendar.
func (l Limit) Window(t time.Time) Window {
	every := max(l.Every, 1)
	t = t.UTC()
	switch l.Unit {
	case Month:
		months := (t.Year()-1970)*12 + int(t.Month()) - 1
		from := floor(months, every)
		return Window{month(from), month(from + every)}
	case Year:
		from := floor(t.Year()-1970, every)
		return Window{month(from * 12), month((from + every) * 12)}
	}
	length := every * l.Unit.seconds()
	from := time.Unix(int64(floor(int(t.Unix()), length)), 0).UTC()
	return Window{from, from.Add(time.Duration(length) * time.Second)}
}

func (u Unit) seconds() int {
	switch u {
	case Second:
		return 1
	case Hour:
		return 3600
	case Day:
		return 86400
	}
	return 60
}

// floor is the greatest multiple of every that is at most n.
func floor(n, every int) int {
	n -= n % every
	return n
}

// month is the beginning of a month counted from January 1970.
func month(n int) time.Time { return time.Date(1970, time.Month(1+n), 1, 0, 0, 0, 0, time.UTC) }
