package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// family is a row of the table in deploy/prometheus/README.md, which test/house compares with the code.
type family struct {
	typ    string
	labels []string
}

// documented reads the table, and adds what Prometheus and its library bring.
func documented(t *testing.T) map[string]family {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]family{"up": {"gauge", []string{"job"}}, "process_cpu_seconds_total": {"counter", nil}}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([\\w ]*) \\|").FindAllStringSubmatch(string(text), -1) {
		f := family{m[2], strings.Fields(m[3])}
		all[m[1]] = f
		if f.typ == "histogram" {
			delete(all, m[1])
			all[m[1]+"_bucket"] = family{"counter", append(f.labels, "le")}
			all[m[1]+"_sum"], all[m[1]+"_count"] = f, f
		}
	}
	if len(all) < 60 {
		t.Fatalf("only %d metrics in the table", len(all))
	}
	return all
}

var (
	quoted     = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	metricName = regexp.MustCompile(`\b(?:sluice|process|go)_\w+|\bup\b`)
	selector   = regexp.MustCompile(`\b(\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	word       = regexp.MustCompile(`\w+`)
)

// checkQuery returns what is wrong with the names in a query: metrics that nobody makes, and labels that they do not have.
func checkQuery(expr string, known map[string]family) (wrong []string) {
	bare := quoted.ReplaceAllString(expr, `""`)
	labels := []string{"instance", "job"}
	names := metricName.FindAllString(grouping.ReplaceAllString(bare, ""), -1)
	if len(names) == 0 {
		wrong = append(wrong, "no metric in it")
	}
	for _, name := range names {
		f, ok := known[name]
		if !ok {
			wrong = append(wrong, "unknown metric "+name)
		}
		labels = append(labels, f.labels...)
	}
	for _, s := range selector.FindAllStringSubmatch(bare, -1) {
		f, ok := known[s[1]]
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if ok && !slices.Contains(f.labels, m[1]) && m[1] != "instance" && m[1] != "job" {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", s[1], m[1]))
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(bare, -1) {
		for _, l := range word.FindAllString(g[1], -1) {
			if !slices.Contains(labels, l) {
				wrong = append(wrong, "nothing here has a label "+l)
			}
		}
	}
	return wrong
}

// The check itself finds what is wrong, and nothing in what is right.
func TestCheckQuery(t *testing.T) {
	known := documented(t)
	for expr, want := range map[string]string{
		`sum by (api) (rate(sluice_ingest_events_total{instance=~"$instance"}[5m]))`:                       "",
		`histogram_quantile(0.5, sum by (le) (rate(sluice_fanout_pass_seconds_bucket{engine="a}b"}[1m])))`: "",
		`sum by (instance) (sluice_broker_up) / on (instance) process_cpu_seconds_total`:                   "",
		`sluice_fanout_pass_seconds > 1`:   "unknown metric sluice_fanout_pass_seconds",
		`sluice_nothing_total`:             "unknown metric sluice_nothing_total",
		`sluice_broker_up{api="x"}`:        "sluice_broker_up has no label api",
		`sum by (feed) (sluice_broker_up)`: "nothing here has a label feed",
		`vector(1)`:                        "no metric in it",
	} {
		if got := strings.Join(checkQuery(expr, known), "; "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}
