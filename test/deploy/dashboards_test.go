package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/test/gateway"
)

// panel is what these tests read of a dashboard's JSON.
type panel struct {
	ID                       int
	Title, Description, Type string
	Datasource               struct{ UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr, RefID string }
}

type dashboard struct {
	UID, Title, Description string
	Panels                  []panel
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "dashboards", "*.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	all := map[string]dashboard{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[filepath.Base(f)] = d
	}
	return all
}

// The committed files are what the generator writes.
func TestDashboardsAreGenerated(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "sluice/deploy/grafana/generate", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name := range dashboards(t) {
		want, err1 := os.ReadFile(filepath.Join(dir, name))
		have, err2 := os.ReadFile(filepath.Join(root, "deploy", "grafana", "dashboards", name))
		if err1 != nil || err2 != nil || !bytes.Equal(want, have) {
			t.Errorf("%s is not what `go generate ./deploy/...` writes (%v, %v)", name, err1, err2)
		}
	}
}

// Panels are told apart, say what they show and in what unit, do not overlap, and ask for what exists.
func TestDashboards(t *testing.T) {
	known, uids := documented(t), map[string]bool{}
	for file, d := range dashboards(t) {
		if d.UID == "" || uids[d.UID] || d.Description == "" {
			t.Errorf("%s: uid %q, description %q", file, d.UID, d.Description)
		}
		uids[d.UID] = true
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if p.ID == 0 || ids[p.ID] || p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" ||
				p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s, panel %d %q is not complete: %+v", file, p.ID, p.Title, p)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
						t.Errorf("%s: %q lies over %q", file, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			for _, q := range p.Targets {
				for _, wrong := range checkQuery(q.Expr, known) {
					t.Errorf("%s, %q: %s", file, p.Title, wrong)
				}
			}
		}
	}
}

// rare are metrics of which a node that is well has no series, or none that is a number: their panels may be empty.
var rare = []string{"sluice_edge_feeds_stale", "sluice_edge_refused_total", "sluice_edge_sheds_total", "sluice_fanout_repairs_total", "sluice_fanout_slow_total",
	"sluice_broker_connection_cuts_total", "sluice_broker_connection_errors_total", "sluice_broker_dirty_total", "sluice_broker_refused_total",
	"sluice_ingest_markers_total", "sluice_ingest_skipped_total", "sluice_ingest_demand_refused_total", "sluice_ingest_commit_retries_total"}

// Every query of every dashboard runs in a real Prometheus that scrapes a loaded gateway, and has an answer unless it asks
// for trouble that there is not.
func TestDashboardsShowData(t *testing.T) {
	t.Parallel()
	need(t, "prometheus", "prometheus")
	_, upstream := market(t, 20)
	g := gateway.New(t, gateway.Options{APIs: map[string]string{"m.yaml": apiFile("market", upstream)}})
	g.Start()
	prom := startPrometheus(t, g.Addrs["ops"])
	use(t, g.URL("/market/1.0.0"))
	until(t, "some scrapes", func() bool {
		list, err := prom.query(`count_over_time(sluice_broker_up[1m]) >= 5`)
		return err == nil && len(list) == 1
	})
	use(t, g.URL("/market/1.0.0"))
	fill := strings.NewReplacer("$instance", ".*", "$__rate_interval", "10s")
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr, empty := fill.Replace(q.Expr), true
				until(t, file+", "+p.Title+": "+expr, func() bool {
					list, err := prom.query(expr)
					if err != nil {
						t.Fatalf("%s, %q: %s: %v", file, p.Title, expr, err)
					}
					empty = len(list) == 0
					return !empty || slices.ContainsFunc(rare, func(name string) bool { return strings.Contains(expr, name) })
				})
			}
		}
	}
}
