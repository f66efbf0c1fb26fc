package fanout

import "sluice/internal/broker"

// fact is what a read says of the first event at or after an anchor.
type fact struct {
	pos  broker.Position // zero = there is none
	link uint64          // sequence of the feed's event before it, 0 = none
}

// verdict is what an anchor turned out to be.
type verdict uint8

const (
	anchorHeld verdict = iota + 1 // it is stored: what follows it is next
	// It aged out and nothing else is missing: the fact is next. A link names a sequence and no time, so an id from before
	// the store was restored is taken for this if its sequence was used again and that event, too, is gone.
	anchorTrimmed
	anchorExpired // it aged out and so did events behind it
	anchorReset   // of another life of the log
	anchorUnknown // never was in this feed
	anchorAhead   // nothing is stored at or after it
)

// judge decides what the anchor p is, from the first event f stored at or after it
// and the sequence with which the stream was created. possible is set where loss is
// not proven. Rows in the order of the edge contract.
func judge(p broker.Position, f fact, firstSeq uint64) (v verdict, possible bool) {
	switch {
	case f.pos == p && p.Seq > 0:
		return anchorHeld, false
	case f.pos.Seq > p.Seq && f.link == p.Seq:
		return anchorTrimmed, false
	case f.pos.Seq == p.Seq && p.Seq > 0, p.Seq < firstSeq:
		return anchorReset, true
	case f.pos.IsZero():
		return anchorAhead, true
	case f.link == 0:
		return anchorExpired, true
	case f.link > p.Seq:
		return anchorExpired, false
	}
	return anchorUnknown, true
}
