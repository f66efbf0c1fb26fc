package deploy

import (
	"fmt"
	"strings"
	"testing"

	"sluice/test/gateway"
)

// A node with 50 APIs, all in use, has fewer than 2,000 series, and every family it shows is documented, with its labels.
func TestSeries(t *testing.T) {
	const apis, most = 50, 2000
	_, upstream := market(t, 10)
	files := map[string]string{}
	for i := range apis {
		files[fmt.Sprintf("a%d.yaml", i)] = apiFile(fmt.Sprintf("a%d", i), upstream)
	}
	g := gateway.New(t, gateway.Options{APIs: files, Env: []string{"SLUICE_LOG_LEVEL=warn"}, Plain: true})
	g.Spawn()
	until(t, "the gateway is ready", func() bool { return answersOK(g.Addrs["ops"] + "/readyz") })
	for i := range apis {
		use(t, g.URL(fmt.Sprintf("/a%d/1.0.0", i)))
	}
	known := documented(t)
	_, text := g.Ops("/metrics")
	n, perAPI := 0, map[string]int{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		series := line[:strings.LastIndexByte(line, ' ')]
		name, _, _ := strings.Cut(series, "{")
		if strings.Contains(series, `api="a7@1.0.0"`) {
			perAPI[name]++
		}
		if !strings.HasPrefix(name, "sluice_") {
			continue
		}
		if !strings.Contains(series, "{") {
			series += "{}"
		}
		for _, wrong := range checkQuery(series, known) {
			t.Errorf("%s: %s", strings.TrimSpace(line), wrong)
		}
	}
	t.Logf("%d series with %d APIs; of one API: %v", n, apis, perAPI)
	if n > most || n < 10*apis {
		t.Errorf("%d series with %d APIs, want at most %d", n, apis, most)
	}
}
