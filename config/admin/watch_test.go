package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/sse"
)

// told is one event of a stream of changes.
type told struct {
	name, id string
	data     string
}

// id of the object that it is about.
func (e told) about() string {
	var c struct{ ID string }
	_ = json.Unmarshal([]byte(e.data), &c)
	return c.ID
}

// stream is an open stream of changes; it closes with the test.
type stream struct {
	t        *testing.T
	contract *contract
	read     *sse.Decoder
	close    func()
}

// watch opens a stream of changes. Further arguments are names and values of header fields.
func (c client) watch(query string, header ...string) *stream {
	c.t.Helper()
	return c.stream("/api/v1/watch"+query, header...)
}

// stream opens what does not end.
func (c client) stream(target string, header ...string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.http.URL+target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Client().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.validate(req, res, nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("%d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	s := &stream{t: c.t, contract: c.server.contract, read: sse.NewDecoder(res.Body, sse.Options{})}
	var once sync.Once
	s.close = func() { once.Do(func() { cancel(); res.Body.Close() }) }
	c.t.Cleanup(s.close)
	return s
}

// next reads one event.
func (s *stream) next() told {
	s.t.Helper()
	ev, err := s.read.Next()
	if err != nil {
		s.t.Fatalf("the stream ended: %v", err)
	}
	e := told{string(ev.Type), string(ev.ID), string(ev.Data)}
	if name := map[string]string{eventChanged: "WatchedChange", eventDeleted: "WatchedChange", eventSample: "MonitorSample"}[e.name]; name != "" {
		schema := s.contract.doc.Components.Schemas[name].Value
		if err := schema.VisitJSON(decodeAs[any](s.t, ev.Data)); err != nil {
			s.t.Errorf("%s is not as openapi.yaml says: %v", ev.Data, err)
		}
	}
	return e
}

// want reads one event of a name about an object.
func (s *stream) want(name, about string) told {
	s.t.Helper()
	e := s.next()
	if e.name != name || e.about() != about {
		s.t.Fatalf("event %+v, want %s of %q", e, name, about)
	}
	return e
}

func TestWatch(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	first, _ := create(t, c, "first", nil)
	w := c.watch("?kinds=API")
	ready := w.want("ready", "")
	second, tag := create(t, c, "second", func(d map[string]any) { put(t, d, "/spec/topics/0/security", "none") })
	e := w.want("changed", "second@1.0.0")
	if e.id != strings.Trim(tag, `"`) {
		t.Errorf("id %s of a change to %s", e.id, tag)
	}
	if c := decodeAs[change](t, []byte(e.data)); c.API == nil || c.API.State != "CREATED" || c.API.Context != "/second" || strconv.FormatUint(c.Rev, 10) != e.id {
		t.Errorf("told %+v", c)
	}
	c.send("POST", second+"/topics", mediaJSON, `{"name":"/t","security":"none"}`).want(t, http.StatusCreated)
	w.want("changed", "second@1.0.0")
	r.as("publisher").send("POST", second+"/lifecycle", mediaJSON, `{"action":"publish"}`).want(t, http.StatusOK)
	if e := w.want("changed", "second@1.0.0"); !strings.Contains(e.data, "PUBLISHED") {
		t.Errorf("told %s", e.data)
	}
	c.send("DELETE", first, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	last := w.want("deleted", "first@1.0.0")

	// A return tells what was missed, of each API once; what has gone is told although nobody asked for it.
	back := c.watch("", "Last-Event-ID", ready.id)
	if e := back.want("ready", ""); e.id != ready.id {
		t.Errorf("ready at %s, asked for %s", e.id, ready.id)
	}
	back.want("changed", "second@1.0.0")
	if e := back.want("deleted", "first@1.0.0"); e.id != last.id {
		t.Errorf("%s, told live at %s", e.id, last.id)
	}
	all := c.watch("?since=0")
	all.want("ready", "")
	all.want("changed", "second@1.0.0")

	list := decodeAs[APIList](t, c.send("GET", "/api/v1/apis", "", "").want(t, http.StatusOK).body)
	now := c.watch(fmt.Sprintf("?since=%d", list.Rev))
	now.want("ready", "")
	create(t, c, "third", nil)
	now.want("changed", "third@1.0.0")

	c.send("GET", "/api/v1/watch?kinds=Deny", "", "").problem(t, http.StatusBadRequest, "invalid-query")
	c.send("GET", "/api/v1/watch?kinds=Plan&since=7", "", "").problem(t, http.StatusBadRequest, "invalid-query")
	c.send("GET", "/api/v1/watch?kinds=API", "", "", "Last-Event-ID", "1-2").problem(t, http.StatusBadRequest, "invalid-last-event-id")
	c.send("GET", "/api/v1/watch?kinds=API,Plan", "", "", "Last-Event-ID", "1").problem(t, http.StatusBadRequest, "invalid-last-event-id")
	r.as("subscriber").send("GET", "/api/v1/watch?kinds=API,Plan", "", "").problem(t, http.StatusForbidden, "forbidden")
	c.send("GET", "/api/v1/watch?since=-1", "", "").problem(t, http.StatusBadRequest, "invalid-query")
	c.send("GET", "/api/v1/watch", "", "", "Last-Event-ID", "x").problem(t, http.StatusBadRequest, "invalid-last-event-id")
	c.send("GET", "/api/v1/watch", "", "", "Accept", "application/json").problem(t, http.StatusNotAcceptable, "not-acceptable")
}

// TestWatchTellsOnlyWhatTheCallerSees makes APIs private and takes them away again.
func TestWatchTellsOnlyWhatTheCallerSees(t *testing.T) {
	r := newRig(t)
	owner := r.as("creator")
	mine := r.as("other").watch("")
	mine.want("ready", "")
	private := func(d map[string]any) { put(t, d, "/spec/visibility", "private") }
	secret, _ := create(t, owner, "secret", private)
	owner.send("DELETE", secret, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	hidden, _ := create(t, owner, "hidden", nil)
	mine.want("changed", "hidden@1.0.0")
	d := anAPI("hidden")
	private(d)
	owner.send("PUT", hidden, mediaJSON, body(t, d), "If-Match", "*").want(t, http.StatusOK)
	mine.want("deleted", "hidden@1.0.0")
	owner.send("PUT", hidden, mediaJSON, body(t, d), "If-Match", "*").want(t, http.StatusOK)
	owner.send("DELETE", hidden, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	create(t, owner, "open", nil)
	mine.want("changed", "open@1.0.0")
}

// TestWatchOfAnotherNode resumes where nobody saw what happened: what cannot be told is told to be so.
func TestWatchOfAnotherNode(t *testing.T) {
	one, two := newPair(t)
	c := one.as("both")
	create(t, c, "before", nil) // of a reader who has seen nothing, nothing went
	w := c.watch("")
	ready := w.want("ready", "")
	gone, _ := create(t, c, "gone", nil)
	create(t, c, "here", nil)
	c.send("DELETE", gone, "", "", "If-Match", "*").want(t, http.StatusNoContent)

	seen := two.as("both").watch("", "Last-Event-ID", ready.id) // it followed all the time
	seen.want("ready", "")
	for {
		if e := seen.next(); e.name == "changed" && e.about() == "gone@1.0.0" {
			continue // it had not seen the deletion yet
		} else if e.name != "changed" || e.about() != "here@1.0.0" {
			t.Errorf("told %+v", e)
		}
		break
	}

	late := newRigOn(t, two.node)
	late.tokens = two.tokens
	<-late.accounts.Ready()
	all := late.as("both").watch("?since=0") // needs to know of nothing that went
	all.want("ready", "")
	all.want("changed", "before@1.0.0")
	all.want("changed", "here@1.0.0")
	unsure := late.as("both").watch("", "Last-Event-ID", ready.id)
	unsure.want("ready", "")
	for {
		e := unsure.next()
		if e.name == "changed" {
			continue
		}
		if e.name != "reset" {
			t.Errorf("told %+v", e)
		}
		break
	}
}

func TestWatchEndsWithTheSession(t *testing.T) {
	r := newRig(t)
	for name, end := range map[string]func(token string){
		"logout": func(token string) {
			client{r, token}.send("POST", "/api/v1/logout", "", "").want(t, http.StatusNoContent)
		},
		"roles": func(string) {
			r.as("admin").send("PUT", "/api/v1/users/creator", mediaJSON, `{"roles":["subscriber"]}`).want(t, http.StatusOK)
		},
	} {
		user := map[string]string{"logout": "publisher", "roles": "creator"}[name]
		w := r.as(user).watch("")
		w.want("ready", "")
		end(r.tokens[user])
		if e := w.next(); e.name != "end" || !strings.Contains(e.data, "signed-out") {
			t.Errorf("%s: %+v", name, e)
		}
		if _, err := w.read.Next(); err != io.EOF {
			t.Errorf("%s: after the end: %v", name, err)
		}
	}
}

// TestWatchersAreBounded opens as many as one user may have.
func TestWatchersAreBounded(t *testing.T) {
	r := newRig(t)
	var open []*stream
	for range mostWatchersBy {
		w := r.as("both").watch("")
		w.want("ready", "")
		open = append(open, w)
	}
	if a := r.as("both").send("GET", "/api/v1/watch", "", ""); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	} else {
		a.problem(t, http.StatusTooManyRequests, "too-many-connections")
	}
	r.as("creator").watch("").want("ready", "")
	open[0].close()
	eventually(t, "a place is free again", func() bool {
		r.server.watching.mu.Lock()
		defer r.server.watching.mu.Unlock()
		return r.server.watching.by["both"] == mostWatchersBy-1
	})
	r.as("both").watch("").want("ready", "")
}

// TestWatchEndsWithTheServer has a stream open while Run ends: it is told, and the end does not wait for it.
func TestWatchEndsWithTheServer(t *testing.T) {
	r := newRig(t)
	if err := r.server.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Run(ctx) }()
	req, err := http.NewRequest(http.MethodGet, "http://"+r.server.Addr().String()+"/api/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.tokens["both"])
	res, err := r.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && lines.Text() != "event: ready" { //nolint:revive // reads on
	}
	cancel()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if err := <-done; err != nil {
		t.Errorf("the server's end: %v", err)
	}
	if text := strings.Join(rest, "\n"); !strings.Contains(text, "event: end\ndata: {\"reason\":\"shutdown\"}") {
		t.Errorf("told %q", text)
	}
}

// eventually polls until ok, for what no channel tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// Changes of what says who may read are told to those they concern, and to nobody else.
func TestWatchAccess(t *testing.T) {
	r := newRig(t)
	publishedAPI(t, r, "Market", "1.0.0", "AsyncGold", "AsyncBronze")
	c, admin := r.as("subscriber"), r.as("admin")
	mine, theirs, all := c.watch(""), r.as("friend").watch(""), r.as("both").watch("?kinds=API,Subscription")
	start := mine.want("ready", "")
	theirs.want("ready", "")
	all.want("ready", "")

	app := newApp(t, c, "trader").Status.ID
	mine.want("changed", app)
	sub := readAs[SubscriptionDefinition](t, c.send("POST", "/api/v1/subscriptions", mediaJSON, subscribeBody(t, "trader", "Market", "1.0.0", "AsyncGold")).want(t, http.StatusCreated)).Status.ID
	if e := mine.want("changed", sub); !strings.Contains(e.data, `"kind":"Subscription"`) || !strings.Contains(e.data, `"application":"`+app+`"`) {
		t.Errorf("told %s", e.data)
	}
	all.want("changed", sub) // a publisher of the API
	create(t, r.as("both"), "second", nil)
	all.want("changed", "second@1.0.0")
	key := readAs[KeyMade](t, c.send("POST", "/api/v1/applications/trader/keys", mediaJSON, `{"name":"desk"}`).want(t, http.StatusCreated))
	if e := mine.want("changed", key.ID); strings.Contains(e.data, key.Key) || strings.Contains(e.data, "hash") {
		t.Errorf("a secret is told: %s", e.data)
	}
	plan := resource(t, "Plan", map[string]any{"name": "Trial"}, map[string]any{"quota": map[string]any{"events": 1, "unit": "hour"}})
	admin.send("POST", "/api/v1/plans", mediaJSON, plan).want(t, http.StatusCreated)
	mine.want("changed", "Trial")
	theirs.want("changed", "Trial") // the first that concerns them

	// A new owner has it, the one before has it no more.
	given := resource(t, "Application", map[string]any{"name": "trader", "owner": "friend"}, map[string]any{})
	admin.send("PUT", "/api/v1/applications/"+app, mediaJSON, given, "If-Match", "*").want(t, http.StatusOK)
	last := mine.want("deleted", app)
	theirs.want("changed", app)

	// A return tells what was missed, of each once; what came and went, not at all. All at once are the deletions of an application.
	newApp(t, c, "short")
	c.send("DELETE", "/api/v1/applications/short", "", "", "If-Match", "*").want(t, http.StatusNoContent)
	r.as("friend").send("DELETE", "/api/v1/applications/"+app, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	gone := map[string]bool{}
	for range 3 {
		e := theirs.next()
		gone[e.name+" "+e.about()] = true
	}
	if !gone["deleted "+app] || !gone["deleted "+sub] || !gone["deleted "+key.ID] {
		t.Errorf("told %v", gone)
	}
	all.want("deleted", sub)
	back := c.watch("", "Last-Event-ID", last.id)
	back.want("ready", "")
	newApp(t, c, "next")
	if e := back.next(); e.name != "changed" || e.about() == app || !strings.Contains(e.data, `"kind":"Application"`) {
		t.Errorf("after coming back: %+v", e)
	}
	missed := c.watch("?kinds=Plan", "Last-Event-ID", start.id)
	if e := missed.want("ready", ""); e.id != start.id || !strings.Contains(e.id, "-") {
		t.Errorf("ready at %s, asked for %s", e.id, start.id)
	}
	missed.want("changed", "Trial")
	everything := c.watch("?kinds=Plan,Key&since=0")
	everything.want("ready", "")
	plans := map[string]bool{}
	for range 5 {
		plans[everything.next().about()] = true
	}
	if !plans["AsyncGold"] || !plans["Trial"] {
		t.Errorf("everything is %v", plans)
	}
}
