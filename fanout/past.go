package fanout

import (
	"bytes"

	"sluice/internal/broker"
)

// Sent is where a reader stands that was sent log bytes.
type Sent struct {
	// At is what it has; At.Next is where the entry it is in ends, its cursor if it stands
	// between entries.
	At Mark
	// Then is what it has once it got Rest, the missing bytes of that entry. Rest is
	// shared and never to be changed.
	Then Mark
	Rest []byte
}

// Past finds where a reader stands that stood at m, an entry boundary of v, and was sent
// the next n bytes of v. It reads the entries themselves, so that it knows what the log
// has given up meanwhile: no entry holds a blank line but at its end, and bodies no CR.
// The bytes lie in one segment. False means that they are no whole entries.
func (m Mark) Past(v View, n int, f Framing) (Sent, bool) {
	from := m.Next
	b, held := v.Bytes(from, int(v.Head()-from))
	if !held || n > len(b) {
		return Sent{}, false
	}
	blank := []byte("\n\n")
	if f == Chunked {
		blank = []byte("\n\n\r\n")
	}
	m.NextPos = broker.Position{} // may have been published since
	for at := 0; ; {
		if at == n {
			return Sent{At: m, Then: m}, true
		}
		i := bytes.Index(b[at:], blank)
		if i < 0 {
			return Sent{}, false
		}
		entry := b[at : at+i]
		at += i + len(blank)
		then := m
		then.Next = from + Cursor(at)
		if i := bytes.LastIndexByte(entry, '\n'); i >= 0 {
			if id, ok := bytes.CutPrefix(entry[i+1:], []byte("id: ")); ok {
				p, ok := ParseID(string(id))
				if !ok {
					return Sent{}, false
				}
				then.Pos = p
				then.Ord++
			}
		}
		if at > n {
			m.Next = then.Next
			return Sent{At: m, Then: then, Rest: b[n:at:at]}, true
		}
		m = then
	}
}
