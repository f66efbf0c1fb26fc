package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

func isDrain(notice string) bool {
	data, ok := strings.CutPrefix(notice, "gateway.end ")
	var end struct {
		Reason       string
		Retryable    bool
		RetryAfterMs int
	}
	return ok && json.Unmarshal([]byte(data), &end) == nil && end.Reason == "drain" && end.Retryable && end.RetryAfterMs >= 100
}

// TestUpstreamAnswers lets the upstream answer what is no stream: GET /feeds tells, nothing is lost, and the feed heals.
func TestUpstreamAnswers(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 200}, gateway.Options{}, oracle.Run{MinFaults: 14}, ticksTopic)
	l.readMany("/ticks", 3, nil)
	for _, c := range []struct{ fault, state string }{
		{"status:500", "error"}, {"status:503", "error"}, {"status:404", "error"}, {"status:410", "error"},
		{"status:401", "auth"}, {"status:403", "auth"}, {"status:204", "ended"}, {"status:429/1", "error"},
		{"redirect-loop", "redirect-loop"}, {"redirect-forbidden", "blocked"}, {"html", "bad-content-type"},
		{"gzip", "encoded"}, {"br", "encoded"}, {"headers:1MiB", "error backoff"}, {"accept-close", "backoff"},
	} {
		f, err := feed.ParseFault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		f.Times = -1
		l.Inject(f)
		l.gate.WaitFeed("/ticks", c.state, func(s gateway.FeedStatus, _ bool) bool {
			return s.State != "" && strings.Contains(" "+c.state+" ", " "+s.State+" ")
		})
		l.Clear()
		l.gate.WaitFeed("/ticks", "up again after "+c.fault, func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
		l.awaitAll(l.Stats("/ticks").Head + 10)
	}
	for _, r := range l.Requests("/ticks") {
		if h := r.Header; h.Get("Cookie") != "" || h.Get("Accept") != "text/event-stream" || h.Get("Accept-Encoding") != "identity" ||
			!strings.HasPrefix(h.Get("User-Agent"), "sluice/") {
			t.Fatalf("request headers %v", h)
		}
	}
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// TestUpstreamDown takes the upstream away, listener and all, and brings it back: A29.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 200}, gateway.Options{}, oracle.Run{}, ticksTopic)
	l.readMany("/ticks", 3, nil)
	for range 3 {
		l.awaitAll(l.Stats("/ticks").Head + 20)
		l.down()
		l.gate.WaitFeed("/ticks", "backoff", func(s gateway.FeedStatus, _ bool) bool { return s.State == "backoff" && s.Why != "" })
		l.up()
		l.gate.WaitFeed("/ticks", "up", func(s gateway.FeedStatus, _ bool) bool { return s.State == "up" })
	}
	l.awaitAll(l.Stats("/ticks").Head + 20)
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// TestUpstreamStalls lets the upstream fall silent with TCP alive: A30.
func TestUpstreamStalls(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Env: []string{"SLUICE_UPSTREAM_IDLE=5s"}}, oracle.Run{MinFaults: 1}, ticksTopic)
	l.readMany("/ticks", 2, nil)
	l.awaitAll(l.Stats("/ticks").Head + 20)
	l.Inject(feed.Fault{Kind: feed.Stall})
	l.wait("/ticks", "the gateway is back", func(s feed.Stats) bool { return s.Opens == 2 })
	l.awaitAll(l.Stats("/ticks").Head + 20)
	if v := l.judge(); v.Gaps.Told != 0 || v.Resumes != 0 {
		t.Errorf("%d gaps, %d resumes", v.Gaps.Told, v.Resumes)
	}
}

// TestUpstreamGarbage feeds what a hostile or broken upstream could send; memory stays bounded and the stream goes on: A33.
func TestUpstreamGarbage(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 200}, gateway.Options{Plain: true, Env: []string{"SLUICE_UPSTREAM_ASSEMBLY=1s"}},
		oracle.Run{MinFaults: 12}, ticksTopic)
	l.readMany("/ticks", 3, nil)
	l.awaitAll(l.Stats("/ticks").Head + 50)
	before := l.gate.PeakMemory()
	for _, c := range []struct {
		fault string
		junk  int  // events it makes
		cut   bool // the connection does not survive
	}{
		{"nul", 1, false}, {"utf8", 1, false}, {"gateway-name", 1, false}, {"retry:0", 0, false}, {"retry:1000000000000", 0, false},
		{"retry:abc", 0, false}, {"line:100MiB", 0, false}, {"endless", 0, true}, {"cr", 0, false}, {"fin", 0, true}, {"mixed", 0, false},
		{"bom", 0, true}, {"bom-split", 0, true}, {"cookie", 0, true}, {"headers:20KiB", 0, true}, {"drip:1ms", 0, false}, {"rst", 0, true},
	} {
		f, err := feed.ParseFault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		opens, junk := l.Stats("/ticks").Opens, l.clients[0].State().Junk
		l.Inject(f)
		if c.cut {
			l.wait("/ticks", "the gateway is back after "+c.fault, func(s feed.Stats) bool { return s.Opens > opens })
		}
		l.await(l.clients[0], "past "+c.fault, func(s reader.State) bool { return s.Junk == junk+c.junk })
		l.awaitAll(l.Stats("/ticks").Head + 5)
	}
	grown := l.gate.PeakMemory() - before
	t.Logf("peak memory %d MiB, grown by %d MiB", (before+grown)>>20, grown>>20)
	if grown > 64<<20 {
		t.Errorf("peak memory grew from %d to %d MiB", before>>20, (before+grown)>>20)
	}
	v := l.judge()
	for _, g := range l.clients[0].State().Gaps {
		if g.Reason != "oversize" {
			t.Errorf("gap %+v", g)
		}
	}
	if v.Gaps.Told == 0 || v.Gaps.Real != v.Gaps.Told || v.Resumes != 0 || v.Junk != 3*len(l.clients) {
		t.Errorf("%d gaps told, %d real, %d resumes, %d junk events", v.Gaps.Told, v.Gaps.Real, v.Resumes, v.Junk)
	}
}

// TestBurst sends what cannot be committed at the pace it comes; nothing is dropped: A42 for one node.
func TestBurst(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Manual: true, Size: 200}, gateway.Options{Env: []string{"SLUICE_INGEST_QUEUE_BYTES=1MiB"}}, oracle.Run{}, ticksTopic)
	l.wait("/ticks", "the gateway is connected", func(s feed.Stats) bool { return s.Open == 1 })
	l.readMany("/ticks", 5, nil)
	burst := number(t, "SLUICE_E2E_BURST", 20_000)
	l.Emit("/ticks", burst)
	l.awaitAll(uint64(burst))
	if v := l.judge(); v.Gaps.Told != 0 || v.Deliveries != uint64(5*burst) {
		t.Errorf("%d gaps, %d deliveries", v.Gaps.Told, v.Deliveries)
	}
}

// TestOnDemand opens a feed with its first client, once for all, and closes it after the last: A45.
func TestOnDemand(t *testing.T) {
	t.Parallel()
	clients := number(t, "SLUICE_E2E_CLIENTS", 100)
	l := newLine(t, feed.Options{Rates: map[string]float64{"/quotes/ACME": 100}}, gateway.Options{}, oracle.Run{}, ticksTopic, quotesTopic)
	if s := l.Stats("/quotes/ACME"); s.Requests != 0 {
		t.Fatalf("a feed is open that nobody reads: %+v", s)
	}
	l.readMany("/quotes/ACME", clients, nil)
	l.awaitAll(l.Stats("/quotes/ACME").Head + 20)
	if s := l.Stats("/quotes/ACME"); s.Opens != 1 || s.Peak != 1 {
		t.Errorf("%d clients made %d upstream connections, %d at once", clients, s.Opens, s.Peak)
	}
	if resp := open(t, gateway.OneShot(), l.gate.URL("/market/1.0.0/quotes/NOBODY")); resp.StatusCode != 404 ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a symbol that the upstream does not know: %s", resp.Status)
	}
	last := l.clients[len(l.clients)-1]
	for _, c := range l.clients[:len(l.clients)-1] {
		c.Leave()
	}
	l.clients = []*reader.Client{last}
	l.awaitAll(l.Stats("/quotes/ACME").Head + 20)
	if s := l.Stats("/quotes/ACME"); s.Open != 1 {
		t.Errorf("the feed was closed under its last client: %+v", s)
	}
	last.Leave()
	id := last.State().ID // it may have got more until it was gone
	l.wait("/quotes/ACME", "closed after its last client", func(s feed.Stats) bool { return s.Open == 0 })
	l.gate.WaitFeed("/quotes/ACME", "closed", func(s gateway.FeedStatus, there bool) bool { return !there || s.State == "closed" })

	// Back after the linger: the feed is opened again, and the client misses nothing, as the upstream honours ids.
	o := l.options("/quotes/ACME")
	o.Name, o.LastID = fmt.Sprint("c", clients-1), id
	l.clients = nil
	l.read(o)
	l.awaitAll(l.Stats("/quotes/ACME").Head + 20)
	v := l.judge()
	if s := l.Stats("/quotes/ACME"); s.Opens != 2 || s.Peak != 1 {
		t.Errorf("%d upstream connections, %d at once", s.Opens, s.Peak)
	}
	if v.Gaps.Told != 0 {
		t.Errorf("%d gaps", v.Gaps.Told)
	}
}
