package badinput

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/broker/brokertest"
	"sluice/test/feed"
	"sluice/test/gateway"
)

// canary is in every credential, and in headers and query values of the cases: it must never come out again.
const canary = "Canary_4b1d"

// rig is a running gateway with its upstream and the streams that must go on flowing.
type rig struct {
	t       *testing.T
	gate    *gateway.Gateway
	market  *feed.Market
	addr    string              // of the upstream
	asked   atomic.Int64        // requests that it got
	tokens  map[string]string   // of users of the management API
	servers *brokertest.Servers // nil = the broker is embedded
	doors   *doors              // who may read, nil if the fixture says nothing of it
	redis   *redisServer        // nil = quotas are counted without one
	fix     Fixture
	watched []*watcher
	fed     []string          // names of the feeds that get events in this case
	answers map[string]string // by case: what Like compares
	noted   []note
}

// note is what the log must say about one request once the process has ended.
type note struct {
	id      string // of the case
	request string // request id, "" = nothing was answered by us
	want    Want
	stream  bool
	slow    bool // the answer is none that counts: see Want.Slow
}

// watcher is one stream that is open all the time.
type watcher struct {
	Watch
	resp *http.Response
	ids  []string    // seen before the first case
	got  chan string // ids from then on; the reader ends with the body
}

func newRig(t *testing.T, fix Fixture, engine string) *rig {
	t.Helper()
	gateway.Binary(t, fix.Plain) // which takes its time
	r := &rig{t: t, fix: fix, market: feed.New(1, feed.Options{Manual: true}), answers: map[string]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		r.market.ServeHTTP(w, q)
	}))
	r.addr = srv.Listener.Addr().String()
	t.Cleanup(func() { r.market.Close(); srv.Close() })
	o := gateway.Options{
		Engine: engine, Env: append([]string{"SLUICE_SECRET_UPSTREAM=" + canary + "-secret", "SLUICE_UPSTREAM_IDLE=0s"}, fix.Env...), HTTPS: fix.HTTPS, Plain: fix.Plain,
	}
	if fix.Apart {
		r.servers = brokertest.Cluster(t, 1, brokertest.ClusterOptions{Conf: apartConf(t)})
		o.Env = append(o.Env, "SLUICE_BROKER_URLS="+strings.Join(r.servers.URLs(), ","), "SLUICE_UPSTREAM_ALLOW_CIDRS=127.0.0.0/8")
	}
	if fix.Redis {
		r.redis = newRedis(t)
		o.Env = append(o.Env, "SLUICE_QUOTA_REDIS_URLS="+r.redis.url())
	}
	if o.Manage = len(fix.Users) > 0 || len(fix.Keys) > 0; !o.Manage {
		o.APIs = map[string]string{"apis.yaml": r.expand(fix.APIs)}
	}
	r.gate = gateway.New(t, o)
	t.Cleanup(r.gate.Kill)
	if len(fix.Keys) > 0 {
		r.doors = newDoors(r)
	}
	r.gate.Start()
	if o.Manage {
		r.signIn()
		r.apply()
	}
	if r.doors != nil {
		r.doors.open()
	}
	r.allUp()
	for _, w := range fix.Watch {
		r.watch(w)
	}
	return r
}

// allUp waits until every feed reads its upstream: what that sends earlier is not for us.
func (r *rig) allUp() {
	r.t.Helper()
	r.until("all feeds are up", func() bool {
		feeds := r.feeds()
		return len(feeds) == r.fix.Feeds && !slices.ContainsFunc(feeds, func(f feedState) bool { return f.State != "up" })
	})
}

// until polls for a fact that nothing announces.
func (r *rig) until(what string, ok func() bool) bool {
	r.t.Helper()
	return until(r.t, what, ok)
}

func until(t *testing.T, what string, ok func() bool) bool {
	t.Helper()
	limit, tick := time.After(deadline), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("waited in vain: %s", what)
			return false
		}
	}
	return true
}

// watch opens a stream, lets its upstream send, and keeps it open.
func (r *rig) watch(w Watch) {
	r.t.Helper()
	client := gateway.OneShot()
	client.Timeout = 0
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.gate.URL(w.Path), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, h := range w.As {
		name, value, _ := strings.Cut(r.expand(h), ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		r.t.Fatalf("stream %s: %v %v", w.Path, resp, err)
	}
	v := &watcher{Watch: w, resp: resp, got: make(chan string, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(v.got)
		readIDs(resp.Body, v.got)
	}()
	r.t.Cleanup(func() { resp.Body.Close(); <-done })
	r.market.Emit(w.Feed, w.Emit)
	for range w.Emit {
		v.ids = append(v.ids, v.next(r.t))
	}
	r.watched = append(r.watched, v)
}

// next waits for the stream's next event.
func (w *watcher) next(t *testing.T) string {
	t.Helper()
	select {
	case id, ok := <-w.got:
		if !ok {
			t.Fatalf("the open stream of %s was ended", w.Path)
		}
		return id
	case <-time.After(deadline):
		t.Fatalf("the open stream of %s does not flow", w.Path)
	}
	return ""
}

// flows sends one event to the first open stream and wants it there, on the same connection and nothing else.
func (r *rig) flows(t *testing.T) {
	t.Helper()
	w := r.watched[0]
	r.market.Emit(w.Feed, 1)
	w.ids = append(w.ids, w.next(t))
}

// feedState is what must not change about a feed.
type feedState struct {
	API, Path, State, Why string
	Always                bool
	Seq, Opens, Markers   uint64
	Events                uint64
	Resume                string
}

func (r *rig) feeds() []feedState {
	r.t.Helper()
	code, body := r.gate.Ops("/feeds")
	var all struct{ Feeds []feedState }
	if err := json.Unmarshal(body, &all); err != nil || code != http.StatusOK {
		r.t.Fatalf("GET /feeds: %d, %v: %s", code, err, body)
	}
	noCanary(r.t, "/feeds", string(body))
	return all.Feeds
}

// state is what a refused input must leave as it was: definitions in use, feeds, what is stored, upstream connections,
// open streams.
type state struct {
	Always   []feedState
	OnDemand []string // these end by themselves, a while after their last reader
	Streams  float64
	Catalog  int    // how often definitions were taken
	Managed  string // APIs and users as the management API tells of them
	Asked    int64  // requests to the upstream, where no feed makes any
}

func (r *rig) state() state {
	r.t.Helper()
	return r.stateAt(r.metrics())
}

func (r *rig) stateAt(m series) state {
	r.t.Helper()
	s := state{Streams: m.sum("edge_connections")}
	s.Catalog = r.gate.Logged(func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") })
	s.Managed = r.managed()
	if r.fix.Feeds == 0 {
		s.Asked = r.asked.Load()
	}
	for _, f := range r.feeds() {
		if !f.Always {
			s.OnDemand = append(s.OnDemand, f.API+f.Path)
			continue
		}
		if slices.Contains(r.fed, f.API+f.Path) {
			f.Seq, f.Events = 0, 0 // these get events between two looks
		}
		s.Always = append(s.Always, f)
	}
	return s
}

// name is the API and path of the feed behind an open stream.
func (w *watcher) name() string {
	part := strings.SplitN(w.Path, "/", 4)
	return part[1] + "/" + part[3]
}

// same says that s is what it was before, o. A feed on demand may be gone by now, but none may have come, unless grows.
func (s state) same(o state, grows bool) bool {
	come := slices.ContainsFunc(s.OnDemand, func(f string) bool { return !slices.Contains(o.OnDemand, f) })
	return s.Streams == o.Streams && s.Catalog == o.Catalog && s.Managed == o.Managed && s.Asked == o.Asked && slices.Equal(s.Always, o.Always) && (grows || !come)
}

// series is a scrape of /metrics, by series as written.
type series map[string]float64

func (r *rig) metrics() series {
	r.t.Helper()
	code, body := r.gate.Ops("/metrics")
	if code != http.StatusOK {
		r.t.Fatalf("/metrics: %d", code)
	}
	noCanary(r.t, "/metrics", string(body))
	m := series{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, ok = strings.Cut(strings.TrimSpace(line), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(line, "#") {
			m[name] = v
		}
	}
	return m
}

// sum adds the series of a metric, named without sluice_, that carry the labels behind its name.
func (m series) sum(key string) (total float64) {
	name, labels, _ := strings.Cut(strings.TrimSuffix(key, "}"), "{")
	for s, v := range m {
		have, rest, _ := strings.Cut(s, "{")
		if have != "sluice_"+name {
			continue
		}
		if labels == "" || !slices.ContainsFunc(strings.Split(labels, ","), func(l string) bool { return !strings.Contains(rest, l) }) {
			total += v
		}
	}
	return total
}

func noCanary(t testing.TB, where, text string) {
	t.Helper()
	if at := strings.Index(text, canary); at >= 0 {
		t.Errorf("%s holds a secret: …%.200s", where, text[max(0, at-80):])
	}
}

var marks = regexp.MustCompile(`\$\{([^}]*)\}`)

// expand fills in ${market} (the upstream's address), ${canary}, ${text*n} (repeated), ${id:stream:n} (the nth id from the
// end of an open stream, 1 = last), ${ahead} (an id beyond the log), ${othertime} (of the last event, another time), ${old} (of
// an earlier life), ${broker} and ${edge} (addresses), ${hostname} (a name that leads to an address of this machine), and for patterns ${retry} and ${event}.
// Credentials are filled in by doors.
func (r *rig) expand(text string) string {
	return marks.ReplaceAllStringFunc(text, func(mark string) string {
		word := mark[2 : len(mark)-1]
		if at := strings.LastIndexByte(word, '*'); at >= 0 {
			count, err := strconv.Atoi(word[at+1:])
			if err != nil {
				r.t.Fatalf("%s: %v", mark, err)
			}
			return strings.Repeat(word[:at], count)
		}
		part := strings.Split(word, ":")
		switch part[0] {
		case "market":
			return r.addr
		case "canary":
			return canary
		case "broker":
			return strings.TrimPrefix(r.servers.URLs()[0], "nats://")
		case "edge":
			return r.gate.Addrs["edge-http"]
		case "hostname":
			return localName(r.t)
		case "retry":
			return `retry: [0-9]+\n`
		case "event":
			return `data: \{[^\n]*\}\nid: [0-9a-z]+-[0-9a-z]+\n\n`
		case "id":
			stream, _ := strconv.Atoi(part[1])
			n, _ := strconv.Atoi(part[2])
			ids := r.watched[stream].ids
			return ids[len(ids)-n]
		case "ahead", "othertime", "old":
			ids := r.watched[0].ids
			return otherID(part[0], ids[len(ids)-1])
		}
		if r.doors != nil {
			return r.doors.expand(part)
		}
		r.t.Fatalf("unknown mark %s", mark)
		return ""
	})
}

// expandAll expands a list of headers.
func (r *rig) expandAll(list []string) (out []string) {
	for _, s := range list {
		out = append(out, r.expand(s))
	}
	return out
}

func otherID(how, id string) string {
	s, m, _ := strings.Cut(id, "-")
	seq, _ := strconv.ParseUint(s, 36, 64)
	micros, _ := strconv.ParseUint(m, 36, 64)
	switch how {
	case "ahead":
		seq += 1000
	case "othertime":
		micros++
	case "old":
		seq = 7
	}
	return strconv.FormatUint(seq, 36) + "-" + strconv.FormatUint(micros, 36)
}

// checkCounts wants the counters to have changed by exactly what the case says, and by one refusal of its type. A flood of
// frames may meet the limits of the node, so that of those only what the case says counts.
func (r *rig) checkCounts(t *testing.T, w Want, before series, flood bool) {
	t.Helper()
	want := map[string]int{"edge_refused_total": 0, "edge_sheds_total": 0}
	if flood {
		clear(want)
	}
	if kind, ok := strings.CutPrefix(w.Type, "/problems/"); ok {
		want["edge_refused_total"], want[`edge_refused_total{type="`+kind+`"}`] = 1, 1
	}
	if w.Shed != "" {
		want["edge_refused_total"], want["edge_sheds_total"], want[`edge_sheds_total{type="`+w.Shed+`"}`] = 1, 1, 1
	}
	maps.Copy(want, w.Count)
	keys := slices.Sorted(maps.Keys(want))
	var wrong string
	for range 100 { // what is counted when a stream has ended comes a little later
		now := r.metrics()
		wrong = ""
		for _, key := range keys {
			if got := now.sum(key) - before.sum(key); got != float64(want[key]) {
				wrong = fmt.Sprintf("sluice_%s changed by %v, want %d", key, got, want[key])
				break
			}
		}
		if wrong == "" {
			return
		}
	}
	t.Error(wrong)
}

// keptBack is how many log lines were suppressed.
func (m series) keptBack() float64 {
	return m.sum("edge_log_suppressed_total") + m.sum("log_suppressed_total")
}

// end ends the process and judges the whole of its log: the lines of every case, and that no secret is in any.
func (r *rig) end() {
	r.t.Helper()
	r.gate.Kill()
	log := r.gate.Log()
	byRequest := map[string][]gateway.Entry{}
	for _, e := range log {
		text, _ := json.Marshal(e)
		noCanary(r.t, "the log", string(text))
		if e.Is("msg", "panic") || e["text"] != nil {
			r.t.Errorf("log: %s", text)
		}
		if id, ok := e["request_id"].(string); ok {
			byRequest[id] = append(byRequest[id], e)
		}
	}
	for _, n := range r.noted {
		if n.request != "" {
			n.check(r.t, byRequest[n.request])
		}
	}
}

// check compares the lines of one request with what the case wants: its line, a stream's access line, and no other.
func (n note) check(t *testing.T, lines []gateway.Entry) {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Helper()
		failed(n.id)
		t.Errorf("%s: log: %s\nlines: %v", n.id, fmt.Sprintf(format, args...), lines)
	}
	count := 0
	for _, e := range lines {
		event := fmt.Sprint(e["msg"])
		switch {
		case event == "conn.close" && n.stream:
			if n.want.Close != nil {
				for k, v := range n.want.Close.Fields {
					if !e.Is(k, v) {
						bad("%s of the access line is %v, want %s", k, e[k], v)
					}
				}
			}
		case n.want.Log != nil && event == n.want.Log.Event:
			count++
			if !e.Is("level", n.want.Log.Level) {
				bad("%s is %v, want %s", event, e["level"], n.want.Log.Level)
			}
			for k, v := range n.want.Log.Fields {
				if !e.Is(k, v) {
					bad("%s of %s is %v, want %s", k, event, e[k], v)
				}
			}
		default:
			bad("unexpected line %s", event)
		}
	}
	if n.want.Log != nil && count != 1 {
		bad("%d lines %s, want 1", count, n.want.Log.Event)
	}
	if n.stream && len(lines) == count {
		bad("no access line")
	}
}

func onOrMain(c Case) string { return cmp.Or(c.On, "main") }
