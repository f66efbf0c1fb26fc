package badinput

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/gateway"
)

// TestManagement sends what users of the management API can send.
func TestManagement(t *testing.T) {
	t.Parallel()
	for _, surface := range []string{"admin", "asyncapi"} {
		f := load(t, surface)
		for _, name := range slices.Sorted(maps.Keys(f.Fixtures)) {
			t.Run(surface+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, f.Fixtures[name], "auto")
				for _, c := range f.Cases {
					if onOrMain(c) == name {
						t.Run(c.ID, func(t *testing.T) {
							ran(t, c.ID)
							r.manageCase(t, c)
						})
					}
				}
				r.end()
			})
		}
	}
}

// signIn makes the fixture's users, and sessions of all.
func (r *rig) signIn() {
	r.t.Helper()
	r.tokens = map[string]string{}
	r.login("admin")
	for _, user := range r.fix.Users {
		role := "creator"
		if slices.Contains([]string{"creator", "publisher", "subscriber"}, user) {
			role = user
		}
		body := fmt.Sprintf(`{"name":%q,"password":%q,"roles":[%q]}`, user, gateway.AdminPassword, role)
		if a := r.ask(r.t, &Manage{Request: "POST /api/v1/users", Body: body}); a.status != http.StatusCreated {
			r.t.Fatalf("user %s: %d %s", user, a.status, a.body)
		}
		r.login(user)
	}
}

func (r *rig) login(user string) {
	r.t.Helper()
	a := r.ask(r.t, &Manage{Request: "POST /api/v1/login", As: "-", Body: fmt.Sprintf(`{"name":%q,"password":%q}`, user, gateway.AdminPassword)})
	var s struct{ Token string }
	if err := json.Unmarshal(a.body, &s); err != nil || a.status != http.StatusOK || s.Token == "" {
		r.t.Fatalf("login of %s: %d %s", user, a.status, a.body)
	}
	r.tokens[user] = s.Token
}

// apply puts the fixture's APIs into the catalog.
func (r *rig) apply() {
	r.t.Helper()
	if r.fix.APIs == "" {
		return
	}
	a := r.ask(r.t, &Manage{Request: "POST /api/v1/apply", Type: "application/yaml", Body: r.fix.APIs})
	if a.status != http.StatusOK || bytes.Contains(a.body, []byte(`"refused"`)) {
		r.t.Fatalf("apply: %d %s", a.status, a.body)
	}
}

// managed is what the management API tells of APIs and users; "" without one.
func (r *rig) managed() string {
	r.t.Helper()
	if r.tokens == nil {
		return ""
	}
	var all []string
	paths := []string{"/api/v1/apis?limit=200", "/api/v1/users"}
	if r.doors != nil {
		paths = append(paths, "/api/v1/plans", "/api/v1/applications", "/api/v1/subscriptions")
	}
	for _, path := range paths {
		a := r.ask(r.t, &Manage{Request: "GET " + path})
		if a.status != http.StatusOK {
			r.t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		all = append(all, listRev.ReplaceAllString(string(a.body), `"total":`))
	}
	return strings.Join(all, "\n")
}

// listRev is the revision of the catalog in a list: it counts what was undone too.
var listRev = regexp.MustCompile(`"rev":[0-9]+,"total":`)

// managedAnswer is an answer of the management API.
type managedAnswer struct {
	status int
	header http.Header
	body   []byte
	closed bool
}

// ask sends one request over a connection of its own.
func (r *rig) ask(t *testing.T, m *Manage) managedAnswer {
	t.Helper()
	a, err := r.try(t, m)
	if err != nil {
		t.Fatalf("%s: %v", m.Request, err)
	}
	return a
}

func (r *rig) try(t *testing.T, m *Manage) (managedAnswer, error) {
	t.Helper()
	method, target, _ := strings.Cut(m.Request, " ")
	body, media := r.bodyOf(t, m)
	req, err := http.NewRequest(method, "http://"+r.gate.Addrs["control"]+r.expand(target), bytes.NewReader(body))
	if err != nil {
		return managedAnswer{}, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", media)
	}
	if user := cmp.Or(m.As, "admin"); user != "-" {
		req.Header.Set("Authorization", "Bearer "+r.tokens[user])
	}
	req.Header.Set("X-Secret", canary+"-header")
	req.Header.Set("Cookie", "sid="+canary+"-cookie")
	for _, h := range m.Headers {
		name, value, _ := strings.Cut(r.expand(h), ": ")
		req.Header.Set(name, value)
	}
	client := gateway.OneShot()
	client.Transport = &http.Transport{DisableCompression: true} // keeps connections, so that a close is the other side's
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return managedAnswer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return managedAnswer{resp.StatusCode, resp.Header, text, resp.Close}, err
}

// bodyOf makes the body of a request.
func (r *rig) bodyOf(t *testing.T, m *Manage) (body []byte, media string) {
	t.Helper()
	switch {
	case m.Body != "":
		return []byte(r.expand(m.Body)), cmp.Or(m.Type, "application/json")
	case len(m.Zip) > 0:
		return r.pack(t, m.Zip), cmp.Or(m.Type, "application/zip")
	case m.Spoil != nil:
		return r.spoilt(t, m.Spoil), cmp.Or(m.Type, "application/json")
	}
	return nil, ""
}

// spoilt is a right definition with values put at JSON pointers; an element `-` is a new one of a list.
func (r *rig) spoilt(t *testing.T, values map[string]any) []byte {
	t.Helper()
	var api any
	if err := json.Unmarshal([]byte(`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"spoilt"},"spec":{"context":"/spoilt","version":"1",
		"endpoint":"http://backend.invalid","topics":[{"name":"/t","security":"none"}]}}`), &api); err != nil {
		t.Fatal(err)
	}
	for _, pointer := range slices.Sorted(maps.Keys(values)) {
		value := values[pointer]
		if text, ok := value.(string); ok {
			value = r.expand(text)
		}
		api = putAt(t, api, strings.Split(pointer, "/")[1:], value)
	}
	text, err := json.Marshal(api)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func putAt(t *testing.T, at any, path []string, value any) any {
	t.Helper()
	if len(path) == 0 {
		return value
	}
	switch x := at.(type) {
	case map[string]any:
		x[path[0]] = putAt(t, x[path[0]], path[1:], value)
		return x
	case []any:
		if path[0] == "-" {
			return append(x, putAt(t, nil, path[1:], value))
		}
		n, err := strconv.Atoi(path[0])
		if err != nil || n >= len(x) {
			t.Fatalf("no element %s", path[0])
		}
		x[n] = putAt(t, x[n], path[1:], value)
		return x
	case nil:
		return map[string]any{path[0]: putAt(t, nil, path[1:], value)}
	}
	t.Fatalf("nothing to put %v into", path)
	return nil
}

// pack makes an archive.
func (r *rig) pack(t *testing.T, entries []Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		name, many, _ := strings.Cut(e.Name, "*")
		n, _ := strconv.Atoi(cmp.Or(many, "1"))
		for i := range n {
			h := &zip.FileHeader{Name: name, Method: zip.Deflate}
			if n > 1 {
				h.Name += strconv.Itoa(i)
			}
			if e.Link {
				h.SetMode(fs.ModeSymlink | 0o777)
			}
			f, err := w.CreateHeader(h)
			if err == nil {
				_, err = io.WriteString(f, r.expand(e.Text))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// localName finds a name that leads to addresses of this machine or its network and is not localhost.
func localName(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{host, "ip6-localhost", "localhost6"} {
		addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", name)
		if err == nil && len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a netip.Addr) bool {
			return !a.Unmap().IsLoopback() && !a.Unmap().IsPrivate() && !a.IsLinkLocalUnicast()
		}) {
			return name
		}
	}
	t.Fatal("no name of this machine leads to an address of its own")
	return ""
}

// manageCase sends one case and checks everything around it. If the log was full of such lines it is sent again, as one of them
// must be seen.
func (r *rig) manageCase(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		if !r.tryManaged(t, c) || t.Failed() {
			return
		}
		<-tick.C
	}
	t.Error("its log line is kept back every time")
}

// tryManaged is one sending; true means that its log line was kept back.
func (r *rig) tryManaged(t *testing.T, c Case) (again bool) {
	m, w := c.Send.Manage, c.Want
	r.fed = nil
	if len(r.watched) > 0 {
		r.fed = []string{r.watched[0].name()}
	}
	held := r.hold(t, c.Send.Hold)
	counts := r.metrics()
	before := r.stateAt(counts)
	if c.Send.Away {
		r.away(t)
	}
	if m.AtOnce > 0 {
		r.atOnce(t, c)
	} else {
		n := r.oneManaged(t, c)
		if !w.Changes && !c.Send.Away && n.want.Log != nil && r.metrics().keptBack() > counts.keptBack() {
			again, n.want.Log = true, nil
		}
		r.noted = append(r.noted, n)
	}
	if c.Send.Away {
		r.back(t)
	}
	r.checkEnds(t, held, w.End)
	if w.State != "" {
		name := "spoilt"
		until(t, "state "+w.State, func() bool { return r.feed(name).State == w.State })
		r.firstLine(t, name, w.Log)
	}
	if m.Undo != "" {
		if a := r.ask(t, &Manage{Request: m.Undo, Headers: []string{"If-Match: *"}}); a.status/100 != 2 {
			t.Errorf("%s: %d %s", m.Undo, a.status, a.body)
		}
	}
	r.checkCounts(t, Want{}, counts, false)
	var after state
	if !w.Changes && !until(t, "the state is as before", func() bool { after = r.state(); return after.same(before, w.Grows) }) {
		t.Errorf("state\n%+v\nbefore\n%+v", after, before)
	}
	if len(r.watched) > 0 {
		r.flows(t)
	}
	return again
}

// hold opens streams on the plaintext listener.
func (r *rig) hold(t *testing.T, targets []string, headers ...string) (held []*exchange) {
	t.Helper()
	for _, target := range targets {
		x := dial(t, r.gate.Addrs["edge-http"])
		x.send(request("GET", r.expand(target), "HTTP/1.1", append([]string{"Accept: text/event-stream"}, headers...)))
		if resp := x.head("GET"); resp == nil || resp.StatusCode != 200 {
			t.Fatalf("the stream %s is not open: %.300q", target, x.all.Bytes())
		}
		x.match(r.expand(`${retry}`))
		held = append(held, x)
	}
	return held
}

// checkEnds wants held streams to be told why they end, and closed.
func (r *rig) checkEnds(t *testing.T, held []*exchange, reason string) {
	t.Helper()
	for _, x := range held {
		if reason == "" {
			x.conn.Close()
			continue
		}
		if !x.finish() {
			t.Error("a held stream stays open")
		}
		if !regexp.MustCompile(`event: gateway\.end\ndata: \{"reason":"` + reason + `"[^\n]*\n\n\z`).MatchString(x.body()) {
			t.Errorf("a held stream ended with %.600q, want %s", x.body(), reason)
		}
	}
}

// oneManaged sends the request as often as it says and checks the last answer.
func (r *rig) oneManaged(t *testing.T, c Case) note {
	t.Helper()
	m, w := c.Send.Manage, c.Want
	var a managedAnswer
	for range max(1, m.Times) {
		a = r.ask(t, m)
	}
	n := note{id: c.ID, want: w, request: a.header.Get("X-Request-Id")}
	if w.State != "" {
		n.want.Log = nil // of the feed, not of the request
	} else if w.Log == nil && w.Status >= 400 && !strings.HasPrefix(m.Request, "GET ") {
		n.want.Log = &Log{Event: "mgmt.reject", Level: "INFO"}
	}
	if a.status != w.Status {
		t.Errorf("status %d, want %d: %.600s", a.status, w.Status, a.body)
		return n
	}
	noCanary(t, "the answer", fmt.Sprint(a.header)+string(a.body))
	if a.closed != w.Closed {
		t.Errorf("the connection is closed: %v", a.closed)
	}
	for k, v := range w.Header {
		if got := strings.Join(a.header.Values(k), ", "); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	if got := a.header.Get("Retry-After") != ""; got != w.RetryAfter {
		t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
	}
	for k, v := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "", "Set-Cookie": ""} {
		if got := a.header.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	if w.Type != "" {
		wantProblem(t, w, a)
	}
	h := a.header.Clone()
	h.Del("Date")
	h.Del("X-Request-Id")
	r.answers[c.ID] = fmt.Sprint(a.status, h) + strings.ReplaceAll(string(a.body), n.request, "…")
	if w.Like != "" && r.answers[c.ID] != r.answers[w.Like] {
		t.Errorf("answer\n%s\nwant that of %s\n%s", r.answers[c.ID], w.Like, r.answers[w.Like])
	}
	return n
}

// wantProblem wants a problem document with exactly the parts that the case names, each with a place if it is of a document.
func wantProblem(t *testing.T, w Want, a managedAnswer) {
	t.Helper()
	var p struct {
		Type, Title, Instance string
		Status                int
		Errors                []struct {
			Finding
			Detail string
		}
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Errorf("%v: %.300q", err, a.body)
		return
	}
	if a.header.Get("Content-Type") != "application/problem+json" || p.Type != w.Type || p.Status != w.Status || p.Title == "" ||
		p.Instance == "" || p.Instance != a.header.Get("X-Request-Id") {
		t.Errorf("problem %s, want %s", a.body, w.Type)
	}
	ok := len(p.Errors) == len(w.Errors)
	for i := 0; ok && i < len(w.Errors); i++ {
		want, got := w.Errors[i], p.Errors[i]
		ok = want.Type == got.Type && want.Pointer == got.Pointer && (want.Line == 0 || want.Line == got.Line) && (want.Column == 0 || want.Column == got.Column) && got.Detail != ""
	}
	if !ok {
		t.Errorf("errors of %s\nwant %+v", a.body, w.Errors)
	}
}

// atOnce sends a request many times at the same time and counts the answers.
func (r *rig) atOnce(t *testing.T, c Case) {
	t.Helper()
	m := c.Send.Manage
	answers := make([]managedAnswer, m.AtOnce)
	errs := make([]error, m.AtOnce)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], errs[i] = r.try(t, m) })
	}
	all.Wait()
	got := map[string]int{}
	for i, a := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		var p struct{ Type string }
		_ = json.Unmarshal(a.body, &p)
		got[strings.TrimSpace(strconv.Itoa(a.status)+" "+strings.TrimPrefix(p.Type, "/problems/"))]++
	}
	if !maps.Equal(got, c.Want.Each) {
		t.Errorf("answers %v, want %v", got, c.Want.Each)
	}
}
