package ingest

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parseEvents reads events written "id:data".
func parseEvents(s string) (out []held) {
	for _, f := range strings.Fields(s) {
		id, data, _ := strings.Cut(f, ":")
		out = append(out, held{id: []byte(id), body: []byte(data), hash: maphash.String(testSeed, data)})
	}
	return out
}

var testSeed = maphash.MakeSeed()

func windowOf(s string) *window {
	w := &window{}
	for _, h := range parseEvents(s) {
		w.push(h.id, h.hash, false)
	}
	return w
}

// play offers events until the comparison ends and returns the verdict and what is new.
func play(o *overlap, events []held) (verdict, string) {
	show := func(list []held) string {
		var out []string
		for _, h := range list {
			out = append(out, string(h.id)+":"+string(h.body))
		}
		return strings.Join(out, " ")
	}
	for i, h := range events {
		switch v := o.offer(h); v {
		case verdictProven:
			return v, show(events[i+1:])
		case verdictNext:
			return v, show(append(append([]held(nil), h), events[i+1:]...))
		case verdictBroken:
			return v, show(append(append([]held(nil), o.held...), events[i+1:]...))
		}
	}
	return verdictHold, show(o.held)
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		name, window, comes string
		proof               proof
		want                verdict
		fresh               string
	}{
		{"honoured", "1:a 2:b 3:c", "3:c 4:d", proofOverlap, verdictProven, "4:d"},
		{"more than asked for", "1:a 2:b 3:c", "1:a 2:b 3:c 4:d", proofOverlap, verdictProven, "4:d"},
		{"older than the window", "3:c 4:d", "1:a 2:b 3:c 4:d 5:e", proofOverlap, verdictProven, "5:e"},
		{"repeats after the seam are kept", "1:a 2:b", "2:b 2:b 1:a", proofOverlap, verdictProven, "2:b 1:a"},
		{"unique id with other content", "1:a 2:b", "2:B 3:c", proofOverlap, verdictProven, "3:c"},
		{"repeated id needs the content", "1:a 2:b 2:c", "2:b 2:c 3:d", proofOverlap, verdictProven, "3:d"},
		{"repeated id with other content", "1:a 2:b 2:c", "2:x 2:y", proofOverlap, verdictHold, "2:x 2:y"},
		{"equal events under one id", "1:a 1:a 2:b 2:b 2:b", "2:b 2:b 2:b 3:c", proofOverlap, verdictProven, "3:c"},
		{"run that breaks", "1:a 2:b 3:c", "2:b 4:d", proofOverlap, verdictBroken, "2:b 4:d"},
		{"numbering begun again", "1:a 2:b 3:c 4:d", "1:x 2:y 9:z", proofOverlap, verdictBroken, "1:x 2:y 9:z"},
		{"nothing matches", "1:a 2:b", "7:x 8:y", proofOverlap, verdictHold, "7:x 8:y"},
		{"next number is no proof if an older one was asked for", "1:a 2:b", "3:c", proofOverlap, verdictHold, "3:c"},
		{"next number", "5:a", "6:b 7:c", proofNext, verdictNext, "6:b 7:c"},
		{"newest again", "5:a", "5:a 6:b", proofNext, verdictProven, "6:b"},
		{"a number further on", "5:a", "7:b", proofNext, verdictHold, "7:b"},
		{"old ones, then the newest", "5:a", "3:x 4:y 5:a 6:b", proofNext, verdictProven, "6:b"},
		{"opaque id", "aa:a", "ab:b", proofNext, verdictHold, "ab:b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, fresh := play(newOverlap(windowOf(c.window), c.proof), parseEvents(c.comes))
			if v != c.want || fresh != c.fresh {
				t.Errorf("verdict %d, new %q; want %d, %q", v, fresh, c.want, c.fresh)
			}
		})
	}
}

func TestOverlapHoldsWithinBounds(t *testing.T) {
	o := newOverlap(windowOf("1:a 2:b"), proofOverlap)
	n := 0
	for o.offer(held{id: fmt.Append(nil, "x", n), body: []byte("x")}) == verdictHold {
		n++
	}
	if n+1 != holdEvents {
		t.Errorf("broken at event %d", n+1)
	}
	o = newOverlap(windowOf("1:a 2:b"), proofOverlap)
	for n = 0; o.offer(held{id: []byte("x"), body: make([]byte, 10<<10)}) == verdictHold; n++ {
	}
	if n+1 != 7 {
		t.Errorf("broken after %d times 10 KiB", n+1)
	}
}

// An upstream that keeps a log and honours Last-Event-ID, however much too much it sends, is always proven, and nothing
// is lost or doubled.
func TestOverlapAgainstAnHonestUpstream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 700).Draw(t, "stored")
		more := rapid.IntRange(0, 50).Draw(t, "more")
		every := rapid.IntRange(1, 5).Draw(t, "events per id")
		kinds := rapid.IntRange(1, 50).Draw(t, "kinds of content")
		ev := func(i int) string { return fmt.Sprintf("%d:%d", i/every, i%kinds*1000+i%every) }
		var all []string
		for i := range n + more {
			all = append(all, ev(i))
		}
		w := windowOf(strings.Join(all[:n], " "))
		a := w.askAgain("probe", 0)
		if a.proof == proofNothing {
			t.Skip("one id only")
		}
		from := 0
		for from < len(all) && a.proof == proofOverlap && !strings.HasPrefix(all[from], a.send+":") {
			from++
		}
		for from < len(all) && strings.HasPrefix(all[from], a.send+":") {
			from++
		}
		if a.proof == proofNext {
			t.Skip("the newest id is asked for")
		}
		before := max(0, n-windowSize-holdEvents+1) // what is still held while nothing matches
		from = max(before, from-rapid.IntRange(0, 200).Draw(t, "too many")*every)
		v, fresh := play(newOverlap(w, a.proof), parseEvents(strings.Join(all[from:], " ")))
		if want := strings.Join(all[n:], " "); v != verdictProven || fresh != want {
			t.Fatalf("asked for %q, sent from %d of %d: verdict %d, new %.99q, want %.99q", a.send, from, n, v, fresh, want)
		}
	})
}

func TestAskAgain(t *testing.T) {
	long := strings.Repeat("7", 1025)
	for _, c := range []struct {
		name, window, resume string
		refused              int
		want                 ask
	}{
		{"older of two", "1:a 2:b", "probe", 0, ask{"1", proofOverlap, gapIgnoredID}},
		{"older id behind repeats", "1:a 2:b 3:c 3:d", "probe", 0, ask{"2", proofOverlap, gapIgnoredID}},
		{"only one event", "1:a", "probe", 0, ask{"1", proofNext, gapIgnoredID}},
		{"one constant id", "1:a 1:b", "probe", 0, ask{"", proofNothing, gapNoID}},
		{"no ids", ":a :b", "probe", 0, ask{"", proofNothing, gapNoID}},
		{"first id ever is the newest", ":a :b 1:c", "probe", 0, ask{"1", proofNext, gapIgnoredID}},
		{"older refused", "1:a 2:b", "probe", 1, ask{"2", proofNext, gapIgnoredID}},
		{"both refused", "1:a 2:b", "probe", 2, ask{"", proofNothing, gapIgnoredID}},
		{"trust", "1:a 2:b", "trust", 0, ask{"2", proofTrust, ""}},
		{"trust refused", "1:a 2:b", "trust", 1, ask{"", proofNothing, gapIgnoredID}},
		{"trust without ids", ":a :b", "trust", 0, ask{"", proofNothing, gapNoID}},
		{"off", "1:a 2:b", "off", 0, ask{"", proofNothing, gapNoID}},
		{"id that no header carries", "1:a \x01:b", "probe", 0, ask{"", proofNothing, gapNoID}},
		{"id too long", "1:a " + long + ":b", "probe", 0, ask{"", proofNothing, gapNoID}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := windowOf(c.window).askAgain(c.resume, c.refused); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	w := windowOf("1:a 2:b")
	w.push([]byte("2"), 1, true)
	if got := w.askAgain("probe", 0); got.proof != proofNothing || got.gap != gapNoID {
		t.Errorf("with an id that was ignored: %+v", got)
	}
	for i := range windowSize {
		w.push(fmt.Append(nil, i), 1, false)
	}
	if got := w.askAgain("probe", 0); got.send != fmt.Sprint(windowSize-2) || w.len() != windowSize {
		t.Errorf("once that is out of the window: %+v", got)
	}
}

func TestGapBody(t *testing.T) {
	for reason, want := range map[string]string{
		gapOversize: `{"reason":"oversize","possible":false}`, gapNoID: `{"reason":"upstream-no-id","possible":true}`,
	} {
		body := gapBody(reason)
		if string(body) != "event: gateway.gap\ndata: "+want+"\n" || gapReason(body) != reason {
			t.Errorf("%s: %q read as %q", reason, body, gapReason(body))
		}
	}
	for _, body := range []string{"", "data: x\n", "event: gateway.gap\ndata: x\n", "event: upstream.gateway.gap\ndata: {}\n"} {
		if got := gapReason([]byte(body)); got != "" {
			t.Errorf("%q read as %q", body, got)
		}
	}
}
