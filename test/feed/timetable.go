package feed

import (
	"math"
	"time"
)

// timetable says when event n is due, whatever anybody reads: an open loop. All arithmetic is exact, so that
// count(at(n)) ≥ n always holds.
type timetable struct {
	period   int64 // ns between events; 0 = never
	burst    int64 // ns between events of the opening burst; 0 = no burst
	burstFor int64 // ns
	uneven   uint64
}

func newTimetable(rate, factor float64, length time.Duration, uneven uint64) timetable {
	if rate <= 0 {
		return timetable{}
	}
	t := timetable{period: max(1, int64(math.Round(1e9/rate))), uneven: uneven}
	if factor > 1 && length > 0 {
		t.burst = max(1, int64(float64(t.period)/factor))
		t.burstFor = int64(length)
	}
	return t
}

// at returns the time since the start at which event n ≥ 1 is due.
func (t timetable) at(n uint64) time.Duration {
	if t.period == 0 {
		return math.MaxInt64
	}
	k, from, step := int64(n), int64(0), t.period
	if t.burst > 0 {
		if many := t.burstFor / t.burst; k <= many {
			step = t.burst
		} else {
			k, from = k-many, t.burstFor
		}
	}
	due := from + k*step
	if t.uneven != 0 {
		due += int64(hash3(t.uneven, n, 0x7177e5) % uint64(step))
	}
	return time.Duration(due)
}

// count returns how many events are due at d after the start.
func (t timetable) count(d time.Duration) uint64 {
	if t.period == 0 || d <= 0 {
		return 0
	}
	n := int64(d) / t.period
	if t.burst > 0 {
		n = min(int64(d), t.burstFor) / t.burst
		if int64(d) > t.burstFor {
			n = t.burstFor/t.burst + (int64(d)-t.burstFor)/t.period
		}
	}
	if t.uneven != 0 && n > 0 && t.at(uint64(n)) > d {
		n--
	}
	return uint64(n)
}
