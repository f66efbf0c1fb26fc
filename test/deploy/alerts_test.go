package deploy

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
)

// alarm looks at the alerts of one node. It evaluates the expressions of the rules: how long each must hold is proved by
// alerts_test.yml.
type alarm struct {
	t     *testing.T
	prom  *server
	rules map[string]string // expression by alert
	node  string            // instance
}

// on are the alerts whose condition holds at the node.
func (a *alarm) on() map[string]bool {
	a.t.Helper()
	on := map[string]bool{}
	for name, expr := range a.rules {
		list, err := a.prom.query(expr)
		if err != nil {
			a.t.Fatalf("%s: %v", name, err)
		}
		for _, labels := range list {
			on[name] = on[name] || labels["instance"] == a.node
		}
		if !on[name] {
			delete(on, name)
		}
	}
	return on
}

// wants waits until the condition of the alert holds, which so far must not be so.
func (a *alarm) wants(alert string, provoke func()) {
	a.t.Helper()
	if a.on()[alert] {
		a.t.Errorf("%s holds before it was provoked", alert)
	}
	provoke()
	a.comes(alert)
}

func (a *alarm) comes(alert string) {
	a.t.Helper()
	if a.rules[alert] == "" {
		a.t.Fatalf("no alert %s", alert)
	}
	until(a.t, fmt.Sprintf("%s on %s", alert, a.node), func() bool { return a.on()[alert] })
}

// Real gateways in trouble: the condition of each alert that can be provoked in a test holds then, and none of them on a node
// that is well.
func TestAlertsSeeRealTrouble(t *testing.T) {
	t.Parallel()
	need(t, "prometheus", "prometheus")
	m := feed.New(1, feed.Options{Rate: 20})
	var status atomic.Int32 // what the upstream answers; 0 = its events
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := status.Load(); code != 0 {
			w.WriteHeader(int(code))
			return
		}
		m.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { m.Close(); up.Close() })
	files := map[string]string{"m.yaml": apiFile("market", up.URL)}

	g := gateway.New(t, gateway.Options{APIs: files, Env: []string{"SLUICE_EDGE_MAXCONNECTIONS=20"}})
	g.Start()
	cut := gateway.New(t, gateway.Options{Env: []string{"SLUICE_ROLES=edge", "SLUICE_BROKER_URLS=nats://" + gateway.FreeAddr(t)}})
	cut.Spawn()
	poor := gateway.New(t, gateway.Options{APIs: files, Env: append(certificate(t, "expired"), "GOMEMLIMIT=4MiB")})
	poor.Start()
	dead := gateway.FreeAddr(t)
	prom := startPrometheus(t, g.Addrs["ops"], cut.Addrs["ops"], poor.Addrs["ops"], dead)
	rules := map[string]string{}
	for _, r := range alertRules(t) {
		rules[r.Alert] = r.Expr
	}
	at := func(node string) *alarm { return &alarm{t, prom, rules, node} }

	at(dead).comes("SluiceDown")
	at(cut.Addrs["ops"]).comes("SluiceBrokerLinkDown")
	at(poor.Addrs["ops"]).comes("SluiceMemoryHigh")
	at(poor.Addrs["ops"]).comes("SluiceCertificateExpires")

	a, base := at(g.Addrs["ops"]), g.URL("/market/1.0.0")
	open(t, base+"/ticks").id()
	again := open(t, base+"/ticks", "Accept", "*/*")
	again.close()
	until(t, "some scrapes", func() bool {
		list, err := prom.query(`count_over_time(sluice_edge_connections{instance="` + a.node + `"}[1m]) >= 3`)
		return err == nil && len(list) > 0
	})
	if on := a.on(); len(on) > 0 {
		t.Errorf("on a node that is well: %v", slices.Sorted(maps.Keys(on)))
	}

	a.wants("SluiceGapsTold", func() { resumeFrom(t, base, "1-1") })
	a.wants("SluiceResumesNotExact", func() {
		for range 100 {
			resumeFrom(t, base, "banana")
		}
	})
	a.wants("SluiceConnectionsNearLimit", func() {
		for range 19 {
			open(t, base+"/ticks").id()
		}
	})
	a.wants("SluiceRefusing", func() { refuseMany(t, prom, base+"/ticks", "*/*", `sluice_edge_refused_total{type="overloaded"}`) })
	a.wants("SluiceShedding", func() {
		refuseMany(t, prom, base+"/ticks", "text/event-stream", `sluice_edge_sheds_total{type="overloaded"}`)
	})
	a.wants("SluiceDefinitionsNotReloaded", func() {
		g.Write(filepath.Join("apis", "bad.yaml"), "kind: nothing\n")
		g.Signal(syscall.SIGHUP)
	})
	a.wants("SluiceFeedNeedsCare", func() { status.Store(http.StatusUnauthorized); m.Cut("", true) })
	a.wants("SluiceFeedDown", func() { status.Store(http.StatusServiceUnavailable) })
	a.comes("SluiceFeedsStale") // ten seconds after the first word of it
}

// resumeFrom opens a stream with an id and closes it again.
func resumeFrom(t *testing.T, base, id string) {
	t.Helper()
	c := open(t, base+"/ticks", "Last-Event-ID", id)
	c.id()
	c.close()
}

// refuseMany makes the full node refuse, once so that the counter is there, then so often that its rate over five minutes is
// more than one per second.
func refuseMany(t *testing.T, prom *server, url, accept, counter string) {
	t.Helper()
	open(t, url, "Accept", accept).close()
	until(t, "a first refusal is scraped", func() bool { list, err := prom.query(counter); return err == nil && len(list) > 0 })
	for range 600 {
		open(t, url, "Accept", accept).close()
	}
}

// certificate writes a pair of the kind given and returns the settings of a TLS listener with it.
func certificate(t *testing.T, kind string) []string {
	t.Helper()
	c, err := feed.Certificate(kind)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, typ string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return []string{"SLUICE_EDGE_HTTPS_ADDR=" + gateway.FreeAddr(t), "SLUICE_EDGE_HTTPS_CERT=" + write("cert.pem", "CERTIFICATE", c.Certificate[0]),
		"SLUICE_EDGE_HTTPS_KEY=" + write("key.pem", "PRIVATE KEY", key)}
}
