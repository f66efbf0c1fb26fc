package edge

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/broker"
	"sluice/internal/problem"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestReadChoice(t *testing.T) {
	live := fanout.At{Kind: fanout.AtLive}
	earliest := fanout.At{Kind: fanout.AtEarliest}
	last := func(n int) fanout.At { return fanout.At{Kind: fanout.AtLast, N: n} }
	since := func(s string) fanout.At {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return fanout.At{Kind: fanout.AtSince, Micros: at.UnixMicro()}
	}
	id := func(seq uint64, micros int64) fanout.At {
		return fanout.At{Kind: fanout.AtID, Pos: broker.Position{Seq: seq, Micros: micros}}
	}
	bad := fanout.At{Kind: fanout.AtBadID}
	for _, c := range []struct {
		name   string
		header []string // Last-Event-ID
		query  string
		topic  catalog.Start
		want   choice
		fails  problem.Kind
		param  string
	}{
		{name: "nothing is the topic's start, live by default", want: choice{kind: startLive, at: live}},
		{name: "the topic's start earliest", topic: catalog.Start{At: catalog.StartEarliest}, want: choice{kind: startEarliest, at: earliest}},
		{name: "the topic's start last", topic: catalog.Start{At: catalog.StartLast, Last: 7}, want: choice{kind: startLast, at: last(7)}},
		{name: "from beats the topic", query: "from=live", topic: catalog.Start{At: catalog.StartEarliest}, want: choice{kind: startLive, at: live}},
		{name: "from=last is one", query: "from=last", want: choice{kind: startLast, at: last(1)}},
		{name: "from=last:1000", query: "from=last:1000", want: choice{kind: startLast, at: last(1000)}},
		{name: "D33 from=last:0", query: "from=last:0", fails: problem.InvalidQuery, param: "from"},
		{name: "D33 from=last:1001", query: "from=last:1001", fails: problem.InvalidQuery, param: "from"},
		{name: "from=last: with sign", query: "from=last:%2B5", fails: problem.InvalidQuery, param: "from"},
		{name: "from=last: with leading zero", query: "from=last:05", fails: problem.InvalidQuery, param: "from"},
		{name: "from empty", query: "from=", fails: problem.InvalidQuery, param: "from"},
		{name: "from twice", query: "from=live&from=live", fails: problem.InvalidQuery, param: "from"},
		{name: "from with an escaped name", query: "%66rom=earliest", want: choice{kind: startEarliest, at: earliest}},
		{name: "since with Z", query: "since=2026-11-23T08:30:00Z", want: choice{kind: startSince, at: since("2026-11-23T08:30:00Z")}},
		{name: "since with offset and six digits", query: "since=2026-11-23T08:30:00.123456%2B02:00", want: choice{kind: startSince, at: since("2026-11-23T08:30:00.123456+02:00")}},
		{name: "since with a space at the offset", query: "since=2026-11-23T08:30:00+02:00", want: choice{kind: startSince, at: since("2026-11-23T08:30:00+02:00")}},
		{name: "since in the future is live", query: "since=2026-11-23T12:00:01Z", want: choice{kind: startLive, at: live}},
		{name: "D33 since banana", query: "since=banana", fails: problem.InvalidQuery, param: "since"},
		{name: "D33 since without offset", query: "since=2026-11-23T08:30:00", fails: problem.InvalidQuery, param: "since"},
		{name: "since with seven digits", query: "since=2026-11-23T08:30:00.1234567Z", fails: problem.InvalidQuery, param: "since"},
		{name: "since with a comma", query: "since=2026-11-23T08:30:00,5Z", fails: problem.InvalidQuery, param: "since"},
		{name: "D33 since and from", query: "since=2026-11-23T08:30:00Z&from=live", fails: problem.InvalidQuery, param: "since"},
		{name: "D33 control=foo", query: "control=foo", fails: problem.InvalidQuery, param: "control"},
		{name: "control empty", query: "control=", fails: problem.InvalidQuery, param: "control"},
		{name: "control", query: "control=live,stale,bookmark", want: choice{at: live, control: controlLive | controlStale | controlBookmark}},
		{name: "errors=status", query: "errors=status", want: choice{at: live, errorsStatus: true}},
		{name: "errors=loud", query: "errors=loud", fails: problem.InvalidQuery, param: "errors"},
		{name: "header id, goes on at the topic's start", header: []string{"a-z"}, topic: catalog.Start{At: catalog.StartEarliest},
			want: choice{kind: startID, at: id(10, 35), otherwise: earliest}},
		{name: "query id beside from", query: "lastEventId=a-z&from=last:3", want: choice{kind: startID, at: id(10, 35), otherwise: last(3)}},
		{name: "query id, second name", query: "last_event_id=a-z", want: choice{kind: startID, at: id(10, 35), otherwise: live}},
		{name: "query id, third name", query: "Last-Event-ID=a-z", want: choice{kind: startID, at: id(10, 35), otherwise: live}},
		{name: "D33 id in two query names", query: "lastEventId=a-z&last_event_id=a-z", fails: problem.InvalidQuery, param: "last_event_id"},
		{name: "query id twice", query: "lastEventId=a-z&lastEventId=a-z", fails: problem.InvalidQuery, param: "lastEventId"},
		{name: "D13 header beats query", header: []string{"b-1"}, query: "lastEventId=a-z", want: choice{kind: startID, at: id(11, 1), otherwise: live}},
		{name: "an empty header leaves it to the query", header: []string{""}, query: "lastEventId=a-z", want: choice{kind: startID, at: id(10, 35), otherwise: live}},
		{name: "id earliest", header: []string{"earliest"}, query: "from=live", want: choice{kind: startEarliest, at: earliest}},
		{name: "bookmark", header: []string{"0-z"}, want: choice{kind: startID, at: id(0, 35), otherwise: live}},
		{name: "D8 banana", header: []string{"banana"}, want: choice{kind: startID, at: bad, otherwise: live}},
		{name: "D8 upper case", header: []string{"A-1"}, want: choice{kind: startID, at: bad, otherwise: live}},
		{name: "D8 leading zero", header: []string{"01-1"}, want: choice{kind: startID, at: bad, otherwise: live}},
		{name: "row 10 at its longest", header: []string{strings.Repeat("x", 1024)}, want: choice{kind: startID, at: bad, otherwise: live}},
		{name: "D9 1025 bytes", header: []string{strings.Repeat("x", 1025)}, fails: problem.InvalidLastEventID},
		{name: "D9 NUL in a query id", query: "lastEventId=a%00b", fails: problem.InvalidLastEventID},
		{name: "DEL in a header id", header: []string{"a\x7f"}, fails: problem.InvalidLastEventID},
		{name: "D14 two headers", header: []string{"a-1", "b-2"}, fails: problem.DuplicateHeader},
		{name: "broken escape in a known value", query: "since=%zz", fails: problem.InvalidQuery, param: "since"},
		{name: "unknown names hold anything", query: "x=%zz&x=1&%zz=2&;;&=", want: choice{at: live}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if c.header != nil {
				h["Last-Event-Id"] = c.header
			}
			got, err := readChoice(h, c.query, c.topic, testNow)
			if c.fails != "" {
				if err == nil || problem.KindOf(err) != c.fails {
					t.Fatalf("error %v, want %s", err, c.fails)
				}
				p := problem.From(err, "")
				if c.param != "" && (len(p.Errors) != 1 || p.Errors[0].Parameter != c.param) {
					t.Fatalf("parts %+v, want parameter %s", p.Errors, c.param)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(choice{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzResume compares readChoice with a model made of the standard library's query
// parser and regular expressions.
func FuzzResume(f *testing.F) {
	for _, seed := range [][3]string{
		{"", "", ""}, {"a-z", "", ""}, {"", "lastEventId=a-z", ""}, {"banana", "from=last:5", ""}, {"", "since=2026-11-23T08:30:00 01:00", ""},
		{"", "since=2026-11-23T08:30:00.1Z", ""}, {"earliest", "from=live&control=live", ""}, {"", "lastEventId=a&last_event_id=b", ""},
		{"a", "from=live", "b"}, {"", "errors=status&from=last:1000", ""}, {"", "from=last:0999", ""}, {"", "%6Caststuff=1&from=%65arliest", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, header, query, second string) {
		h := http.Header{}
		if header != "" {
			h["Last-Event-Id"] = []string{header}
			if second != "" {
				h["Last-Event-Id"] = []string{header, second}
			}
		}
		got, err := readChoice(h, query, catalog.Start{}, testNow)
		want, fails := modelChoice(h, query)
		if (err != nil) != fails {
			t.Fatalf("header %q query %q: error %v, the model says refused=%v", h, query, err, fails)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(choice{})); diff != "" {
			t.Fatalf("header %q query %q: %s", h, query, diff)
		}
	})
}

var (
	modelSince = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$`)
	modelLast  = regexp.MustCompile(`^last:([1-9]\d{0,3})$`)
	modelCtl   = regexp.MustCompile(`^(live|stale|bookmark)(,(live|stale|bookmark))*$`)
)

// modelChoice says the same as readChoice in other words; fails stands for any refusal.
func modelChoice(h http.Header, query string) (c choice, fails bool) {
	values := map[string][]string{}
	for _, part := range strings.Split(query, "&") {
		k, v, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			continue
		}
		values[name] = append(values[name], v)
	}
	one := func(name string) (string, bool) {
		v, ok := values[name]
		if !ok {
			return "", false
		}
		s, err := url.QueryUnescape(v[0])
		if err != nil || len(v) > 1 {
			fails = true
		}
		return s, true
	}
	ids, id := 0, ""
	for _, name := range []string{"lastEventId", "last_event_id", "Last-Event-ID"} {
		if v, ok := one(name); ok {
			ids, id = ids+1, v
		}
	}
	since, hasSince := one("since")
	from, hasFrom := one("from")
	ctl, hasControl := one("control")
	errs, hasErrors := one("errors")
	if ids > 1 || hasSince && hasFrom || hasErrors && errs != "status" || hasControl && !modelCtl.MatchString(ctl) {
		fails = true
	}
	c.errorsStatus = hasErrors
	for bit, name := range map[control]string{controlLive: "live", controlStale: "stale", controlBookmark: "bookmark"} {
		if hasControl && strings.Contains(ctl, name) {
			c.control |= bit
		}
	}
	c.at = fanout.At{Kind: fanout.AtLive}
	switch {
	case hasSince:
		if n := len(since); n > 6 && since[n-6] == ' ' {
			since = since[:n-6] + "+" + since[n-5:]
		}
		at, err := time.Parse(time.RFC3339, since)
		switch {
		case err != nil || !modelSince.MatchString(since):
			fails = true
		case !at.After(testNow):
			c.kind, c.at = startSince, fanout.At{Kind: fanout.AtSince, Micros: max(1, at.UnixMicro())}
		}
	case hasFrom && from == "earliest":
		c.kind, c.at = startEarliest, fanout.At{Kind: fanout.AtEarliest}
	case hasFrom && from == "last":
		c.kind, c.at = startLast, fanout.At{Kind: fanout.AtLast, N: 1}
	case hasFrom && from != "live":
		m := modelLast.FindStringSubmatch(from)
		if m == nil {
			return c, true
		}
		n, _ := strconv.Atoi(m[1])
		if n > 1000 {
			return c, true
		}
		c.kind, c.at = startLast, fanout.At{Kind: fanout.AtLast, N: n}
	}
	if v := h["Last-Event-Id"]; len(v) > 1 {
		fails = true
	} else if len(v) == 1 && v[0] != "" {
		id = v[0]
	}
	if len(id) > 1024 || strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		fails = true
	}
	switch id {
	case "":
	case "earliest":
		c.kind, c.at = startEarliest, fanout.At{Kind: fanout.AtEarliest}
	default:
		c.kind, c.otherwise, c.at = startID, c.at, fanout.At{Kind: fanout.AtBadID}
		if pos, ok := fanout.ParseID(id); ok {
			c.at = fanout.At{Kind: fanout.AtID, Pos: pos}
		}
	}
	return c, fails
}

func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		accept  []string
		ok, sse bool
	}{
		{nil, true, false},
		{[]string{""}, true, false},
		{[]string{"*/*"}, true, false},
		{[]string{"text/*"}, true, false},
		{[]string{"text/event-stream"}, true, true},
		{[]string{"Text/Event-Stream; q=0.5"}, true, true},
		{[]string{"application/json"}, false, false},
		{[]string{"application/json, text/event-stream"}, true, true},
		{[]string{"application/json", "text/event-stream"}, true, true},
		{[]string{"text/event-stream;q=0"}, false, false},
		{[]string{"text/event-stream;q=0, */*"}, false, false},
		{[]string{"*/*;q=0"}, false, false},
		{[]string{"text/*;q=0, */*"}, false, false},
		{[]string{"text/html, */*;q=0.1"}, true, false},
	} {
		h := http.Header{}
		if c.accept != nil {
			h["Accept"] = c.accept
		}
		if ok, sse := accepts(h); ok != c.ok || sse != c.sse {
			t.Errorf("Accept %q: %v, %v; want %v, %v", c.accept, ok, sse, c.ok, c.sse)
		}
	}
}
