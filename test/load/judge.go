package load

import (
	"fmt"
	"time"
)

// Fault is something a client must not see. Its name is what reports say.
type Fault uint8

// The faults, worst first.
const (
	Lost       Fault = iota // an event is missing, and no gap was told
	Doubled                 // an event came twice
	Reordered               // an event came after a later one
	Corrupt                 // bytes that are no event stream, or a payload that its checksum contradicts
	IDMissing               // an event without an id, though others of the topic have one
	IDRepeated              // an event with the id of the event before
	IDDiffers               // two clients got the same event under different ids
	Late                    // delivered later than Cell.LateAfter
	Cut                     // the server ended a connection without a gateway.end
	Refused                 // an answer that is not 200 and an event stream
	faults
)

var faultNames = [faults]string{
	"lost", "doubled", "reordered", "corrupt", "id missing", "id repeated", "id differs", "late", "cut", "refused",
}

func (f Fault) String() string { return faultNames[f] }

// fatal says that a cell with this fault has failed. The others are named, and fail only a strict cell.
func (f Fault) fatal() bool { return f <= IDDiffers }

// Offence is the first case of a fault.
type Offence struct {
	Client int       `json:"client"`
	Topic  int       `json:"topic"`
	N      int64     `json:"n"`
	At     time.Time `json:"at"`
	What   string    `json:"what"`
}

// unknown is client.last before the first event of a client of which nobody knows where it must begin.
const unknown = -1

// maxHoles bounds what is remembered of one client's missing events, to tell late comers from doubles.
const maxHoles = 64

// hole is a run of events that a client has not got although later ones came.
type hole struct {
	from, to int64
	told     bool // a gateway.gap stood there
}

// client is one connection of the bench, with what it has seen. It belongs to its book: whoever holds the book's lock.
type client struct {
	parser
	index  int32
	topic  int32
	last   int64 // highest n seen; 0 = must begin with 1; unknown
	latest int64 // n of the newest event whose id is known, for messages

	gapped    bool // a gateway.gap came after the last event
	doublesOK bool // that gap said that seen events may return
	ended     bool // a gateway.end came
	everID    bool // an event of this client had an id
	live      bool // the head came and the connection stands
	everLive  bool
	returning bool // away since a mass resume, until it is back at the head
	slow      bool // reads slowly or never, on purpose: not timed

	dialed   int64 // ns: when the connection was begun
	caughtUp int64 // up to this n events are replays: the newest when the client asked for them
	sum      int64 // of counted latencies, µs
	count    int64 // of counted deliveries
	prevID   eventID
}

// event judges one dispatched event; the parser calls it.
func (b *book) event(c *client) {
	if !c.stamped || b.run.countOnly {
		b.unstamped(c)
		return
	}
	s := c.stamp
	if b.run.own && s.run != b.run.tag && s.run != 0 {
		b.foreign++ // of an earlier run, kept by the server
		return
	}
	if s.corrupt {
		b.fault(Corrupt, c, s.n, "checksum differs")
		if s.n == c.last+1 {
			c.last = s.n // it came, so it is not lost as well
		}
		return
	}
	b.judgeID(c, s.n)
	fresh := b.judgeOrder(c, s.n)
	if fresh {
		b.arrived(c, s)
	}
	c.gapped, c.doublesOK = false, false
}

// unstamped takes an event that says no number: a fault if the bench is the source, else it only counts.
func (b *book) unstamped(c *client) {
	if b.run.own {
		b.fault(Corrupt, c, c.last+1, "event without a payload of this bench")
		return
	}
	b.unjudged++
	if b.run.counting.Load() {
		b.delivered++
		c.count++
	}
}

// judgeOrder compares n with what the client has seen and says whether the event is new to it.
func (b *book) judgeOrder(c *client, n int64) bool {
	switch {
	case c.last == unknown || n == c.last+1:
		c.last = n
	case n > c.last:
		h := hole{c.last + 1, n - 1, c.gapped}
		b.addHole(c, h)
		c.last = n
	case b.fillHole(c.index, n):
		b.fault(Reordered, c, n, fmt.Sprintf("came after event %d", c.last))
	case c.doublesOK:
		b.toldDoubles++
		c.last = n // the gap said that the stream steps back
		return false
	default:
		b.fault(Doubled, c, n, fmt.Sprintf("came again, the last was %d", c.last))
		return false
	}
	return true
}

// addHole notes that events are missing. Whether they are lost shows only at the end: they may come late.
func (b *book) addHole(c *client, h hole) {
	if h.told {
		b.toldMissing += h.to - h.from + 1
		return
	}
	if len(b.holes[c.index]) >= maxHoles {
		b.lose(c, h)
		return
	}
	if b.holes == nil {
		b.holes = map[int32][]hole{}
	}
	b.holes[c.index] = append(b.holes[c.index], h)
}

// fillHole takes n out of the client's holes; false if it was in none.
func (b *book) fillHole(client int32, n int64) bool {
	list := b.holes[client]
	for i, h := range list {
		if n < h.from || n > h.to {
			continue
		}
		list[i] = hole{from: h.from, to: n - 1}
		if n < h.to {
			list = append(list, hole{from: n + 1, to: h.to})
		}
		if list[i].from > list[i].to {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
		}
		if len(list) == 0 {
			delete(b.holes, client)
		} else {
			b.holes[client] = list
		}
		return true
	}
	return false
}

// lose counts every event of a hole as lost.
func (b *book) lose(c *client, h hole) {
	b.fault(Lost, c, h.from, fmt.Sprintf("events %d to %d", h.from, h.to))
	b.counts[Lost] += h.to - h.from
}

// judgeID checks that ids are there, differ from event to event and agree between clients.
func (b *book) judgeID(c *client, n int64) {
	if !c.hasID {
		if c.everID {
			b.fault(IDMissing, c, n, "no id line")
		}
		return
	}
	if c.everID && c.latest != n && string(c.prevID.bytes()) == string(c.id.bytes()) {
		b.fault(IDRepeated, c, n, fmt.Sprintf("id %.80q is also that of event %d", c.id.bytes(), c.latest))
	}
	c.everID, c.latest, c.prevID = true, n, c.id
	b.agree(c, n)
}

// told takes one line of data of a gateway event.
func (b *book) told(c *client, kind uint8, data []byte) {
	reason := jsonWord(data, `"reason":"`)
	switch kind {
	case kindGap:
		c.gapped = true
		c.doublesOK = jsonWord(data, `"doubles":`) == "true"
		b.tell("gateway.gap " + reason)
	case kindEnd:
		c.ended = true
		b.tell("gateway.end " + reason)
	default:
		b.tell("gateway.* " + reason)
	}
}

// finish judges what only the end of the run shows: the holes that were never filled, and whether a client stopped
// before head, the number of its topic's last event (0 = nobody knows).
func (b *book) finish(c *client, head int64) {
	for _, h := range b.holes[c.index] {
		b.lose(c, h)
	}
	delete(b.holes, c.index)
	if head > 0 && c.last != unknown && c.last < head {
		b.lose(c, hole{from: c.last + 1, to: head})
	}
}

// jsonWord returns what follows key up to the next quote, comma or brace: enough for the gateway's own one-line objects.
func jsonWord(data []byte, key string) string {
	for i := 0; i+len(key) <= len(data); i++ {
		if string(data[i:i+len(key)]) != key {
			continue
		}
		rest := data[i+len(key):]
		for j, c := range rest {
			if c == '"' || c == ',' || c == '}' || j == 40 {
				return string(rest[:j])
			}
		}
		return string(rest)
	}
	return ""
}
