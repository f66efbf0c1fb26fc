package edge

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/problem"
)

// Bounds of what a request may say about its start.
const (
	maxEventID = 1024 // bytes of a presented id
	maxLast    = 1000 // events of from=last:N
)

// control is the set of gateway events a client asked for.
type control uint8

const (
	controlLive control = 1 << iota
	controlStale
	controlBookmark
)

// startKind names a start in the access log.
type startKind uint8

const (
	startLive startKind = iota
	startEarliest
	startLast
	startSince
	startID
)

// String is the name in the log.
func (k startKind) String() string {
	return [...]string{"live", "earliest", "last", "since", "id"}[k]
}

// choice is what a request says about its stream: where to begin and what it wants
// to be told.
type choice struct {
	kind startKind
	at   fanout.At
	// otherwise is where to go on if the presented id is useless; only with an id.
	otherwise    fanout.At
	control      control
	errorsStatus bool // errors=status: real 429 and 503
}

// asked holds the known query parameters of a request, raw and decoded once.
type asked struct {
	id      *string // by one of three names
	since   *string
	from    *string
	control *string
	errors  *string
	token   bool // access_token or apikey is there
}

// readQuery picks the known names out of a raw query. Unknown ones are passed over,
// whatever they hold: they may belong to the feed.
func readQuery(raw string) (asked, error) {
	var a asked
	idName := ""
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			continue
		}
		var slot **string
		switch name {
		case "lastEventId", "last_event_id", "Last-Event-ID":
			if a.id != nil && idName != name {
				return a, badParam(name, "given beside "+idName)
			}
			slot, idName = &a.id, name
		case "since":
			slot = &a.since
		case "from":
			slot = &a.from
		case "control":
			slot = &a.control
		case "errors":
			slot = &a.errors
		case "access_token", "apikey":
			a.token = true
			continue
		default:
			continue
		}
		if *slot != nil {
			return a, badParam(name, "repeated")
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return a, badParam(name, "broken percent escape")
		}
		*slot = &value
	}
	return a, nil
}

// readChoice reads where a stream begins: id, else since, else from, else the
// topic's start. The Last-Event-ID header beats the query's id, because a native
// reconnect keeps the old query and sends the newer header. now decides what is
// future.
func readChoice(h http.Header, rawQuery string, topic catalog.Start, now time.Time) (choice, error) {
	var c choice
	a, bad := readQuery(rawQuery)
	if bad != nil {
		return c, bad
	}
	if bad := c.readOptions(a); bad != nil {
		return c, bad
	}
	kind, start, bad := readStart(a, topic, now)
	if bad != nil {
		return c, bad
	}
	c.kind, c.at = kind, start
	id, bad := presentedID(h, a)
	switch {
	case bad != nil:
		return c, bad
	case id == "":
		return c, nil
	case id == "earliest":
		c.kind, c.at = startEarliest, fanout.At{Kind: fanout.AtEarliest}
		return c, nil
	}
	c.kind, c.otherwise = startID, start
	if pos, ok := fanout.ParseID(id); ok {
		c.at = fanout.At{Kind: fanout.AtID, Pos: pos}
		return c, nil
	}
	c.at = fanout.At{Kind: fanout.AtBadID}
	return c, nil
}

// readOptions reads control= and errors=.
func (c *choice) readOptions(a asked) error {
	if a.errors != nil {
		if *a.errors != "status" {
			return badParam("errors", "want status")
		}
		c.errorsStatus = true
	}
	if a.control == nil {
		return nil
	}
	for name := range strings.SplitSeq(*a.control, ",") {
		switch name {
		case "live":
			c.control |= controlLive
		case "stale":
			c.control |= controlStale
		case "bookmark":
			c.control |= controlBookmark
		default:
			return badParam("control", "want a list of live, stale, bookmark")
		}
	}
	return nil
}

// presentedID is the last event id that counts, "" for none.
func presentedID(h http.Header, a asked) (string, error) {
	values := h["Last-Event-Id"]
	if len(values) > 1 {
		return "", refuse(problem.DuplicateHeader, "Last-Event-ID was sent more than once.")
	}
	id := ""
	if len(values) == 1 {
		id = values[0]
	}
	if id == "" && a.id != nil {
		id = *a.id
	}
	if len(id) > maxEventID {
		return "", refuse(problem.InvalidLastEventID, "The id is longer than 1024 bytes.")
	}
	for i := range len(id) {
		if id[i] < 0x20 || id[i] == 0x7f {
			return "", refuse(problem.InvalidLastEventID, "The id holds a control character.")
		}
	}
	return id, nil
}

// readStart reads the start without an id.
func readStart(a asked, topic catalog.Start, now time.Time) (startKind, fanout.At, error) {
	if a.since != nil && a.from != nil {
		return 0, fanout.At{}, badParam("since", "given beside from")
	}
	if a.since != nil {
		t, ok := parseSince(*a.since)
		if !ok {
			return 0, fanout.At{}, badParam("since", "not RFC 3339")
		}
		if t.After(now) {
			return startLive, fanout.At{Kind: fanout.AtLive}, nil
		}
		return startSince, fanout.At{Kind: fanout.AtSince, Micros: max(t.UnixMicro(), 1)}, nil
	}
	if a.from != nil {
		return readFrom(*a.from)
	}
	switch topic.At {
	case catalog.StartEarliest:
		return startEarliest, fanout.At{Kind: fanout.AtEarliest}, nil
	case catalog.StartLast:
		return startLast, fanout.At{Kind: fanout.AtLast, N: min(max(topic.Last, 1), maxLast)}, nil
	}
	return startLive, fanout.At{Kind: fanout.AtLive}, nil
}

func readFrom(s string) (startKind, fanout.At, error) {
	switch s {
	case "live":
		return startLive, fanout.At{Kind: fanout.AtLive}, nil
	case "earliest":
		return startEarliest, fanout.At{Kind: fanout.AtEarliest}, nil
	case "last":
		return startLast, fanout.At{Kind: fanout.AtLast, N: 1}, nil
	}
	digits, ok := strings.CutPrefix(s, "last:")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n < 1 || n > maxLast || digits[0] == '0' {
		return 0, fanout.At{}, badParam("from", "want live, earliest, last or last:1 to last:1000")
	}
	return startLast, fanout.At{Kind: fanout.AtLast, N: int(n)}, nil
}

// parseSince reads RFC 3339 with an offset and at most six digits of fraction. A
// space at the offset's place is a "+" that nobody escaped.
func parseSince(s string) (time.Time, bool) {
	const seconds = len("2006-01-02T15:04:05")
	if len(s) <= seconds || len(s) > seconds+len(".000000+00:00") || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	if at := len(s) - len("+00:00"); at >= seconds && s[at] == ' ' {
		s = s[:at] + "+" + s[at+1:]
	}
	if s[seconds] == '.' {
		fraction := strings.TrimRight(s[seconds+1:], "Z")
		if at := strings.IndexAny(fraction, "+-"); at >= 0 {
			fraction = fraction[:at]
		}
		if len(fraction) > 6 {
			return time.Time{}, false
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() > 9999 || t.UnixMicro() == math.MaxInt64 {
		return time.Time{}, false
	}
	return t, true
}
