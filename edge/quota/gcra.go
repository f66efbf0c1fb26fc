package quota

import "time"

// Rate is Events per Per, Burst of them at once (at least one; 0 = Events). Events 0 = no limit.
type Rate struct {
	Events int
	Per    time.Duration
	Burst  int
}

// interval is the time between two events at this rate, in whole microseconds: what the script in Redis counts in.
func (r Rate) interval() int64 { return max(1, r.Per.Microseconds()/int64(max(r.Events, 1))) }

// tolerance is how far the theoretical arrival time may lie ahead of the clock.
func (r Rate) tolerance() int64 {
	burst := r.Burst
	if burst <= 0 {
		burst = max(r.Events, 1)
	}
	return r.interval() * int64(burst)
}

// gcra takes up to n events at now, in microseconds; tat is the theoretical arrival time, what the algorithm remembers. It answers how
// many, what to remember, and, if fewer than n, the time until there is one.
func (r Rate) gcra(tat, now int64, n int) (got int, next int64, wait time.Duration) {
	step, ahead := r.interval(), r.tolerance()
	tat = max(tat, now)
	got = int(min(int64(n), max(0, (now+ahead-tat)/step)))
	next = tat + int64(got)*step
	if got < n {
		wait = time.Duration(max(1, next+step-ahead-now)) * time.Microsecond
	}
	return got, next, wait
}

// Shaper lets the events of one connection through at a rate. The zero value of at is ready; it belongs to one goroutine at a time.
type Shaper struct {
	Rate Rate
	tat  int64
}

// Take is how many of n events may go at now and, if not all, when there is one more.
func (s *Shaper) Take(now time.Time, n int) (got int, again time.Time) {
	got, tat, wait := s.Rate.gcra(s.tat, now.UnixMicro(), n)
	s.tat = tat
	return got, now.Add(wait)
}

// Give returns events that were taken and did not go.
func (s *Shaper) Give(n int) { s.tat -= int64(n) * s.Rate.interval() }
