package oracle

import (
	"cmp"
	"slices"
	"time"
)

// upstreamConn is one open connection to the upstream, as the upstream saw it.
type upstreamConn struct {
	peer string
	at   int64 // when it opened
}

// conn counts the upstream connections of a feed: never two of living processes for longer than the run allows.
func (j *Judge) conn(s *source, f Fact) {
	if f.Edge == Open {
		s.conns = append(s.conns, upstreamConn{f.Peer, f.At})
		return
	}
	i := slices.IndexFunc(s.conns, func(c upstreamConn) bool { return c.peer == f.Peer })
	if i < 0 {
		j.v.void("the upstream closed a connection of %q that it did not open", f.Peer)
		return
	}
	c := s.conns[i]
	s.conns = slices.Delete(s.conns, i, i+1)
	if died, ok := j.death(c.at); ok {
		j.v.Unnoticed = max(j.v.Unnoticed, time.Duration(f.At-died)*time.Microsecond)
	}
	for _, other := range s.conns {
		if both := j.overlap(c, other, f.At); both > j.run.Overlap {
			j.v.find("I9", &track{feed: f.Feed}, "two upstream connections, of %s and %s, for %v", cmp.Or(c.peer, "?"),
				cmp.Or(other.peer, "?"), time.Duration(both)*time.Microsecond)
		}
	}
}

// overlap is how long two connections were open at once until the moment given, in µs: a connection ends with its process,
// whenever the upstream notices.
func (j *Judge) overlap(a, b upstreamConn, until int64) int64 {
	if died, ok := j.death(min(a.at, b.at)); ok {
		until = min(until, died)
	}
	return until - max(a.at, b.at)
}

// death is when the process that lived at that time ended.
func (j *Judge) death(at int64) (died int64, ok bool) {
	i, _ := slices.BinarySearch(j.deaths, at)
	if i == len(j.deaths) {
		return 0, false
	}
	return j.deaths[i], true
}

// living is how many connections are left whose process has not ended.
func (j *Judge) living(s *source) (n int) {
	for _, c := range s.conns {
		if _, died := j.death(c.at); !died {
			n++
		}
	}
	return n
}
