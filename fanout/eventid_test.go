package fanout

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/broker"
)

func TestEventIDText(t *testing.T) {
	for _, c := range []struct {
		id   string
		want broker.Position
		ok   bool
	}{
		{"hobziadz4j-hof9r8bhjq", broker.Position{Seq: 2340206543829571, Micros: 0}, true},
		{"0-1", broker.Position{Micros: 1}, true},
		{"1-1", broker.Position{Seq: 1, Micros: 1}, true},
		{"1y2p0ij32e8e7-1y2p0ij32e8e7", broker.Position{Seq: math.MaxInt64, Micros: math.MaxInt64}, true},
		{id: "1y2p0ij32e8e8-1"}, {id: "1-1y2p0ij32e8e8"}, {id: "zzzzzzzzzzzzz-1"},
		{id: ""}, {id: "-"}, {id: "1"}, {id: "1-"}, {id: "-1"}, {id: "1-0"}, {id: "01-1"}, {id: "1-01"}, {id: "00-1"},
		{id: "A-1"}, {id: "1-A"}, {id: "1--1"}, {id: "1-1-1"}, {id: " 1-1"}, {id: "1-1 "}, {id: "banana"}, {id: "1_1"},
		{id: "1-1\n"}, {id: "é-1"}, {id: "00000000000001-1"}, {id: strings.Repeat("1", 14) + "-1"},
	} {
		got, ok := ParseID(c.id)
		if c.want.Micros == 0 && c.ok {
			got.Micros, c.want.Seq = 0, got.Seq // only that it parses
		}
		if ok != c.ok || got != c.want {
			t.Errorf("ParseID(%q) = %v, %v; want %v, %v", c.id, got, ok, c.want, c.ok)
		}
	}
}

func TestEventIDOfNoPosition(t *testing.T) {
	for _, p := range []broker.Position{{}, {Seq: 1}, {Seq: 1, Micros: -1}, {Seq: 1 << 63, Micros: 1}} {
		if got := AppendID(nil, p); len(got) != 0 {
			t.Errorf("AppendID(%v) = %q", p, got)
		}
	}
}

// FuzzEventID: what parses matches the published grammar and is spelled one way;
// every position comes back.
func FuzzEventID(f *testing.F) {
	grammar := regexp.MustCompile(`^(0|[1-9a-z][0-9a-z]{0,12})-[1-9a-z][0-9a-z]{0,12}$`)
	for _, s := range []string{"", "1-1", "0-1", "01-1", "hobziadz4j-hof9r8bhjq", "1y2p0ij32e8e7-1y2p0ij32e8e7", "zzzzzzzzzzzzz-zzzzzzzzzzzzz"} {
		f.Add(s, uint64(1), int64(1))
	}
	f.Fuzz(func(t *testing.T, s string, seq uint64, micros int64) {
		p, ok := ParseID(s)
		if ok {
			if back := string(AppendID(nil, p)); back != s {
				t.Fatalf("%q parses to %v, which is written %q", s, p, back)
			}
		}
		fits := grammar.MatchString(s)
		if fits {
			a, b, _ := strings.Cut(s, "-")
			for _, n := range []string{a, b} {
				if _, err := strconv.ParseInt(n, 36, 64); err != nil {
					fits = false
				}
			}
		}
		if ok != fits {
			t.Fatalf("ParseID(%q) = %v, the grammar says %v", s, ok, fits)
		}
		want := broker.Position{Seq: seq >> 1, Micros: micros & math.MaxInt64}
		if want.Micros == 0 {
			return
		}
		id := string(AppendID(nil, want))
		if got, ok := ParseID(id); !ok || got != want || len(id) > MaxIDLen {
			t.Fatalf("%v is written %q and reads %v, %v", want, id, got, ok)
		}
	})
}
