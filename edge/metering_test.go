package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/edge/quota"
	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker/brokertest"
)

// redisServer starts one on a unix socket, or skips. kill ends it.
func redisServer(t *testing.T) (url string, kill func()) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (apt-get install redis-server): edges cannot share a quota here")
	}
	dir, err := os.MkdirTemp("", "slq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir, "--logfile", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	wait(t, "redis-server listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "unix://" + socket, kill
}

// metered makes a rig keep plans, by a source.
func metered(src quota.Source, edge string) func(*setup) {
	return func(s *setup) { s.source, s.edgeID = src, edge }
}

func inMemory(t *testing.T) quota.Source {
	t.Helper()
	src, err := quota.NewMemory(quota.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func inRedis(t *testing.T, url string) quota.Source {
	t.Helper()
	src, err := quota.NewRedis(quota.RedisOptions{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

// plans replaces the plans by Gold, changed, and others.
func (p *people) plans(gold func(*access.Plan), more ...*access.Plan) {
	plan := &access.Plan{Name: "Gold", Enforce: true, OnQuotaEnd: access.QuotaClose, WhenSourceDown: access.FailClosed}
	gold(plan)
	p.change(func(r *access.Records) { r.Plans = append([]*access.Plan{plan}, more...) })
}

// gold is a plan with a quota whose windows are short enough for a test.
func gold(events int64, seconds int) func(*access.Plan) {
	return func(p *access.Plan) {
		p.Quota = access.Quota{Events: events, Every: seconds, Unit: access.Unit(quota.Second)}
	}
}

// freshWindow waits until most of a window is left.
func freshWindow(t *testing.T, seconds int) {
	t.Helper()
	w := quota.Limit{Every: seconds, Unit: quota.Second}
	wait(t, "a window begins", func() bool {
		return time.Until(w.Window(time.Now()).End) > time.Duration(seconds)*time.Second*3/4
	})
}

func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, strconv.Itoa(i+1))
	}
	return list
}

// got is what a stream brought: the numbers of its events, the last id, and how it ended.
type got struct {
	events []int
	lastID string
	end    map[string]any // of gateway.throttled, with "event" and "retry"
	text   string
}

// readAll reads a stream to its end.
func (a *answer) readAll(t testing.TB) (g got) {
	t.Helper()
	a.patience()
	retry := 0
	g.text = a.text(t)
	for block := range strings.SplitSeq(g.text, "\n\n") {
		var event, data, id string
		for line := range strings.SplitSeq(block, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			switch name {
			case "event":
				event = value
			case "data":
				data = value
			case "id":
				id = value
			case "retry":
				retry, _ = strconv.Atoi(value)
			}
		}
		switch {
		case event != "":
			g.end = map[string]any{}
			if err := json.Unmarshal([]byte(data), &g.end); err != nil {
				t.Fatalf("%q: %v", block, err)
			}
			g.end["event"], g.end["retry"] = event, retry
		case data != "":
			n, err := strconv.Atoi(data)
			if err != nil {
				t.Fatalf("%q: %v", block, err)
			}
			g.events, g.lastID = append(g.events, n), id
		}
	}
	return g
}

// inOrder tells whether events are from … in a row.
func (g got) inOrder(from int) bool {
	for i, n := range g.events {
		if n != from+i {
			return false
		}
	}
	return true
}

// wantThrottled checks the last event of a stream that a quota ended, and returns when the quota begins anew.
func (g got) wantThrottled(t testing.TB, plan string, limit int64) time.Time {
	t.Helper()
	reset, err := time.Parse(time.RFC3339, fmt.Sprint(g.end["resetAt"]))
	if err != nil || g.end["event"] != "gateway.throttled" || g.end["reason"] != "quota" || g.end["plan"] != plan || g.end["limit"] != float64(limit) ||
		g.end["unit"] != "second" {
		t.Fatalf("ended with %v after %d events: %q", g.end, len(g.events), g.text)
	}
	after, _ := g.end["retryAfterMs"].(float64)
	if float64(g.end["retry"].(int)) != after || after < 1 {
		t.Errorf("ended with %v", g.end)
	}
	return reset
}

// until waits for a time.
func untilTime(at time.Time) { <-time.After(time.Until(at)) }

// A quota of 200 events, 500 offered: exactly 200 come, then the client is told when the quota begins anew, and is refused until then;
// after that its last id brings the next event.
func TestQuotaEndsExactly(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(gold(200, 4))
		key := withKey(p.app("a", "paid"))
		r := newRig(t, engine, withAccess(t, p, nil), metered(inMemory(t), "e1"))
		r.publish(feedOf("paid", "1", "/ticks"), numbered(500)...)
		freshWindow(t, 4)
		first := r.get("/paid/1/ticks?from=earliest", key).readAll(t)
		if len(first.events) != 200 || !first.inOrder(1) {
			t.Fatalf("%d events", len(first.events))
		}
		reset := first.wantThrottled(t, "Gold", 200)
		refused := r.get("/paid/1/ticks?from=earliest&errors=status", key)
		after, _ := strconv.Atoi(refused.Header.Get("Retry-After"))
		if refused.StatusCode != 429 || after < 1 || after > 4 {
			t.Errorf("a new connect: %d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
		}
		if kind := kindOf(t, refused); kind != "quota-exceeded" {
			t.Errorf("refused for %s", kind)
		}
		shed := r.get("/paid/1/ticks", key, "Accept: text/event-stream")
		if shed.StatusCode != 200 || shed.Header.Get("Retry-After") == "" {
			t.Errorf("an EventSource: %d", shed.StatusCode)
		}
		if again := shed.readAll(t); len(again.events) > 0 || !again.wantThrottled(t, "Gold", 200).Equal(reset) && time.Until(reset) > 0 {
			t.Errorf("an EventSource got %v", again)
		}
		untilTime(reset)
		next := r.get("/paid/1/ticks", key, "Last-Event-ID: "+first.lastID).readAll(t)
		if len(next.events) != 200 || !next.inOrder(201) {
			t.Fatalf("after the reset %d events came: %v", len(next.events), next.events[:min(3, len(next.events))])
		}
		next.wantThrottled(t, "Gold", 200)
		wait(t, "all that was told is counted", func() bool {
			return r.count("sluice_edge_gateway_events_total", "event=gateway.throttled") >= 3
		})
	})
}

// Ten clients of one subscription on three edges, of all transports, share the quota: exactly 200 events come in all.
func TestEdgesShareAQuota(t *testing.T) {
	url, _ := redisServer(t)
	p := newPeople()
	p.plans(gold(200, 6))
	key := withKey(p.app("a", "paid"))
	node := brokertest.NewMemory(t)
	var edges []*rig
	for i := range 3 {
		edges = append(edges, newRig(t, allEngines, withAccess(t, p, nil), metered(inRedis(t, url), fmt.Sprint("e", i)), func(s *setup) { s.node = node }))
	}
	list := make([]got, 10)
	var all sync.WaitGroup
	freshWindow(t, 6)
	for i := range list {
		var a *answer
		wait(t, "it is let in", func() bool { // a closed plan refuses while this box stalls for 100 ms
			a = edges[i%3].open(transports[i/3%3], "/paid/1/ticks?errors=status", key)
			return a.StatusCode == 200
		})
		all.Go(func() { list[i] = a.readAll(t) })
	}
	edges[0].publish(feedOf("paid", "1", "/ticks"), numbered(500)...)
	all.Wait()
	sum, most := 0, list[0]
	var reset time.Time
	for i, g := range list {
		if !g.inOrder(1) {
			t.Errorf("client %d got %v", i, g.events)
		}
		sum += len(g.events)
		if len(g.events) > len(most.events) {
			most = g
		}
		reset = g.wantThrottled(t, "Gold", 200)
	}
	if sum != 200 {
		t.Fatalf("%d events in all", sum)
	}
	for i, r := range edges {
		a := r.get("/paid/1/ticks?errors=status", key)
		for a.StatusCode == 503 {
			a = r.get("/paid/1/ticks?errors=status", key)
		}
		if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" {
			t.Errorf("edge %d: a new connect: %d", i, a.StatusCode)
		}
	}
	untilTime(reset)
	var next got
	wait(t, "the quota has begun anew", func() bool {
		a := edges[1].get("/paid/1/ticks?errors=status", key, "Last-Event-ID: "+most.lastID)
		if a.StatusCode == 200 {
			next = a.readAll(t)
		}
		return a.StatusCode == 200
	})
	if len(next.events) != 200 || !next.inOrder(len(most.events)+1) {
		t.Errorf("after the reset came %d events, from %v", len(next.events), next.events[:min(1, len(next.events))])
	}
}

// Redis is killed while events flow: a closed plan delivers nothing more than was allotted, and lets nobody in; an open one goes on.
func TestRedisKilled(t *testing.T) {
	for _, policy := range []access.FailPolicy{access.FailClosed, access.FailOpen} {
		t.Run(string(policy), func(t *testing.T) {
			url, kill := redisServer(t)
			p := newPeople()
			p.plans(func(plan *access.Plan) {
				gold(1000, 3600)(plan)
				plan.WhenSourceDown = policy
			})
			key := withKey(p.app("a", "paid"))
			r := newRig(t, allEngines, withAccess(t, p, nil), metered(inRedis(t, url), "e"))
			f := feedOf("paid", "1", "/ticks")
			var a *answer
			wait(t, "it is let in", func() bool {
				a = r.get("/paid/1/ticks?errors=status", key)
				return a.StatusCode == 200
			})
			a.takeRetry(t)
			for i, at := range r.publish(f, numbered(20)...) {
				a.take(t, frame(strconv.Itoa(i+1), at))
			}
			kill()
			ats := r.publish(f, numbered(1500)...)
			if policy == access.FailOpen { // up to its part of what is left
				for i, at := range ats[:300] {
					a.take(t, frame(strconv.Itoa(i+1), at))
				}
			} else {
				wait(t, "Redis is missed", func() bool { return r.srv.metering.limiter.Status().Down != "" })
			}
			answer := r.get("/paid/1/ticks?errors=status", key)
			if want := map[access.FailPolicy]int{access.FailClosed: 503, access.FailOpen: 200}[policy]; answer.StatusCode != want {
				t.Errorf("a new connect: %d, want %d", answer.StatusCode, want)
			}
			if policy == access.FailClosed {
				if kind := kindOf(t, answer); kind != "quota-unavailable" || answer.Header.Get("Retry-After") == "" {
					t.Errorf("refused for %s", kind)
				}
			}
			_ = a.conn.Close()
			wait(t, "the stream's end is booked", func() bool { return len(r.logs.events("conn.close")) > 0 })
			if n := r.logs.events("conn.close")[0]["events"].(float64); policy == access.FailClosed && n > 1000 {
				t.Errorf("%v of 1000 events delivered", n)
			}
		})
	}
}

// Seats are of all edges together; a client that leaves makes room.
func TestSeatsOfAPlan(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(func(plan *access.Plan) { plan.Connections = access.Connections{PerSubscription: 3, PerKey: 2} })
		key := withKey(p.app("a", "paid"))
		token := bearer(jwt("a", time.Hour, nil))
		src := inMemory(t)
		node := brokertest.NewMemory(t)
		one := newRig(t, engine, withAccess(t, p, nil), metered(src, "e1"), func(s *setup) { s.node = node })
		two := newRig(t, engine, withAccess(t, p, nil), metered(src, "e2"), func(s *setup) { s.node = node })
		status := func(r *rig, credential string) *answer {
			t.Helper()
			return r.get("/paid/1/ticks?errors=status", credential)
		}
		open := status(one, key)
		for i, a := range []*answer{open, status(two, key), status(two, token)} {
			if a.StatusCode != 200 {
				t.Fatalf("client %d: %d", i, a.StatusCode)
			}
		}
		for i, a := range []*answer{status(one, key), status(two, token)} {
			if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || kindOf(t, a) != "too-many-connections" {
				t.Errorf("client %d too many: %d", i, a.StatusCode)
			}
		}
		_ = open.conn.Close()
		wait(t, "the seat is free on the other edge", func() bool { return status(two, key).StatusCode == 200 })
	})
}

// With a reset that is near, streams wait for it: with heartbeats, on the same connection, and without a gap.
func TestPauseUntilTheReset(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(func(plan *access.Plan) {
			gold(5, 2)(plan)
			plan.OnQuotaEnd = access.QuotaAuto
		})
		key := withKey(p.app("a", "paid"))
		r := newRig(t, engine, withAccess(t, p, nil), metered(inMemory(t), "e"))
		ats := r.publish(feedOf("paid", "1", "/ticks"), numbered(12)...)
		a := r.get("/paid/1/ticks?from=earliest", key)
		a.patience()
		a.takeRetry(t)
		for i, at := range ats {
			a.take(t, frame(strconv.Itoa(i+1), at))
		}
		_ = a.conn.Close()
	})
}

// A change of the plan counts at once: what was given stays given.
func TestPlanEditsCountAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(func(plan *access.Plan) {
			gold(5, 3600)(plan)
			plan.OnQuotaEnd = access.QuotaPause
			plan.Quota.Every = 600
		})
		key := withKey(p.app("a", "paid"))
		r := newRig(t, engine, withAccess(t, p, nil), metered(inMemory(t), "e"))
		r.publish(feedOf("paid", "1", "/ticks"), numbered(20)...)
		a := r.get("/paid/1/ticks?from=earliest", key)
		wait(t, "the quota has ended", func() bool {
			r.srv.metering.mu.Lock()
			defer r.srv.metering.mu.Unlock()
			for _, s := range r.srv.metering.supplies {
				return s.bucket.State().Phase == quota.Ended
			}
			return false
		})
		p.plans(func(plan *access.Plan) {
			gold(12, 600)(plan)
			plan.Name = "Gold"
		})
		g := a.readAll(t)
		if len(g.events) != 12 || !g.inOrder(1) {
			t.Errorf("%d events", len(g.events))
		}
		g.wantThrottled(t, "Gold", 12)
	})
}

// A plan that begins to meter, shape or bound streams reaches those that are open: they end, each told that coming back helps, and then it
// holds. What can be changed under a stream ends none.
func TestPlanEditsReachOpenStreams(t *testing.T) {
	small := &access.Plan{Name: "Small", Enforce: true, OnQuotaEnd: access.QuotaClose, Quota: access.Quota{Events: 4, Every: 3600, Unit: "second"}}
	free := func(*access.Plan) {}
	for _, c := range []struct {
		name        string
		first, then func(*access.Plan)
		more        func(*access.Records)
		ends        bool
		events      int // of 20 after coming back, then throttled; 0 = not asked
	}{
		{name: "metered", first: free, then: gold(6, 3600), ends: true, events: 6},
		{name: "another subscription's plan", first: free, then: free, ends: true, events: 4,
			more: func(r *access.Records) { edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.Plan = "Small" }) }},
		{name: "the application's own", first: free, then: free, ends: true, events: 4,
			more: func(r *access.Records) {
				edit(r.Applications, ofApp("a"), func(a *access.Application) { a.Plan = "Small" })
			}},
		{name: "subscribed anew", first: gold(9, 3600), then: gold(9, 3600), ends: true, events: 9,
			more: func(r *access.Records) { edit(r.Grants, ofGrant("a"), func(g *access.Grant) { g.ID = "another" }) }},
		{name: "shaped", first: free, then: func(p *access.Plan) { p.Rate = access.Rate{Events: 1000, Per: time.Second} }, ends: true},
		{name: "shaped no more", first: func(p *access.Plan) { p.Rate = access.Rate{Events: 1000, Per: time.Second} }, then: free, ends: true},
		{name: "shorter", first: func(p *access.Plan) { p.MaxDuration = time.Hour }, then: func(p *access.Plan) { p.MaxDuration = time.Minute }, ends: true},
		{name: "longer", first: func(p *access.Plan) { p.MaxDuration = time.Hour }, then: free},
		{name: "more", first: gold(9, 3600), then: gold(20, 3600)},
		{name: "metered no more", first: gold(9, 3600), then: free},
		{name: "fewer seats", first: free, then: func(p *access.Plan) { p.Connections.PerSubscription = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeople()
			p.plans(c.first, small)
			key := p.app("a", "paid")
			r := newRig(t, allEngines, withAccess(t, p, nil), metered(inMemory(t), "e"))
			f := feedOf("paid", "1", "/ticks")
			open := map[string]*answer{}
			for _, way := range transports {
				open[way] = r.open(way, "/paid/1/ticks", withKey(key))
				open[way].takeRetry(t)
			}
			r.srv.judgedAll(t, func() {
				p.plans(c.then, small)
				if c.more != nil {
					p.change(c.more)
				}
			})()
			if !c.ends {
				at := r.publish(f, "1")[0]
				for _, a := range open {
					a.take(t, frame("1", at))
				}
				return
			}
			for way, a := range open {
				if got := a.text(t); !endOf("plan-changed", true).MatchString(got) {
					t.Errorf("%s: last bytes %q", way, got)
				}
			}
			if c.events == 0 {
				return
			}
			r.publish(f, numbered(20)...)
			g := r.get("/paid/1/ticks?from=earliest", withKey(key)).readAll(t)
			if len(g.events) != c.events || !g.inOrder(1) || g.end["event"] != "gateway.throttled" {
				t.Errorf("%d events, then %v", len(g.events), g.end)
			}
		})
	}
}

// A plan that changes after a client was let in and before its stream began holds for it.
func TestPlanEditedWhileJoining(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then func(*access.Plan)
	}{
		{"metered", func(*access.Plan) {}, gold(6, 3600)},
		{"more", gold(4, 3600), gold(9, 3600)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeople()
			p.plans(c.first)
			key := p.app("a", "paid")
			h := newHold()
			r := newRig(t, withAccess(t, p, nil), metered(inMemory(t), "e"), func(s *setup) { s.verifier = heldVerifier{s.verifier, h} })
			r.publish(feedOf("paid", "1", "/ticks"), numbered(20)...)
			got := make(chan *answer)
			go func() { got <- r.get("/paid/1/ticks?from=earliest", withKey(key)) }()
			<-h.reached
			r.srv.judgedAll(t, func() { p.plans(c.then) })()
			close(h.go_)
			a := <-got
			if c.name == "metered" {
				a.takeRetry(t)
				if end := a.text(t); !endOf("plan-changed", true).MatchString(end) {
					t.Errorf("%q", end)
				}
				return
			}
			if g := a.readAll(t); len(g.events) != 9 || !g.inOrder(1) {
				t.Errorf("%d events", len(g.events))
			}
		})
	}
}

// heldVerifier knows who asks, and then waits.
type heldVerifier struct {
	Verifier
	hold *hold
}

func (v heldVerifier) Redeem(ctx context.Context, snap *access.Snapshot, c token.Credential) (token.Redeemed, error) {
	got, err := v.Verifier.Redeem(ctx, snap, c)
	v.hold.here()
	return got, err
}

// An application's own plan counts beside those of its subscriptions; the smaller one ends the stream.
func TestAnApplicationsOwnPlan(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(gold(10, 3600), &access.Plan{Name: "Small", Enforce: true, OnQuotaEnd: access.QuotaClose, Quota: access.Quota{Events: 4, Every: 3600, Unit: "second"}})
		key := withKey(p.app("a", "paid"))
		p.change(func(r *access.Records) {
			edit(r.Applications, ofApp("a"), func(a *access.Application) { a.Plan = "Small" })
		})
		r := newRig(t, engine, withAccess(t, p, nil), metered(inMemory(t), "e"))
		r.publish(feedOf("paid", "1", "/ticks"), numbered(20)...)
		g := r.get("/paid/1/ticks?from=earliest", key).readAll(t)
		if len(g.events) != 4 || !g.inOrder(1) {
			t.Errorf("%d events", len(g.events))
		}
		g.wantThrottled(t, "Small", 4)
	})
}

// A rate shapes each connection: nothing is lost, and no more than the burst comes at once.
func TestRateOfAPlan(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		p := newPeople()
		p.plans(func(plan *access.Plan) { plan.Rate = access.Rate{Events: 10, Per: 200 * time.Millisecond} })
		key := withKey(p.app("a", "paid"))
		r := newRig(t, engine, withAccess(t, p, nil), metered(inMemory(t), "e"))
		ats := r.publish(feedOf("paid", "1", "/ticks"), numbered(40)...)
		began := time.Now()
		a := r.get("/paid/1/ticks?from=earliest", key)
		a.takeRetry(t)
		for i, at := range ats {
			a.take(t, frame(strconv.Itoa(i+1), at))
		}
		if took := time.Since(began); took < 590*time.Millisecond {
			t.Errorf("40 events in %v", took)
		}
	})
}

// Clients that hang up at any moment of a connect leave no seat taken: nobody else would get it.
func TestAbortsLeaveNoSeat(t *testing.T) {
	engines(t, func(t *testing.T, engine func(*setup)) {
		const aborts = 1000
		p := newPeople()
		p.plans(func(p *access.Plan) { p.Connections.PerSubscription = 2 * aborts })
		key := p.app("a", "paid")
		src := inMemory(t)
		r := newRig(t, engine, withAccess(t, p, nil), metered(src, "e"))
		request := "GET /paid/1/ticks HTTP/1.1\r\nHost: localhost\r\n" + headerLines([]string{withKey(key)}) + "\r\n"
		for i := range aborts {
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_ = c.(*net.TCPConn).SetLinger(0) // a reset instead of an end
			}
			_, _ = c.Write([]byte(request))
			if i%3 == 0 { // it has begun, or been refused for the many that went before
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, _ = c.Read(make([]byte, 64))
			}
			_ = c.Close()
		}
		scope := quota.PerSubscription.Scope("grant-a-paid")
		wait(t, "all seats are free", func() bool {
			u, err := src.(quota.Viewer).Usage(t.Context(), scope, quota.Limit{})
			return err == nil && u.Seats == 0 && r.srv.Open() == 0
		})
		a := r.get("/paid/1/ticks", withKey(key))
		a.takeRetry(t)
		if u, err := src.(quota.Viewer).Usage(t.Context(), scope, quota.Limit{}); err != nil || u.Seats == 0 {
			t.Errorf("one client has %d seats: %v", u.Seats, err)
		}
	})
}
