package ssetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func load(t *testing.T, rows string) ([]Vector, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vectors.yaml")
	if err := os.WriteFile(path, []byte("vectors:\n"+rows), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestLoad(t *testing.T) {
	got, err := load(t, `  - {name: 'a', in: ['\xff\x00\t\\', {times: 3, of: '\r\n'}], events: [{data: 'x', id: '7'}, {type: 't'}], retry: 5}
  - {name: 'b', in: '', events: [{id: '1'}], last: '2'}
`)
	if err != nil {
		t.Fatal(err)
	}
	five := uint64(5)
	want := []Vector{
		{Name: "a", In: "\xff\x00\t\\\r\n\r\n\r\n", Events: []Event{{"message", "x", "7"}, {"t", "", ""}}, Retry: &five},
		{Name: "b", Events: []Event{{"message", "", "1"}}, Last: "2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, rows, want string }{
		{"no rows", "", "none found"},
		{"no name", "  - {in: ''}\n", "empty or taken"},
		{"a name twice", "  - {name: a, in: ''}\n  - {name: a, in: ''}\n", "empty or taken"},
		{"an unknown escape", "  - {name: a, in: '\\q'}\n", "unknown escape"},
		{"a short byte", "  - {name: a, in: '\\x0'}\n", "two digits"},
		{"a byte that is none", "  - {name: a, in: '\\xzz'}\n", "two digits"},
		{"a backslash at the end", "  - {name: a, in: 'x\\'}\n", "backslash"},
		{"a repetition of nothing", "  - {name: a, in: [{times: 3}]}\n", "times: N"},
		{"a mapping", "  - {name: a, in: {x: 1}}\n", "want a text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := load(t, c.rows); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent file loads")
	}
}
