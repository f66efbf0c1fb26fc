package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestRolesApart runs control, ingest and edge as three processes, each with its own user and over TLS with certificates on
// both sides, against three servers: each can do all it has to. Then certificates are replaced while clients read.
func TestRolesApart(t *testing.T) {
	t.Parallel()
	k, ca := newKeys(t), newCertificates(t)
	certs := ca.dir
	s := brokertest.Cluster(t, 3, brokertest.ClusterOptions{
		Conf: relocated(t, "cluster-tls.conf", certs), Env: k.env, Scheme: "tls",
		Node: broker.Config{Inbox: "_INBOX_ctl", Login: broker.Login{File: k.file["control"]}, TLS: broker.TLS{
			CA: filepath.Join(certs, "ca.pem"), Cert: filepath.Join(certs, "client.pem"), Key: filepath.Join(certs, "client-key.pem"),
		}},
	})
	o := newOrigin(t, feed.Options{Rate: 100})
	c := newCrowd(t, o, oracle.Run{MinProduced: 200, MinFaults: 1})
	options := gateway.Options{APIs: o.apis(), Env: []string{
		"SLUICE_BROKER_TLS_CA=" + filepath.Join(certs, "ca.pem"), "SLUICE_BROKER_TLS_CERT=" + filepath.Join(certs, "client.pem"),
		"SLUICE_BROKER_TLS_KEY=" + filepath.Join(certs, "client-key.pem"), "SLUICE_BROKER_TLS_MIN_VERSION=1.3",
	}}
	control := gate(t, s.URLs(), k, "control", "control", options)
	ingest := gate(t, s.URLs(), k, "ingest", "ingest", options)
	edge := gate(t, s.URLs(), k, "edge", "edge", options)
	gates := []*gateway.Gateway{control, ingest, edge}
	for _, g := range gates {
		g.Start()
		waitReady(t, g, 200, "[+]broker ok")
	}
	// What an edge knows of who may read it watches itself, and it hears control say that nothing is missing.
	waitReady(t, control, 200, "[+]access ok")
	waitReady(t, edge, 200, "[+]access ok")
	waitMetric(t, edge, `sluice_access_records{kind="plan"} 4`)
	waitMetric(t, edge, "sluice_access_age_seconds ")
	// It reads the public keys of our own tokens, and asks control for what it cannot sign itself.
	waitMetric(t, edge, `sluice_jwks_refresh_total{issuer="sluice",result="ok"}`)
	resp, err := http.Get(edge.URL("/.well-known/jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), `"kid"`) {
		t.Errorf("the keys by the edge: %d %s, %v", resp.StatusCode, body, err)
	}
	for _, stream := range []string{"EV_" + api, "KV_own", "KV_access", "KV_revoke", "KV_ticket"} {
		answer, err := s.Ask(t.Context(), "$JS.API.STREAM.INFO."+stream, "")
		var info struct {
			Config struct {
				Replicas int `json:"num_replicas"`
			}
		}
		if err != nil || json.Unmarshal(answer, &info) != nil || info.Config.Replicas != 3 {
			t.Errorf("%s: %v, %s; want 3 replicas", stream, err, answer)
		}
	}
	c.read(edge, "/ticks", 3)
	c.read(edge, "/quotes/ACME", 2)
	c.awaitMore(20)

	c.fault("certificates replaced")
	ca.issue("client")
	for _, g := range gates {
		g.Signal(syscall.SIGHUP)
		g.WaitLog("new certificates", func(e gateway.Entry) bool {
			return strings.HasPrefix(e["msg"].(string), "broker: login files have changed")
		})
		waitReady(t, g, 200, "[+]broker ok")
	}
	c.awaitMore(20)

	// A file that is wrong changes nothing, and says so.
	bad := filepath.Join(certs, "client.pem")
	if err := os.WriteFile(bad, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	edge.Signal(syscall.SIGHUP)
	edge.WaitLog("the refusal of a bad certificate", func(e gateway.Entry) bool {
		text, _ := e["error"].(string)
		return e.Is("level", "ERROR") && strings.Contains(text, bad)
	})
	c.awaitMore(20)
	for _, r := range c.clients {
		if n := r.State().Connects; n != 1 {
			t.Errorf("a client of %s had to connect %d times", r.Feed(), n)
		}
	}
	if v := c.judge(gates...); v.Gaps.Told != 0 {
		t.Errorf("%d gaps told", v.Gaps.Told)
	}
	wantNothingDenied(t, s, gates...)
}

// TestWrongUser gives an edge the user of ingest: it is refused what it needs, says what, and is not ready.
func TestWrongUser(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := startServers(t, 1, k, "single.conf")
	o := newOrigin(t, feed.Options{Rate: 20})
	power := gateway.Options{APIs: o.apis(), Env: []string{"SLUICE_BROKER_DURABILITY=power"}}
	core := gate(t, s.URLs(), k, "core", "control,ingest", power)
	core.Start()
	wrong := gate(t, s.URLs(), k, "ingest", "edge", power)
	wrong.Start()
	waitReady(t, wrong, 503, "permission denied")
	stranger := newKeys(t)
	unknown := gate(t, s.URLs(), stranger, "edge", "edge", power)
	unknown.Start()
	waitReady(t, unknown, 503, "Authorization Violation")
	for _, g := range []*gateway.Gateway{wrong, unknown} {
		g.Stop()
		seed, err := os.ReadFile(k.file["ingest"])
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range g.Log() {
			line, _ := json.Marshal(e)
			if strings.Contains(string(line), strings.TrimSpace(string(seed))) {
				t.Errorf("the seed is in the log: %s", line)
			}
		}
	}
}

// TestUnfitDurability asks for what the settings or the connected server cannot give: check-config and serve say why and end
// with 78, and the definition's own durability counts.
func TestUnfitDurability(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := startServers(t, 1, k, "single.conf")
	o := newOrigin(t, feed.Options{Rate: 20})
	asks := func(durability string) map[string]string {
		apis := o.apis()
		apis["market.yaml"] += "  durability: " + durability + "\n"
		return apis
	}
	for _, c := range []struct {
		name  string
		apis  map[string]string
		env   []string // over those of a gateway of the servers
		check string   // what check-config says, "" = nothing is wrong with the settings
		serve string
	}{
		{"cluster on one server", o.apis(), nil, "", "this is one alone"},
		{"an API's cluster on one server", asks("cluster"), []string{"SLUICE_BROKER_DURABILITY=power"}, "", "this is one alone"},
		{"an API's cluster in process", asks("cluster"), embedded, "the embedded broker has no replicas", "the embedded broker has no replicas"},
		{"an API's power in process", asks("power"), embedded, "syncs all its streams alike, and is set to process", "syncs all its streams alike"},
		{"an unknown durability", asks("raid"), embedded, "must be one of memory, process, power, cluster", "must be one of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gate(t, s.URLs(), k, "core", "control,ingest", gateway.Options{APIs: c.apis, Env: c.env})
			code, out := g.Run("check-config", filepath.Join(g.Dir, "sluice.yaml"), "--apis", filepath.Join(g.Dir, "apis"))
			if want := map[bool]int{true: 0, false: 78}[c.check == ""]; code != want || !strings.Contains(out, c.check) {
				t.Errorf("check-config: exit code %d, want %d and %q: %s", code, want, c.check, out)
			}
			if c.check == "" && !strings.Contains(out, "it must be always") {
				t.Errorf("check-config does not warn that sync_interval cannot be confirmed: %s", out)
			}
			g.Spawn()
			if code := g.Wait(); code != 78 || g.Logged(func(e gateway.Entry) bool {
				text, _ := e["text"].(string)
				return strings.Contains(text, c.serve)
			}) == 0 {
				t.Errorf("serve: exit code %d, want 78 and %q", code, c.serve)
				g.DumpLog()
			}
		})
	}
}

// embedded are settings of a gateway whose broker is in its process.
var embedded = []string{"SLUICE_BROKER_URLS=", "SLUICE_BROKER_CREDENTIALS=", "SLUICE_BROKER_DURABILITY=process"}
