package sse

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/sse/ssetest"
)

// TestRecorded holds the decoder against what npm eventsource-parser made of each vector (test/conformance/sse records
// it), but for the listed deviations.
func TestRecorded(t *testing.T) {
	raw, err := os.ReadFile("testdata/eventsource-parser.json")
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		Name     string          `json:"name"`
		Deviates string          `json:"deviates"`
		Events   []ssetest.Event `json:"events"`
		Last     string          `json:"last"`
		Retry    *float64        `json:"retry"`
	}
	var file struct {
		Version string
		Results []result
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if file.Version != "4.1.3" {
		t.Errorf("recorded with version %q", file.Version)
	}
	recorded := make(map[string]result, len(file.Results))
	for _, r := range file.Results {
		recorded[r.Name] = r
	}
	deviations := 0
	for _, v := range loadVectors(t) {
		want, ok := recorded[v.Name]
		if !ok {
			t.Errorf("%s: not recorded; run test/conformance/sse", v.Name)
			continue
		}
		if want.Deviates != "" {
			deviations++
			continue
		}
		tr := decode(t, strings.NewReader(v.In), Options{})
		got := result{Name: v.Name, Events: []ssetest.Event{}, Last: tr.Last}
		for _, e := range tr.Events {
			got.Events = append(got.Events, ssetest.Event{Type: e.Type, Data: short(e.Data), ID: short(e.ID)})
		}
		if tr.Retry != nil {
			ms := float64(*tr.Retry)
			got.Retry = &ms
		}
		want.Last = short(want.Last)
		got.Last = short(got.Last)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-eventsource-parser +decoder):\n%s", v.Name, diff)
		}
	}
	if deviations > 2 {
		t.Errorf("%d deviations: that is more than the two choices of ours", deviations)
	}
}

// short is how a long text is recorded.
func short(s string) string {
	r := []rune(s)
	if len(r) <= 1000 {
		return s
	}
	return fmt.Sprintf("%s…%d…%s", string(r[:20]), len(r), string(r[len(r)-20:]))
}
