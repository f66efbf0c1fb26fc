package oracle

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The runs of these tests: one feed, event n stored at sequence 10n and 1000n µs, produced up to 20.

const feed = "/ticks"

func id(seq uint64) string {
	return strconv.FormatUint(seq, 36) + "-" + strconv.FormatUint(100*seq, 36)
}

func got(c string, n0, n1 uint64) Fact {
	f := Fact{Kind: KindGot, Client: c, Feed: feed, N0: n0, N1: n1, Seq0: 10 * n0, Seq1: 10 * n1, ID1: id(10 * n1)}
	for n := n0; n <= n1; n++ {
		f.Digest ^= Digest(n, 10*n, int64(1000*n))
	}
	return f
}

func connect(c, last string) Fact { return Fact{Kind: KindConnect, Client: c, Feed: feed, Last: last} }
func end(c, cause string) Fact    { return Fact{Kind: KindEnd, Client: c, Feed: feed, Name: cause} }
func gap(c string, g Gap) Fact    { return Fact{Kind: KindGap, Client: c, Feed: feed, Gap: &g} }
func produced(n0, n1 uint64) Fact { return Fact{Kind: KindProduced, Feed: feed, N0: n0, N1: n1} }
func store(n uint64) Fact {
	return Fact{Kind: KindStored, Feed: feed, N0: n, Seq0: 10 * n, Micros: int64(1000 * n), Epoch: 1}
}

func tap(n0, n1 uint64) (all []Fact) {
	for n := n0; n <= n1; n++ {
		all = append(all, store(n))
	}
	return all
}

// clean is a run in which nothing is wrong.
func clean() []Fact {
	facts := []Fact{{Kind: KindRun, Run: &Run{Seed: 1, Tap: true, MinProduced: 20, MinFaults: 1}}, produced(1, 12), produced(13, 20)}
	facts = append(facts, tap(1, 20)...)
	return append(facts,
		Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 1}, Fact{Kind: KindFault, Feed: feed, Name: "rst", Edge: Begin},
		Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 2}, Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 3},
		connect("a", ""), got("a", 3, 9), end("a", "cut"), connect("a", id(90)), got("a", 10, 20), end("a", Quiesced),
		connect("b", ""), got("b", 5, 20), end("b", Quiesced),
	)
}

// with replaces the facts of client a.
func with(own ...Fact) []Fact {
	facts := slices.DeleteFunc(clean(), func(f Fact) bool { return f.Client == "a" })
	return append(facts, own...)
}

func judge(facts []Fact) *Verdict {
	j := NewJudge()
	for _, f := range facts {
		j.Add(f)
	}
	return j.Verdict()
}

func TestACleanRunIsOK(t *testing.T) {
	v := judge(clean())
	if !v.OK() {
		t.Fatal(v)
	}
	want := &Verdict{Clients: 2, Feeds: 1, Produced: 20, Stored: 20, Deliveries: 34, Resumes: 1, Faults: 1}
	if d := cmp.Diff(want, v); d != "" {
		t.Error(d)
	}
}

// TestBrokenRuns judges one run per way to break a promise.
func TestBrokenRuns(t *testing.T) {
	at := func(f Fact, n uint64) Fact { f.Seq0, f.Seq1, f.ID1, f.Digest = n, n, id(n), 0; return f }
	for name, c := range map[string]struct {
		facts  []Fact
		broken map[string]int
		check  func(v *Verdict) bool
	}{
		"a deleted event": {
			with(connect("a", ""), got("a", 3, 6), got("a", 8, 20), end("a", Quiesced)),
			map[string]int{"I3": 1}, func(v *Verdict) bool { return v.Lost == Lost{Middle: 1} },
		},
		"a deleted event after a resume": {
			with(connect("a", ""), got("a", 3, 6), connect("a", id(60)), got("a", 8, 20), end("a", Quiesced)),
			map[string]int{"I4": 1}, func(v *Verdict) bool { return v.Lost == Lost{Middle: 1} },
		},
		"lost at the beginning": {
			with(Fact{Kind: KindConnect, Client: "a", Feed: feed, N0: 1}, got("a", 4, 20), end("a", Quiesced)),
			map[string]int{"I3": 1}, func(v *Verdict) bool { return v.Lost == Lost{Prefix: 3} },
		},
		"lost at the end": {
			with(connect("a", ""), got("a", 3, 15), end("a", Quiesced)),
			map[string]int{"I10": 1}, func(v *Verdict) bool { return v.Lost == Lost{Postfix: 5} },
		},
		"nothing at all": {
			with(Fact{Kind: KindConnect, Client: "a", Feed: feed, N0: 1}, end("a", Quiesced)),
			map[string]int{"I10": 1}, func(v *Verdict) bool { return v.Lost == Lost{Postfix: 20} },
		},
		"two swapped events": {
			with(connect("a", ""), got("a", 3, 6), got("a", 8, 8), got("a", 7, 7), got("a", 9, 20), end("a", Quiesced)),
			map[string]int{"I1": 1}, func(v *Verdict) bool { return v.Reordered == 1 && v.Lost == Lost{} },
		},
		"a repeated event": {
			with(connect("a", ""), got("a", 3, 6), got("a", 6, 6), got("a", 7, 20), end("a", Quiesced)),
			map[string]int{"I2": 1}, func(v *Verdict) bool { return v.Doubled == 1 },
		},
		"repeated events after a resume": {
			with(connect("a", ""), got("a", 3, 9), connect("a", id(90)), got("a", 8, 20), end("a", Quiesced)),
			map[string]int{"I2": 1}, func(v *Verdict) bool { return v.Doubled == 2 },
		},
		"a sequence that steps back": {
			slices.DeleteFunc(with(connect("a", ""), got("a", 3, 3), at(got("a", 4, 4), 25), got("a", 5, 20), end("a", Quiesced)),
				func(f Fact) bool { return f.Kind == KindRun }),
			map[string]int{"I1": 1}, nil,
		},
		"a foreign event": {
			with(connect("a", ""), Fact{Kind: KindOdd, Client: "a", Feed: feed, Name: "foreign"}, got("a", 3, 20), end("a", Quiesced)),
			map[string]int{"I7": 1}, func(v *Verdict) bool { return v.Foreign == 1 },
		},
		"an event with other bytes": {
			with(connect("a", ""), Fact{Kind: KindOdd, Client: "a", Feed: feed, Name: "corrupt", N0: 3}, got("a", 3, 20), end("a", Quiesced)),
			map[string]int{"I6": 1}, func(v *Verdict) bool { return v.Phantom == 1 },
		},
		"an event nobody produced": {
			append(with(connect("a", ""), got("a", 3, 21), end("a", Quiesced)), store(21)),
			map[string]int{"I6": 2}, func(v *Verdict) bool { return v.Phantom == 1 },
		},
		"an event nobody stored": {
			append(with(connect("a", ""), got("a", 3, 21), end("a", Quiesced), connect("b", id(200)), got("b", 21, 21)), produced(21, 21)),
			map[string]int{"I6": 2}, nil,
		},
		"another event at the same sequence": {
			with(connect("a", ""), at(got("a", 19, 19), 200), end("a", "left")),
			map[string]int{"I5": 2}, nil, // against b and against the store
		},
		"another time inside a run": {
			with(connect("a", ""), func() Fact { f := got("a", 3, 20); f.Digest++; return f }(), end("a", Quiesced)),
			map[string]int{"I5": 1}, nil,
		},
		"a gap that covers nothing": {
			with(connect("a", ""), got("a", 3, 6), gap("a", Gap{Reason: "expired"}), got("a", 7, 20), end("a", Quiesced)),
			map[string]int{"I8": 1}, func(v *Verdict) bool { return v.Gaps == Gaps{Told: 1, False: 1} },
		},
		"an event stored twice": {
			append(clean(), Fact{Kind: KindStored, Feed: feed, N0: 20, Seq0: 201, Epoch: 1}),
			map[string]int{"I9": 1}, nil,
		},
		"an event not stored": {
			append(clean(), produced(21, 22), store(22), connect("a", id(200)), gap("a", Gap{Reason: "store-loss"}), got("a", 22, 22),
				connect("b", id(200)), gap("b", Gap{Reason: "store-loss"}), got("b", 22, 22)),
			map[string]int{"I9": 1}, func(v *Verdict) bool { return v.Gaps == Gaps{Told: 2, Real: 2} },
		},
		"epochs that interleave": {
			append(clean(), produced(21, 22), Fact{Kind: KindStored, Feed: feed, N0: 21, Seq0: 210, Epoch: 2}, store(22),
				connect("a", id(200)), connect("b", id(200)), end("a", "left"), end("b", "left")),
			map[string]int{"I9": 1}, nil,
		},
		"two upstream connections": {
			append(clean(), Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 10}, Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 20}),
			map[string]int{"I9": 1}, nil,
		},
		"two upstream connections of one process, told at its end": {
			append(clean(), Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 10, Peer: "x"}, Fact{Kind: KindFault, Name: ProcessGone, Edge: End, At: 20},
				Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 90}, Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 91, Peer: "x"}),
			map[string]int{"I9": 1}, func(v *Verdict) bool { return v.Unnoticed == 71*time.Microsecond },
		},
		"a process's connection is closed long after its end": {
			append(clean(), Fact{Kind: KindFault, Name: ProcessGone, Edge: End, At: 9}, Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 10, Peer: "x"},
				Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 90}, Fact{Kind: KindConn, Feed: feed, Edge: Close, At: 91, Peer: "x"}),
			nil, func(v *Verdict) bool { return v.Unnoticed == 81*time.Microsecond && v.OK() },
		},
		"a dead process's connection is open at the end": {
			append(clean(), Fact{Kind: KindFault, Name: ProcessGone, Edge: End, At: 9}, Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 10, Peer: "x"}),
			nil, (*Verdict).OK,
		},
		"two upstream connections at the end": {
			append(clean(), Fact{Kind: KindConn, Feed: feed, Edge: Open, At: 10}), map[string]int{"I9": 1}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(c.facts)
			if d := cmp.Diff(c.broken, v.Broken); d != "" || c.check != nil && !c.check(v) {
				t.Errorf("%v\n%s", v, d)
			}
		})
	}
}

// TestToldRuns judges runs in which something was missing or repeated, and the client was told.
func TestToldRuns(t *testing.T) {
	unsure := func(facts []Fact) []Fact {
		facts[0].Run = &Run{Unsure: true}
		return facts
	}
	for name, c := range map[string]struct {
		facts []Fact
		gaps  Gaps
	}{
		"a hole with a gap": {
			with(connect("a", ""), got("a", 3, 6), gap("a", Gap{Reason: "expired"}), got("a", 9, 20), end("a", Quiesced)),
			Gaps{Told: 1, Real: 1},
		},
		"a gap at the end": {
			with(connect("a", ""), got("a", 3, 6), connect("a", id(60)), gap("a", Gap{Reason: "reset", Possible: true}), end("a", Quiesced)),
			Gaps{Told: 1, Possible: 1},
		},
		"a possible gap without a hole": {
			with(connect("a", ""), got("a", 3, 6), gap("a", Gap{Reason: "upstream-no-id", Possible: true}), got("a", 7, 20), end("a", Quiesced)),
			Gaps{Told: 1, Possible: 1, Needless: 1},
		},
		"doubles that were announced": {
			with(connect("a", ""), got("a", 3, 9), connect("a", id(90)), gap("a", Gap{Reason: "reset", Possible: true, Doubles: true}),
				got("a", 8, 20), end("a", Quiesced)),
			Gaps{Told: 1, Possible: 1, Real: 1},
		},
		"an oversize event": {
			append(with(connect("a", ""), got("a", 3, 6), gap("a", Gap{Reason: "oversize"}), got("a", 7, 20), end("a", Quiesced))[:1:1],
				append([]Fact{{Kind: KindFault, Feed: feed, Name: "line", Edge: Begin}},
					with(connect("a", ""), got("a", 3, 6), gap("a", Gap{Reason: "oversize"}), got("a", 7, 20), end("a", Quiesced))[1:]...)...),
			Gaps{Told: 1, Real: 1},
		},
		"a seam of an upstream that cannot resume": {
			unsure(with(connect("a", ""), got("a", 3, 9), gap("a", Gap{Reason: "upstream-ignored-id", Possible: true}), got("a", 8, 20), end("a", Quiesced))),
			Gaps{Told: 1, Possible: 1, Real: 1},
		},
		"a marker for a hole in the store": {
			append(clean(), produced(21, 30), Fact{Kind: KindStored, Feed: feed, Seq0: 205, Epoch: 2, Gap: &Gap{Reason: "upstream-no-id", Possible: true}},
				Fact{Kind: KindStored, Feed: feed, N0: 30, Seq0: 300, Micros: 30_000, Epoch: 2},
				connect("a", id(200)), gap("a", Gap{Reason: "upstream-no-id", Possible: true}), got("a", 30, 30), end("a", Quiesced),
				end("b", "left")),
			Gaps{Told: 1, Possible: 1, Real: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(c.facts)
			if d := cmp.Diff(c.gaps, v.Gaps); d != "" || !v.OK() {
				t.Errorf("%v\n%s", v, d)
			}
		})
	}
}

func TestVoidRuns(t *testing.T) {
	without := func(kind string) []Fact {
		return slices.DeleteFunc(clean(), func(f Fact) bool { return f.Kind == kind })
	}
	for name, facts := range map[string][]Fact{
		"no run fact":                  without(KindRun),
		"no fault":                     without(KindFault),
		"no client":                    slices.DeleteFunc(clean(), func(f Fact) bool { return f.Client != "" }),
		"too little produced":          slices.Replace(clean(), 1, 2, produced(5, 12)),
		"a tap without facts":          without(KindStored),
		"a tap that steps back":        append(clean(), store(19)),
		"a client with a wrong memory": with(connect("a", ""), got("a", 3, 6), connect("a", id(50)), got("a", 7, 20)),
		"a malformed fact":             append(clean(), Fact{Kind: KindGot, Client: "a", Feed: feed, N0: 21, N1: 20}),
		"an unknown fact":              append(clean(), Fact{Kind: "rumour"}),
	} {
		if v := judge(facts); v.OK() || len(v.Void) == 0 {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestASavedRunIsJudgedAgain(t *testing.T) {
	var file bytes.Buffer
	b := NewBook(&file, Run{Seed: 9, MinProduced: 20})
	for _, f := range clean()[1:] {
		b.Add(f)
	}
	first, err := b.Verdict()
	if err != nil {
		t.Fatal(err)
	}
	again, err := JudgeFile(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, again); d != "" || !again.OK() {
		t.Errorf("%v\n%s", again, d)
	}
	// one line less, one promise broken
	lines := strings.SplitAfter(file.String(), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, `"n0":10,"n1":20`) })
	if v, err := JudgeFile(strings.NewReader(strings.Join(lines, ""))); err != nil || v.Errors("I10") != 1 {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := JudgeFile(strings.NewReader("{}\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("nonsense in line 2: %v", err)
	}
}

func TestVerdictNamesWhatIsBroken(t *testing.T) {
	v := judge(with(connect("a", ""), got("a", 3, 6), got("a", 8, 20), end("a", Quiesced)))
	for _, want := range []string{"0/1/0 lost", "I3 broken 1 times", "I3 a /ticks: events 7 to 7 are missing"} {
		if !strings.Contains(v.String(), want) {
			t.Errorf("no %q in:\n%v", want, v)
		}
	}
}

func TestManyFindingsAreCountedNotKept(t *testing.T) {
	facts := clean()
	for i := range 500 {
		facts = append(facts, Fact{Kind: KindOdd, Client: fmt.Sprint(i), Feed: feed, Name: "foreign"})
	}
	if v := judge(facts); v.Errors("I7") != 500 || len(v.Findings) != keptFindings {
		t.Errorf("%d findings counted, %d kept", v.Errors("I7"), len(v.Findings))
	}
}
