package cluster

import (
	"net/http"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestBrokerAway starts every role before its broker, and later takes the broker away for longer than a node stays ready: A44,
// N1, N2. Nobody exits, streams stay open, and all is well when it is back.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := startServers(t, 1, k, "single.conf")
	s.Kill(0)
	o := newOrigin(t, feed.Options{Rate: 100})
	c := newCrowd(t, o, oracle.Run{MinProduced: 200, MinFaults: 1})
	options := gateway.Options{APIs: o.apis(), Env: []string{"SLUICE_BROKER_DURABILITY=power"}}
	control := gate(t, s.URLs(), k, "control", "control", options)
	ingest := gate(t, s.URLs(), k, "ingest", "ingest", options)
	edge := gate(t, s.URLs(), k, "edge", "edge", options)
	gates := []*gateway.Gateway{control, ingest, edge}
	for _, g := range gates {
		g.Start()
		g.WaitLog("that there is no broker", func(e gateway.Entry) bool {
			return e.Is("level", "WARN") && e.Is("msg", "no broker yet: starting without it, not ready until it answers")
		})
		waitReady(t, g, 503, "[-]broker never connected: ")
		if code, _ := g.Ops("/livez"); code != http.StatusOK {
			t.Errorf("/livez answers %d without a broker", code)
		}
	}
	resp, err := gateway.OneShot().Get(edge.URL("/market/1.0.0/ticks"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d without a broker, want 503", resp.StatusCode)
	}
	s.Restart(0)
	for _, g := range gates {
		waitReady(t, g, 200, "[+]broker ok")
	}
	c.read(edge, "/ticks", 5)
	c.awaitMore(20)

	c.fault("broker away")
	began := time.Now()
	s.Stop(0)
	for _, g := range gates {
		waitReady(t, g, 503, "[-]broker link lost since ")
	}
	if d := time.Since(began); d < 10*time.Second {
		t.Errorf("not ready %v after the link was lost, want 10s at least: a restart of a broker moves no clients", d)
	}
	s.Restart(0)
	for _, g := range gates {
		waitReady(t, g, 200, "[+]broker ok")
	}
	c.awaitMore(20)
	for _, r := range c.clients {
		if n := r.State().Connects; n != 1 {
			t.Errorf("a client had to connect %d times", n)
		}
	}
	if v := c.judge(gates...); v.Gaps.Told != 0 {
		t.Errorf("%d gaps told", v.Gaps.Told)
	}
	wantNothingDenied(t, s, gates...)
}
