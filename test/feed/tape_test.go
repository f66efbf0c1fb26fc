package feed

import (
	"bytes"
	"encoding/json"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPayloadKeepsItsBytes(t *testing.T) {
	// Recorded once: a change here breaks every receiver that recomputes payloads.
	for _, c := range []struct {
		seed uint64
		feed string
		n    uint64
		want string
	}{
		{1, "/ticks", 1, goldenFirst},
		{1, "/quotes/ACME", 1042, goldenQuote},
		{42, "/any/a/b", 1_000_000_000, goldenAny},
	} {
		if got := string(Payload(c.seed, c.feed, c.n)); got != c.want {
			t.Errorf("Payload(%d, %s, %d)\n got %s\nwant %s", c.seed, c.feed, c.n, got, c.want)
		}
	}
}

func TestPayloadIsWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			Size:  rapid.IntRange(0, 600).Draw(t, "size"),
			Lines: rapid.IntRange(0, 5).Draw(t, "lines"),
			UTF8:  rapid.Bool().Draw(t, "utf8"),
		}
		feed := rapid.SampledFrom([]string{"/ticks", "/quotes/ACME", "/any/x/y"}).Draw(t, "feed")
		n := rapid.Uint64Range(1, 1e12).Draw(t, "n")
		tape := NewTape(rapid.Uint64().Draw(t, "seed"), o)
		p := tape.Append(nil, feed, n)

		var v struct {
			F, S, C string
			N       uint64
			T, V    int64
			B, A    float64
		}
		if err := json.Unmarshal(p, &v); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if v.F != feed || v.N != n || time.Duration(v.T)*time.Microsecond != tape.Due(feed, n).Truncate(time.Microsecond) {
			t.Fatalf("%s: wrong feed, number or time", p)
		}
		if v.B <= 0 || v.A <= v.B || v.V <= 0 || v.S == "" {
			t.Fatalf("%s: no market", p)
		}
		body, _, _ := bytes.Cut(p, []byte(`,"c":`))
		if sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)); v.C != hex32(sum) {
			t.Fatalf("%s: crc %s", p, hex32(sum))
		}
		bare := o
		bare.Size = 0
		if natural := len(NewTape(tape.seed, bare).Append(nil, feed, n)); len(p) != max(natural, o.Size) {
			t.Fatalf("%d bytes, want %d: %s", len(p), max(natural, o.Size), p)
		}
		if lines := strings.Count(string(p), "\n") + 1; lines != min(max(o.Lines, 1), 4) {
			t.Fatalf("%d lines, want %d", lines, o.Lines)
		}
		f, k, ok := Identify(p)
		if !ok || string(f) != feed || k != n {
			t.Fatalf("Identify(%s) = %s, %d, %v", p, f, k, ok)
		}
	})
}

func hex32(v uint32) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 8)
	for i := range out {
		out[i] = digits[v>>(28-4*i)&15]
	}
	return string(out)
}

func TestIdentifyRefusesOtherData(t *testing.T) {
	for _, data := range []string{"", "{}", `{"f":"/ticks"`, `{"f":"/ticks","n":}`, `{"f":"/ticks","n":x}`, `{"junk":"nul"}`} {
		if _, _, ok := Identify([]byte(data)); ok {
			t.Errorf("Identify(%q) accepted", data)
		}
	}
}

func TestSeedsAndFeedsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range [][]byte{Payload(1, "/ticks", 9), Payload(2, "/ticks", 9), Payload(1, "/any/ticks", 9), Payload(1, "/ticks", 10)} {
		tail := string(p[bytes.Index(p, []byte(`"s":`)):])
		if seen[tail] {
			t.Errorf("%s appears twice", tail)
		}
		seen[tail] = true
	}
}

func TestCountIsTheInverseOfDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tt := newTimetable(
			rapid.Float64Range(0.001, 200_000).Draw(t, "rate"),
			rapid.Float64Range(0, 50).Draw(t, "burst"),
			time.Duration(rapid.Int64Range(0, 10e9).Draw(t, "burstFor")),
			rapid.Uint64Range(0, 3).Draw(t, "uneven"),
		)
		n := rapid.Uint64Range(1, 1e6).Draw(t, "n")
		due := tt.at(n)
		if next := tt.at(n + 1); next < due {
			t.Fatalf("event %d is due at %v, %d at %v", n, due, n+1, next)
		}
		if got := tt.count(due); got < n {
			t.Fatalf("%d events at %v, when event %d is due", got, due, n)
		}
		if got := tt.count(due - 1); got >= n {
			t.Fatalf("%d events before %v, when event %d is due", got, due, n)
		}
	})
}

func TestOpeningBurst(t *testing.T) {
	tape := NewTape(1, Options{Rate: 10, Burst: 20, BurstFor: 5 * time.Second})
	if got := tape.Count("/ticks", 5*time.Second); got != 1000 {
		t.Errorf("%d events in the burst, want 1000", got)
	}
	if got := tape.Count("/ticks", 15*time.Second); got != 1100 {
		t.Errorf("%d events after 15 s, want 1100", got)
	}
}

func TestQuoteRates(t *testing.T) {
	tape := NewTape(1, Options{QuoteRate: 4})
	s := tape.Symbols()
	for _, c := range []struct {
		feed string
		want uint64
	}{
		{"/quotes/" + s[0], 240}, {"/quotes/" + s[1], 120}, {"/quotes/" + s[len(s)-1], 1}, {"/quotes/NOBODY", 1},
	} {
		if got := tape.Count(c.feed, time.Minute); got != c.want {
			t.Errorf("%s: %d events a minute, want %d", c.feed, got, c.want)
		}
	}
}

func TestSymbolsFollowZipf(t *testing.T) {
	tape := NewTape(7, Options{})
	seen := map[string]int{}
	for n := range uint64(20_000) {
		seen[tape.symbolOf("/ticks", n+1)]++
	}
	s := tape.Symbols()
	if len(seen) != len(s) {
		t.Errorf("%d symbols seen, want %d", len(seen), len(s))
	}
	if ratio := float64(seen[s[0]]) / float64(seen[s[3]]); ratio < 3 || ratio > 5 {
		t.Errorf("the first symbol is %.1f times as frequent as the fourth, want about 4", ratio)
	}
}

func TestManySymbolsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range symbols(2000) {
		if seen[s] {
			t.Fatalf("symbol %s twice", s)
		}
		seen[s] = true
	}
}

func TestPricesMoveButNotWildly(t *testing.T) {
	key := hash3(1, hashText("ACME"), 1)
	moved := 0
	last, _, _ := quote(key, 0, 1)
	for s := range int64(3600) {
		bid, _, _ := quote(key, s*1_000_000, 1)
		if bid != last {
			moved++
		}
		if step := float64(bid-last) / float64(last); step > 0.01 || step < -0.01 {
			t.Fatalf("second %d: from %d to %d", s, last, bid)
		}
		last = bid
	}
	if moved < 1800 {
		t.Errorf("the price moved in %d of 3600 seconds", moved)
	}
}

func TestUnmixUndoesMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		if got := unmix(mix(x)); got != x {
			t.Fatalf("unmix(mix(%d)) = %d", x, got)
		}
	})
}

func TestIDsLeadBackToTheirEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]IDs{IDSeq, IDOpaque, IDLong, IDBack}).Draw(t, "mode")
		tape := NewTape(3, Options{IDs: mode})
		head := rapid.Uint64Range(1, 1e9).Draw(t, "head")
		n := head - rapid.Uint64Range(0, min(head-1, backSpan-1)).Draw(t, "behind")
		id, _ := tape.appendID(nil, "/ticks", n)
		if got, ok := tape.eventOf("/ticks", string(id), head); !ok || got != n {
			t.Fatalf("%v: id %.20s of event %d, head %d, leads to %d, %v", mode, id, n, head, got, ok)
		}
		if mode != IDBack {
			if _, ok := tape.eventOf("/ticks", string(id), n-1); ok {
				t.Fatalf("%v: the id of event %d is known at head %d", mode, n, n-1)
			}
		}
	})
}

func TestModesParse(t *testing.T) {
	for _, name := range idNames {
		if got, err := ParseIDs(name); err != nil || got.String() != name {
			t.Errorf("ParseIDs(%s) = %v, %v", name, got, err)
		}
	}
	if _, err := ParseIDs("uuid"); err == nil {
		t.Error("ParseIDs(uuid) accepted")
	}
	var o Options
	if err := o.ParseResume("refuse,overlap=3,keep=100"); err != nil || o.Resume != ResumeRefuse || o.Overlap != 3 || o.Keep != 100 {
		t.Errorf("ParseResume: %+v, %v", o, err)
	}
	for _, bad := range []string{"", "maybe", "overlap", "keep=0", "overlap=-1"} {
		if err := o.ParseResume(bad); err == nil {
			t.Errorf("ParseResume(%q) accepted", bad)
		}
	}
}

func TestFaultsParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Fault
	}{
		{"rst", Fault{Kind: RST, Byte: 20}},
		{"fin:7", Fault{Kind: FIN, Byte: 7}},
		{"eof:rune", Fault{Kind: EOFInside, At: "rune"}},
		{"line:3KiB", Fault{Kind: LongLine, Size: 3072}},
		{"status:429/30", Fault{Kind: Status, Code: 429, Text: "30"}},
		{"late:250ms", Fault{Kind: LateHeaders, For: 250 * time.Millisecond}},
		{"retry:abc", Fault{Kind: RetryLine, Text: "abc"}},
	} {
		if got, err := ParseFault(c.text); err != nil || got != c.want {
			t.Errorf("ParseFault(%s) = %+v, %v", c.text, got, err)
		}
	}
	for _, bad := range []string{"", "boom", "cr:1", "fin:middle", "status:99", "line:many", "late:soon", "line:-1", "line:9000000000GiB"} {
		if f, err := ParseFault(bad); err == nil {
			t.Errorf("ParseFault(%q) = %+v", bad, f)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	tape := NewTape(1, Options{Size: 200})
	table := tape.timetable("/ticks")
	var buf []byte
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		buf = tape.append(buf[:0], "/ticks", n, table)
	}
}
