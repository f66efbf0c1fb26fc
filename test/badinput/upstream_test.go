package badinput

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
)

// TestUpstream lets upstreams misbehave, one after another, each behind an API of its own that comes and goes by a reload.
func TestUpstream(t *testing.T) {
	t.Parallel()
	f := load(t, "upstream")
	for name, fix := range f.Fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fix, "auto")
			for _, c := range f.Cases {
				if onOrMain(c) == name {
					t.Run(c.ID, func(t *testing.T) {
						ran(t, c.ID)
						r.upstreamCase(t, c)
					})
				}
			}
			r.end()
		})
	}
}

// upstreamCase defines an API over a bad upstream and checks what becomes of its feed, of the others, and of the first
// line of the log about it.
func (r *rig) upstreamCase(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	r.fed = []string{r.watched[0].name()}
	name := strings.ToLower(c.ID)
	before := r.state()
	up := c.Send.Upstream
	r.define(name, fmt.Sprintf(`apiVersion: sluice/v1
kind: API
metadata: {name: %s}
spec:
  context: /%s
  version: '1'
  endpoint: %s
  state: PUBLISHED
  retention: {maxBytes: 1MiB}
  upstream: {%s}
  topics: [{name: /t, backend: '%s', security: none}]
`, name, name, r.origin(t, up), up.Spec, backend(name, up)))
	if up.Emit > 0 {
		until(t, "the feed is up", func() bool { return r.feed(name).Opens > 0 })
		if c.Send.Away {
			r.away(t)
		}
		r.market.Emit("/any/"+name, up.Emit)
	}
	if c.Send.Away {
		sent := up.Emit
		until(t, "state "+c.Want.State, func() bool {
			if sent < 900 { // regexp repeats a thousand times at most
				r.market.Emit("/any/"+name, 1)
				sent++
			}
			return r.feed(name).State == c.Want.State
		})
		r.back(t)
		c.Want.State, c.Want.Events, c.Want.Stored = "up", sent, fmt.Sprintf("${retry}(${event}){%d}", sent)
	}
	r.checkFeed(t, name, c.Want)
	r.flows(t)
	if err := os.Remove(filepath.Join(r.gate.Dir, "apis", name+".yaml")); err != nil {
		t.Fatal(err)
	}
	r.reloaded(t)
	before.Catalog += 2
	var after state
	if !until(t, "the state is as before", func() bool { after = r.state(); return after.same(before, false) }) {
		t.Errorf("state\n%+v\nbefore\n%+v", after, before)
	}
}

// define writes a definition and waits until it counts.
func (r *rig) define(name, text string) {
	r.t.Helper()
	r.gate.Write(filepath.Join("apis", name+".yaml"), r.expand(text))
	r.reloaded(r.t)
}

func (r *rig) reloaded(t *testing.T) {
	t.Helper()
	taken := func(e gateway.Entry) bool { return e.Is("msg", "definitions reloaded") }
	n := r.gate.Logged(taken)
	r.gate.Signal(syscall.SIGHUP)
	if !until(t, "the definitions are taken", func() bool { return r.gate.Logged(taken) > n }) {
		t.FailNow()
	}
}

// origin is the endpoint of a case: the market, a server of its own, or what the case names.
func (r *rig) origin(t *testing.T, up *Upstream) string {
	t.Helper()
	switch {
	case up.Endpoint != "":
		return "'" + up.Endpoint + "'"
	case up.Text == "" && up.TLS == "":
		return "http://" + r.addr
	}
	s := httptest.NewUnstartedServer(r.market)
	if up.Text != "" {
		text := r.expand(up.Text)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			if !up.Close {
				<-q.Context().Done()
			}
		})
	}
	t.Cleanup(s.Close)
	if up.TLS == "" {
		s.Start()
		return s.URL
	}
	cert, err := feed.Certificate(up.TLS)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report each refused handshake
	s.StartTLS()
	return s.URL
}

func backend(name string, up *Upstream) string {
	path := "/stream/any/" + name
	if up.Fault != "" {
		path += "?fault=" + url.QueryEscape(up.Fault)
	}
	return path
}

func (r *rig) feed(api string) feedState {
	r.t.Helper()
	for _, f := range r.feeds() {
		if f.API == api {
			return f
		}
	}
	return feedState{}
}

// checkFeed wants the feed's state, the first line about its upstream, what is stored, and what /feeds says of it.
func (r *rig) checkFeed(t *testing.T, name string, w Want) {
	t.Helper()
	why := regexp.MustCompile(w.Why)
	var f feedState
	if w.State != "" && !until(t, "state "+w.State, func() bool { f = r.feed(name); return f.State == w.State && why.MatchString(f.Why) }) {
		t.Errorf("feed %+v, want %q", f, w.Why)
	}
	if w.Log != nil {
		r.firstLine(t, name, w.Log)
	}
	if w.Stored != "" {
		x := dial(t, r.gate.Addrs["edge-http"])
		defer x.conn.Close()
		x.send(request("GET", "/"+name+"/1/t?from=earliest", "HTTP/1.1", nil))
		if resp := x.head("GET"); resp == nil || resp.StatusCode != 200 {
			t.Fatalf("what is stored: %.300q", x.all.Bytes())
		}
		x.match(r.expand(w.Stored))
		x.conn.Close()
	}
	if !until(t, "the feed's figures", func() bool {
		f = r.feed(name)
		return int(f.Events) == w.Events && int(f.Markers) == w.Markers
	}) {
		t.Errorf("feed %+v, want %d events, %d of them markers", f, w.Events, w.Markers)
	}
}

// firstLine waits for the log line about the feed and wants level and fields of the first one.
func (r *rig) firstLine(t *testing.T, name string, want *Log) {
	t.Helper()
	line := func(e gateway.Entry) bool { return e.Is("msg", want.Event) && e.Is("api", name+"@1") }
	if !until(t, "the line "+want.Event, func() bool { return r.gate.Logged(line) > 0 }) {
		return
	}
	e := r.gate.WaitLog(want.Event, line)
	if !e.Is("level", want.Level) {
		t.Errorf("level of %v, want %s", e, want.Level)
	}
	for k, v := range want.Fields {
		if !regexp.MustCompile(`\A(?:` + v + `)\z`).MatchString(fmt.Sprint(e[k])) {
			t.Errorf("%s of %v, want %s", k, e, v)
		}
	}
}
