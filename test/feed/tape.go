package feed

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Payload returns the data of event n ≥ 1 of a feed in the market of this seed with default Options: one JSON
// line {"f":feed,"n":n,"t":µs,"s":symbol,"b":bid,"a":ask,"v":volume,"c":crc}, the same bytes for ever.
//
// t is when the event is due, in µs since the start of the market; c is the CRC-32C of what stands before
// `,"c"`, in hexadecimal.
func Payload(seed uint64, feed string, n uint64) []byte {
	return NewTape(seed, Options{}).Append(nil, feed, n)
}

// Tape knows everything a market will ever say: what event n of a feed is and when it is due. It is immutable
// and safe for concurrent use; a Tape made from the same seed and Options says the same.
type Tape struct {
	seed    uint64
	o       Options
	symbols []string
	ranks   map[string]int
	sums    []uint64
	crc     *crc32.Table
}

// NewTape returns the tape of a market.
func NewTape(seed uint64, o Options) *Tape {
	o = o.withDefaults()
	t := &Tape{seed: seed, o: o, symbols: symbols(o.Symbols), sums: zipf(o.Symbols), crc: crc32.MakeTable(crc32.Castagnoli)}
	t.ranks = make(map[string]int, len(t.symbols))
	for i, s := range t.symbols {
		t.ranks[s] = i
	}
	return t
}

// Symbols returns the symbols of the market, the busiest first. The caller must not change the slice.
func (t *Tape) Symbols() []string { return t.symbols }

// Due returns when event n of a feed is due, since the start of the market.
func (t *Tape) Due(feed string, n uint64) time.Duration { return t.timetable(feed).at(n) }

// Count returns how many events of a feed are due at d after the start.
func (t *Tape) Count(feed string, d time.Duration) uint64 { return t.timetable(feed).count(d) }

// Append appends the data of event n ≥ 1 of a feed.
func (t *Tape) Append(dst []byte, feed string, n uint64) []byte {
	return t.append(dst, feed, n, t.timetable(feed))
}

// append is Append for callers that know the feed's timetable.
func (t *Tape) append(dst []byte, feed string, n uint64, table timetable) []byte {
	var due int64
	if table.period > 0 {
		due = int64(table.at(n) / time.Microsecond)
	}
	symbol := t.symbolOf(feed, n)
	bid, ask, volume := quote(hash3(t.seed, hashText(symbol), 1), due, n^t.feedKey(feed))

	from := len(dst)
	dst = append(dst, `{"f":`...)
	dst = appendJSON(dst, feed)
	dst = strconv.AppendUint(append(dst, `,"n":`...), n, 10)
	dst = strconv.AppendInt(append(dst, `,"t":`...), due, 10)
	dst = t.breakLine(dst, 4)
	dst = appendJSON(append(dst, `,"s":`...), symbol)
	dst = t.breakLine(dst, 2)
	dst = appendCents(append(dst, `,"b":`...), bid)
	dst = appendCents(append(dst, `,"a":`...), ask)
	dst = t.breakLine(dst, 3)
	dst = strconv.AppendInt(append(dst, `,"v":`...), volume, 10)
	if t.o.UTF8 {
		dst = append(dst, `,"u":"é 価格 €📈"`...)
	}
	dst = t.pad(dst, from, n)
	sum := crc32.Checksum(dst[from:], t.crc)
	dst = append(dst, `,"c":"`...)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(dst, `"}`...)
}

const (
	crcLength = len(`,"c":"00000000"}`)
	padLength = len(`,"x":""`)
)

// pad fills the payload that began at from up to Size, with a field of letters or, if that has no room, spaces.
func (t *Tape) pad(dst []byte, from int, n uint64) []byte {
	room := t.o.Size - (len(dst) - from) - crcLength
	if room <= 0 {
		return dst
	}
	if room < padLength {
		return append(dst, "       "[:room]...)
	}
	dst = append(dst, `,"x":"`...)
	h := hash3(t.seed, n, 0xf111)
	for i := range room - padLength {
		if i%12 == 0 {
			h = mix(h + 1)
		}
		dst = append(dst, 'a'+byte(h>>(i%12*5))%26)
	}
	return append(dst, '"')
}

// breakLine ends a data line here if the payloads have at least as many lines.
func (t *Tape) breakLine(dst []byte, lines int) []byte {
	if t.o.Lines >= lines {
		return append(dst, '\n')
	}
	return dst
}

// symbolOf returns the symbol of event n: a quote feed's own, elsewhere one chosen by Zipf's law.
func (t *Tape) symbolOf(feed string, n uint64) string {
	if s, ok := strings.CutPrefix(feed, "/quotes/"); ok {
		return s
	}
	return t.symbols[pick(t.sums, hash3(t.feedKey(feed), n, 0x21bf))]
}

func (t *Tape) timetable(feed string) timetable {
	if t.o.Manual {
		return timetable{}
	}
	var uneven uint64
	if t.o.Uneven {
		uneven = t.feedKey(feed) | 1
	}
	return newTimetable(t.rate(feed), t.o.Burst, t.o.BurstFor, uneven)
}

func (t *Tape) rate(feed string) float64 {
	if r, ok := t.o.Rates[feed]; ok {
		return r
	}
	symbol, ok := strings.CutPrefix(feed, "/quotes/")
	if !ok {
		return t.o.Rate
	}
	rank, ok := t.ranks[symbol]
	if !ok || rank >= len(t.symbols)-len(t.symbols)/4 {
		return 1.0 / 60
	}
	return t.o.QuoteRate / float64(rank+1)
}

func (t *Tape) feedKey(feed string) uint64 { return hash3(t.seed, hashText(feed), 0) }

// Identify reads the feed and the number out of a payload; ok says that data begins like one. Whether the
// payload is genuine only a comparison with Append's bytes can tell.
func Identify(data []byte) (feed []byte, n uint64, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"f":"`))
	if !ok {
		return nil, 0, false
	}
	feed, rest, ok = bytes.Cut(rest, []byte(`","n":`))
	if !ok {
		return nil, 0, false
	}
	digits := 0
	for digits < len(rest) && digits < 19 && rest[digits] >= '0' && rest[digits] <= '9' {
		n = n*10 + uint64(rest[digits]-'0')
		digits++
	}
	return feed, n, digits > 0
}

// appendJSON appends s, which is printable ASCII without quotes and backslashes, as a JSON string.
func appendJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendCents appends an amount of cents with two decimals.
func appendCents(dst []byte, cents int64) []byte {
	dst = strconv.AppendInt(dst, cents/100, 10)
	return append(dst, '.', byte('0'+cents%100/10), byte('0'+cents%10))
}
