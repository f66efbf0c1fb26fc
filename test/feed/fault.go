package feed

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind names a fault. FaultKinds lists all with their arguments.
type Kind string

// The faults. Those of the first group meet connections that are open, those of the second the next requests:
// injecting one of the second ends the open connections, so that their owners come back and meet it.
const (
	FIN         Kind = "fin"          // close in the middle of the next event
	RST         Kind = "rst"          // reset in the middle of the next event
	EOFInside   Kind = "eof"          // an orderly end of the body in the middle of the next event
	Stall       Kind = "stall"        // write nothing more, TCP alive
	Drip        Kind = "drip"         // from here one byte at a time
	CROnly      Kind = "cr"           // from here lines end with CR
	MixedEnds   Kind = "mixed"        // from here lines end with LF, CRLF and CR in turn
	LongLine    Kind = "line"         // one event with a single long data line
	Endless     Kind = "endless"      // data lines without a blank line, for ever
	EndlessLine Kind = "endless-line" // one data line, for ever
	LongComment Kind = "comment"      // one long comment line
	NUL         Kind = "nul"          // one event with a NUL in its data and in its id
	BadUTF8     Kind = "utf8"         // one event that is not UTF-8
	RetryLine   Kind = "retry"        // a retry line
	GatewayName Kind = "gateway-name" // one event named gateway.gap
	Burst       Kind = "burst"        // many events due at once
	Silence     Kind = "silence"      // no event for a while, then all that came due

	Status       Kind = "status"   // this status
	Redirect     Kind = "redirect" // 302 to a location
	RedirectLoop Kind = "redirect-loop"
	Forbidden    Kind = "redirect-forbidden" // 302 to the cloud metadata address
	HTML         Kind = "html"               // 200 text/html
	Gzip         Kind = "gzip"               // Content-Encoding: gzip
	Brotli       Kind = "br"                 // Content-Encoding: br
	BigHeaders   Kind = "headers"            // this many bytes of header
	Cookie       Kind = "cookie"             // Set-Cookie, then a normal stream
	LateHeaders  Kind = "late"               // a normal stream, after a while
	EndlessHead  Kind = "endless-head"       // a header line for ever
	Interim      Kind = "interim"            // 103 Early Hints, for ever
	NotHTTP      Kind = "not-http"           // the greeting of another protocol
	BadChunk     Kind = "bad-chunk"          // a stream whose first chunk has no length
	AcceptClose  Kind = "accept-close"       // close without an answer
	BOM          Kind = "bom"                // a byte order mark first
	BOMSplit     Kind = "bom-split"          // the same, byte by byte
)

// Fault is something a market does wrong.
type Fault struct {
	Kind Kind
	// Feed limits the fault to one feed; empty = every feed.
	Feed string
	// Byte is where FIN, RST and EOFInside cut an event; At says it in words instead: "id" (behind the id's
	// colon), "line" (in the middle of the data), "crlf" (between CR and LF), "rune" (inside a character).
	Byte int
	At   string
	// Size is the length of LongLine and LongComment, the number of events of Burst, the bytes of BigHeaders.
	Size int
	// For is how long Stall, Silence and LateHeaders last (Stall and Silence: 0 = until the client leaves), and
	// the pause between two bytes of Drip.
	For time.Duration
	// Code is the status of Status and Redirect.
	Code int
	// Text is the value of RetryLine, the location of Redirect, the Retry-After of Status.
	Text string
	// Times is how many requests meet a fault of the second group: 0 = one, negative = all until Clear.
	Times int

	inEvent bool // a cut whose event is due
}

// Step is one line of a script: Do happens once per feed before event AtN is sent, or, if AtN is 0, once on
// every feed that is open at After since New (or on the first to be opened then).
type Step struct {
	AtN   uint64
	After time.Duration
	Do    Fault
}

// kinds tells how each fault is asked for by hand: the argument's meaning, its default, and its group.
var kinds = []struct {
	kind    Kind
	arg     string // cut, for, size, code, text or empty
	initial string
	request bool
}{
	{FIN, "cut", "20", false}, {RST, "cut", "20", false}, {EOFInside, "cut", "20", false},
	{Stall, "for", "0s", false}, {Drip, "for", "10s", false}, {CROnly, "", "", false}, {MixedEnds, "", "", false},
	{LongLine, "size", "100MiB", false}, {Endless, "", "", false}, {EndlessLine, "", "", false},
	{LongComment, "size", "100MiB", false}, {NUL, "", "", false}, {BadUTF8, "", "", false},
	{RetryLine, "text", "10", false}, {GatewayName, "", "", false}, {Burst, "size", "1000", false},
	{Silence, "for", "90s", false},
	{Status, "code", "503", true}, {Redirect, "text", "/stream/ticks", true}, {RedirectLoop, "", "", true},
	{Forbidden, "", "", true}, {HTML, "", "", true}, {Gzip, "", "", true}, {Brotli, "", "", true},
	{EndlessHead, "", "", true}, {Interim, "", "", true}, {NotHTTP, "", "", true}, {BadChunk, "", "", true},
	{BigHeaders, "size", "1MiB", true}, {Cookie, "", "", true}, {LateHeaders, "for", "5s", true},
	{AcceptClose, "", "", true}, {BOM, "", "", true}, {BOMSplit, "", "", true},
}

// FaultKinds returns one line per fault for a help text, as "rst[:20]".
func FaultKinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = string(k.kind)
		if k.arg != "" {
			out[i] += "[:" + k.initial + "]"
		}
	}
	return out
}

// ParseFault reads NAME or NAME:ARG as ?fault= carries it: fin:17, rst:id, status:429/30 (with Retry-After),
// line:100MiB, late:5s, retry:abc.
func ParseFault(s string) (Fault, error) {
	name, arg, given := strings.Cut(s, ":")
	for _, k := range kinds {
		if string(k.kind) != name {
			continue
		}
		if k.arg == "" && given {
			return Fault{}, fmt.Errorf("fault %q takes no argument", name)
		}
		if !given {
			arg = k.initial
		}
		f := Fault{Kind: k.kind}
		if err := f.setArg(k.arg, arg); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
		return f, nil
	}
	return Fault{}, fmt.Errorf("fault %q: want one of %s", s, strings.Join(FaultKinds(), " "))
}

func (f *Fault) setArg(what, arg string) (err error) {
	switch what {
	case "cut":
		if f.Byte, err = strconv.Atoi(arg); err != nil {
			f.At, err = arg, checkPlace(arg)
		}
	case "for":
		f.For, err = time.ParseDuration(arg)
	case "size":
		f.Size, err = parseSize(arg)
	case "code":
		code, after, _ := strings.Cut(arg, "/")
		f.Text = after
		if f.Code, err = strconv.Atoi(code); err == nil && (f.Code < 200 || f.Code > 599) {
			err = fmt.Errorf("status %d", f.Code)
		}
	case "text":
		f.Text = arg
	}
	return err
}

func checkPlace(s string) error {
	switch s {
	case "id", "line", "crlf", "rune":
		return nil
	}
	return fmt.Errorf("place %q: want a number of bytes, id, line, crlf or rune", s)
}

// parseSize reads a count with an optional KiB, MiB or GiB.
func parseSize(s string) (int, error) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<40>>shift {
		return 0, fmt.Errorf("size %q", s)
	}
	return n << shift, nil
}

// meetsRequest says whether the fault belongs to the second group.
func (f Fault) meetsRequest() bool {
	for _, k := range kinds {
		if k.kind == f.Kind {
			return k.request
		}
	}
	return false
}
