package feed

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options shape a market. The zero value is the market of Payload: twelve ticks a second of twenty-four
// symbols, numeric ids, Last-Event-ID honoured without limit, events counted from New.
type Options struct {
	// Start is the moment event numbers count from. Default: the moment of New. With a fixed start a restarted
	// market goes on where it would have been.
	Start time.Time
	// Rate is the number of events per second of /ticks and of every /any feed. Default 12.
	Rate float64
	// QuoteRate is the rate of the busiest symbol's quotes; the symbol of rank k has QuoteRate/k, and the last
	// quarter of the symbols tick once a minute. Default 4.
	QuoteRate float64
	// Rates sets the rate of single feeds by name, over Rate and QuoteRate.
	Rates map[string]float64
	// Burst multiplies every rate for the first BurstFor. Default: no burst.
	Burst    float64
	BurstFor time.Duration
	// Uneven scatters events within their slot of the timetable, as a real market does.
	Uneven bool
	// Manual switches the timetable off: only Emit makes events.
	Manual bool

	// Symbols is the number of symbols, at most 10,000. Default 24. Quotes of another symbol are answered 404.
	Symbols int
	// AnySymbol opens quotes of any symbol of 1 to 64 letters, digits, dots, underscores and dashes.
	AnySymbol bool

	// Size pads each payload to this many bytes, as far as it is not longer by itself. Default: no padding.
	Size int
	// Lines breaks each payload into this many data lines, 1 to 4. Default 1.
	Lines int
	// UTF8 adds a field of characters of two, three and four bytes.
	UTF8 bool

	// Event is the event type of every event. Default: none.
	Event string
	// CommentEvery puts a comment line before every so many events. Default: none.
	CommentEvery int
	// Heartbeat sends a comment after so much silence on a connection. Default: none.
	Heartbeat time.Duration
	// Retry is sent as the first line of every connection. Default: none.
	Retry time.Duration
	// CloseDelimited ends bodies by closing the connection; the default is chunked.
	CloseDelimited bool

	// IDs says what the events carry as id.
	IDs IDs
	// Resume says what a presented Last-Event-ID is good for.
	Resume Resume
	// Overlap makes a resume repeat that many events too many.
	Overlap int
	// Keep is how many events of a feed can still be asked for; older ones are gone. Default: all.
	Keep int

	// MaxFeeds bounds the feeds opened in the life of the market; a further one is answered 503. Default 10,000.
	MaxFeeds int
}

func (o Options) withDefaults() Options {
	o.Rate = orElse(o.Rate, 12)
	o.QuoteRate = orElse(o.QuoteRate, 4)
	o.Symbols = min(orElse(o.Symbols, len(symbolNames)), 10_000)
	o.Lines = min(max(o.Lines, 1), 4)
	o.MaxFeeds = orElse(o.MaxFeeds, 10_000)
	return o
}

func orElse[T int | float64](v, zero T) T {
	if v > 0 {
		return v
	}
	return zero
}

// IDs is what the events of a market carry as id.
type IDs int

// The id modes. Of the last four a reader must not keep an id as it stands: they repeat, or are not ids at all.
const (
	IDSeq    IDs = iota // the event number, decimal
	IDOpaque            // a word without visible order
	IDNone              // no id line
	IDSame              // one constant id
	IDBack              // falling from 1000 to 1, again and again
	IDLong              // more than 1,024 bytes
	IDNul               // with a NUL, which makes the line no id
)

var idNames = []string{"seq", "opaque", "none", "same", "back", "long", "nul"}

// String returns the name that ParseIDs reads.
func (i IDs) String() string { return idNames[i] }

// ParseIDs reads an id mode: seq, opaque, none, same, back, long or nul.
func ParseIDs(s string) (IDs, error) {
	for i, name := range idNames {
		if s == name {
			return IDs(i), nil
		}
	}
	return 0, fmt.Errorf("id mode %q: want one of %s", s, strings.Join(idNames, ", "))
}

// Resume is what a market does with a Last-Event-ID.
type Resume int

// The resume modes.
const (
	ResumeHonour Resume = iota // go on behind it; if that is no longer kept, with the oldest kept event
	ResumeIgnore               // live, whatever is presented
	ResumeRefuse               // 410 for an id that is no longer kept (Keep, or 256 if that is not set)
)

// ParseResume reads honour, ignore, refuse, overlap=K or keep=N, or several joined by commas, into o.
func (o *Options) ParseResume(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		name, arg, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(arg)
		switch {
		case word == "honour":
			o.Resume = ResumeHonour
		case word == "ignore":
			o.Resume = ResumeIgnore
		case word == "refuse":
			o.Resume = ResumeRefuse
		case name == "overlap" && err == nil && n >= 0:
			o.Overlap = n
		case name == "keep" && err == nil && n > 0:
			o.Keep = n
		default:
			return fmt.Errorf("resume mode %q: want honour, ignore, refuse, overlap=K or keep=N", word)
		}
	}
	return nil
}
