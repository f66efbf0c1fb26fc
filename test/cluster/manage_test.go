package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/config/catalog"
	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/test/feed"
	"sluice/test/gateway"
)

// managed is a deployment on one NATS server: a node of control and ingest with the management API, and an edge, each with its user.
type managed struct {
	t             *testing.T
	servers       *brokertest.Servers
	keys          *keys
	control, edge *gateway.Gateway
}

const adminPassword = "correct horse battery"

func newManaged(t *testing.T) *managed {
	t.Helper()
	m := &managed{t: t, keys: newKeys(t)}
	m.servers = startServers(t, 1, m.keys, "single.conf")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(adminPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	power := "SLUICE_BROKER_DURABILITY=power"
	m.control = gate(t, m.servers.URLs(), m.keys, "core", "control,ingest",
		gateway.Options{Control: true, Env: []string{power, "SLUICE_CONTROL_ADMIN_PASSWORD_FILE=" + password}})
	m.edge = gate(t, m.servers.URLs(), m.keys, "edge", "edge", gateway.Options{Catalog: true, Env: []string{power}})
	return m
}

// call makes one request of the management API as its administrator.
func (m *managed) call(ctx context.Context, method, path, media, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+m.control.Addrs["control"]+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth("admin", adminPassword)
	req.Header.Set("If-Match", "*")
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := gateway.OneShot().Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// start starts the control node and waits until its administrator can sign in and it has read the catalog.
func (m *managed) start() {
	m.t.Helper()
	m.control.Start()
	waitReady(m.t, m.control, 200, "[+]users ok")
	waitReady(m.t, m.control, 200, "[+]catalog ok")
}

// must is call that wants one status.
func (m *managed) must(status int, method, path, media, body string) []byte {
	m.t.Helper()
	got, answer, err := m.call(m.t.Context(), method, path, media, body)
	if err != nil || got != status {
		m.t.Fatalf("%s %s: %d, %v, want %d: %s", method, path, got, err, status, answer)
	}
	return answer
}

// everywhere makes a change that waits for the edge. On a machine that is too busy the answer is that it is not there yet: then it comes.
func (m *managed) everywhere(status int, method, path, media, body string) {
	m.t.Helper()
	got, answer, err := m.call(m.t.Context(), method, path, media, body)
	if err != nil || got != status && got != http.StatusAccepted {
		m.t.Fatalf("%s %s: %d, %v, want %d: %s", method, path, got, err, status, answer)
	}
	if got == http.StatusAccepted && status != got {
		m.t.Logf("%s %s: %s", method, path, answer)
		until(m.t, "the edge is there", func() bool { return !bytes.Contains(m.must(200, "GET", "/edges", "", ""), []byte(`"current":false`)) })
	}
}

const (
	inJSON = "application/json"
	inYAML = "application/yaml"
)

// TestManagedFromAnotherProcess changes an API by REST at one node while clients read it at another: what nodes tell of each other,
// that a change can wait for the edge, and how streams end there.
func TestManagedFromAnotherProcess(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.start()
	m.edge.Start()
	waitReady(t, m.edge, 200, "[+]broker ok")
	until(t, "control hears the edge", func() bool { return bytes.Contains(m.must(200, "GET", "/edges", "", ""), []byte(`"total":1`)) })
	o := newOrigin(t, feed.Options{Rate: 50})
	m.everywhere(201, "POST", "/apis?wait=edges", inYAML, fmt.Sprintf(definition, o.addr))

	// The edge serves what the answer waited for.
	const clients = 20
	ends := make(chan string, clients)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var reading atomic.Int64
	for range clients {
		go func() { ends <- readToEnd(ctx, m.edge.URL("/market/1.0.0/ticks"), func() { reading.Add(1) }) }()
	}
	until(t, "all clients read", func() bool { return reading.Load() == clients })
	var status struct {
		Clients int
		Silent  []string
		Items   []struct {
			Path, State, Owner string
			Clients            int
			LastEventAt        time.Time
		}
	}
	until(t, "the status tells of them", func() bool {
		if err := json.Unmarshal(m.must(200, "GET", "/apis/market@1.0.0/status", "", ""), &status); err != nil {
			t.Fatal(err)
		}
		return status.Clients == clients && len(status.Items) == 1 && status.Items[0].State == "up" && !status.Items[0].LastEventAt.IsZero()
	})
	if f := status.Items[0]; len(status.Silent) != 0 || f.Path != "/ticks" || f.Clients != clients || !strings.HasPrefix(f.Owner, "core-") {
		t.Errorf("status %+v", status)
	}

	began := time.Now()
	m.everywhere(200, "POST", "/apis/market@1.0.0/lifecycle?wait=edges", inJSON, `{"action":"block"}`)
	if code, err := answers(ctx, m.edge.URL("/market/1.0.0/ticks")); code != http.StatusServiceUnavailable {
		t.Errorf("blocked, and the edge answers %d, %v", code, err)
	}
	for range clients {
		if end := <-ends; !strings.Contains(end, `"reason":"api-blocked"`) {
			t.Fatalf("a stream ended with %q", end)
		}
	}
	t.Logf("%d streams of another process ended within %s of the request", clients, time.Since(began).Round(time.Millisecond))
	m.everywhere(200, "POST", "/apis/market@1.0.0/lifecycle?wait=edges", inJSON, `{"action":"republish"}`)
	if code, err := answers(ctx, m.edge.URL("/market/1.0.0/ticks")); code != http.StatusOK {
		t.Errorf("republished, and the edge answers %d, %v", code, err)
	}
	// An edge that is gone is waited for no longer than it takes to notice.
	m.edge.Kill()
	m.everywhere(204, "DELETE", "/apis/market@1.0.0?force=true&wait=edges", "", "")
	until(t, "the edge is taken for dead", func() bool { return bytes.Contains(m.must(200, "GET", "/edges", "", ""), []byte(`"total":0`)) })
	wantNothingDenied(t, m.servers, m.control, m.edge)
}

// readToEnd reads a stream, tells its first event to begun, and returns its last lines.
func readToEnd(ctx context.Context, url string, begun func()) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := gateway.OneShot().Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var last []byte
	buf := make([]byte, 4<<10)
	for first := true; ; {
		n, err := resp.Body.Read(buf)
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-200):]
		if first && bytes.Contains(last, []byte("data:")) {
			first = false
			begun()
		}
		if err != nil {
			return string(last)
		}
	}
}

// answers returns the status of a request, and reads no more.
func answers(ctx context.Context, url string) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := gateway.OneShot().Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

// written are the values of one API: the last that was answered, and what was asked for since.
type written struct {
	mu       sync.Mutex
	answered string
	asked    []string
}

// kills is how often the control node is killed in TestControlKilledWithinWrites.
const kills = 4

// TestControlKilledWithinWrites kills the node that writes again and again. A change of a published API is a record and the revision
// that is served, another default version is two records: after each kill both are as before or both as after, and what was answered
// has stayed.
func TestControlKilledWithinWrites(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	observer := manageWith(t, m.servers, m.keys, "control", broker.ProfilePower)
	m.start()
	define := func(name, version, value string) string {
		return fmt.Sprintf(`{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":%q,"description":%q},"spec":{"context":"/%s","version":%q,`+
			`"endpoint":"http://127.0.0.1:9","topics":[{"name":"/t","security":"none","demand":"onDemand"}],"retention":{"maxBytes":"1MiB"}}}`, name, value, name, version)
	}
	const writers = 3
	books := make([]*written, writers)
	for i := range books {
		books[i] = &written{answered: "first"}
		name := fmt.Sprintf("api%d", i)
		m.must(201, "POST", "/apis", inJSON, define(name, "1", "first"))
		m.must(200, "POST", "/apis/"+name+"@1/lifecycle", inJSON, `{"action":"publish"}`)
	}
	m.must(201, "POST", "/apis", inJSON, define("pair", "1", ""))
	m.must(201, "POST", "/apis/pair@1/versions", inJSON, `{"version":"2"}`)
	m.must(200, "PUT", "/families/pair", inJSON, `{"defaultVersion":"1"}`)

	for trial := range kills {
		var done atomic.Int64 // answered changes
		ctx, stop := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		for i, b := range books {
			writing.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					value := fmt.Sprintf("%d-%d-%d", trial, i, n)
					b.mu.Lock()
					b.asked = append(b.asked, value)
					b.mu.Unlock()
					status, answer, err := m.call(ctx, "PUT", fmt.Sprintf("/apis/api%d@1", i), inJSON, define(fmt.Sprintf("api%d", i), "1", value))
					if err != nil {
						return
					}
					if status != http.StatusOK {
						t.Errorf("a change answers %d: %s", status, answer)
						return
					}
					b.mu.Lock()
					b.answered, b.asked = value, nil
					b.mu.Unlock()
					done.Add(1)
				}
			})
		}
		writing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				status, answer, err := m.call(ctx, "PUT", "/families/pair", inJSON, fmt.Sprintf(`{"defaultVersion":"%d"}`, n%2+1))
				if err != nil {
					return
				}
				if status != http.StatusOK {
					t.Errorf("another default version answers %d: %s", status, answer)
					return
				}
				done.Add(1)
			}
		})
		until(t, "changes are made", func() bool { return done.Load() >= int64(5+7*trial) || t.Failed() })
		m.control.Kill()
		stop()
		writing.Wait()
		m.start()
		m.must(201, "POST", "/apis", inJSON, define(fmt.Sprintf("mark%d", trial), "1", ""))
		until(t, "the observer has seen all", func() bool { _, err := observer.Get(fmt.Sprintf("mark%d@1", trial)); return err == nil })
		for i, b := range books {
			wantWhole(t, observer, fmt.Sprintf("api%d@1", i), b)
		}
		if f, err := observer.Family("pair"); err != nil || f.DefaultVersion == "" {
			t.Errorf("the family is %+v, %v", f, err)
		}
		one, two := defaultOf(t, observer, "pair@1"), defaultOf(t, observer, "pair@2")
		if one == two {
			t.Errorf("both versions are the default: %v", one)
		}
		t.Logf("killed after %d changes", done.Load())
	}
}

func defaultOf(t *testing.T, m *catalog.Manager, id string) bool {
	t.Helper()
	rec, err := m.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return rec.API.Spec.Default
}

// wantWhole wants that an API has the last value answered, or one asked for since, in its record and in the revision that is served.
func wantWhole(t *testing.T, m *catalog.Manager, id string, b *written) {
	t.Helper()
	rec, err := m.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := m.Revision(id, rec.Deployments["default"])
	if err != nil {
		t.Fatalf("%s: the revision served: %v", id, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	value := rec.API.Metadata.Description
	if rev.API.Metadata.Description != value {
		t.Errorf("%s: the record says %q, the revision served %q", id, value, rev.API.Metadata.Description)
	}
	if value != b.answered && (len(b.asked) == 0 || value != b.asked[0]) {
		t.Errorf("%s has %q; answered was %q, asked for since %v", id, value, b.answered, b.asked)
	}
	b.answered, b.asked = value, nil
}
