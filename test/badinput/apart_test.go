package badinput

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/broker"
	"sluice/test/gateway"
)

// mostPayload is the largest message that a broker apart takes, less than an event may be.
const mostPayload = 64 << 10

// apartConf is the configuration of a broker apart, as the profile power wants it but for the size of messages.
func apartConf(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("max_payload: %d, max_pending: 64MB, server_name: $NATS_NAME\njetstream { store_dir: $NATS_DATA, max_mem: 256MB, max_file: 8GB, sync_interval: always\n"+
		"  limits { batch { max_inflight_per_stream: 500, max_inflight_total: 5000 } } }\n", mostPayload)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// away takes the broker away and waits until the gateway knows.
func (r *rig) away(t *testing.T) {
	t.Helper()
	r.servers.Stop(0)
	until(t, "the gateway misses its broker", func() bool { return r.verbose(`(?m)^\[[!-]\]broker .*link lost`) })
}

// back brings the broker back and waits until the gateway is ready again.
func (r *rig) back(t *testing.T) {
	t.Helper()
	r.servers.Restart(0)
	until(t, "the broker is back", func() bool { return r.verbose(`(?m)^\[\+\]broker ok`) })
}

// verbose says whether /readyz?verbose has a line like that.
func (r *rig) verbose(pattern string) bool {
	_, text := r.gate.Ops("/readyz?verbose")
	return regexp.MustCompile(pattern).Match(text)
}

// apartCases do to a broker apart what others can, in order, on one gateway.
func (r *rig) apartCases(t *testing.T, cases []Case) {
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			ran(t, c.ID)
			outer := r.t
			r.t = t
			defer func() { r.t = outer }()
			switch c.Send.Broker {
			case "away at the start":
				r.awayAtStart(t, outer, c)
			case "foreign message":
				r.foreignMessage(t, c)
			case "large event":
				r.largeEvent(t, c)
			default:
				t.Fatalf("nothing is known of %q", c.Send.Broker)
			}
			r.flows(t)
		})
	}
}

// awayAtStart starts the gateway again without its broker: it listens, is not ready, refuses, and recovers by itself.
func (r *rig) awayAtStart(t, outer *testing.T, c Case) {
	r.gate.Stop()
	r.servers.Stop(0)
	r.gate.Start()
	line := r.gate.WaitLog(c.Want.Log.Event, func(e gateway.Entry) bool { return e.Is("msg", c.Want.Log.Event) })
	if !line.Is("level", c.Want.Log.Level) {
		t.Errorf("log %v", line)
	}
	until(t, "the gateway is not ready", func() bool { return r.verbose(`(?m)^\[-\]broker never connected`) })
	resp, err := gateway.OneShot().Get(r.gate.URL(c.Send.Get))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != c.Want.Status || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	if code, _ := r.gate.Ops("/livez"); code != http.StatusOK {
		t.Errorf("/livez %d", code)
	}
	r.servers.Restart(0)
	until(t, "the gateway is ready", func() bool {
		code, _ := r.gate.Ops("/readyz")
		return code == http.StatusOK
	})
	r.allUp()
	r.watched = nil
	w := r.fix.Watch[0]
	w.Emit = 1
	r.t = outer // it stays open for the cases that follow
	r.watch(w)
}

// foreignMessage stores, as any client of the broker could, what is no event of ours between two that are.
func (r *rig) foreignMessage(t *testing.T, c Case) {
	node := r.servers.Open(broker.Config{Name: "stranger"})
	path := strings.SplitN(r.watched[0].Path, "/", 4)
	subject := broker.NewFeedID(path[1], path[2], "/"+path[3], "").Subject()
	if _, err := node.Bus().Request(t.Context(), subject, []byte("id: forged\ndata: "+canary+"\n\n")); err != nil {
		t.Fatal(err)
	}
	x := dial(t, r.gate.Addrs["edge-http"])
	defer x.conn.Close()
	r.market.Emit(r.watched[0].Feed, 1)
	r.watched[0].next(t)
	x.send(request("GET", c.Send.Get, "HTTP/1.1", nil))
	if resp := x.head("GET"); resp == nil || resp.StatusCode != c.Want.Status {
		t.Fatalf("answer %.300q", x.all.Bytes())
	}
	x.match(r.expand(c.Want.Body))
	noCanary(t, "a stream", x.all.String())
}

// largeEvent lets the upstream send what is an event of fair size and too large for a message of this broker.
func (r *rig) largeEvent(t *testing.T, c Case) {
	x := dial(t, r.gate.Addrs["edge-http"])
	defer x.conn.Close()
	x.send(request("GET", c.Send.Get, "HTTP/1.1", nil))
	if resp := x.head("GET"); resp == nil || resp.StatusCode != c.Want.Status {
		t.Fatalf("answer %.300q", x.all.Bytes())
	}
	x.match(r.expand(`${retry}`))
	x.match(r.expand(c.Want.Body))
}
