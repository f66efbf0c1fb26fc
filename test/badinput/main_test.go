package badinput

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/test/gateway"
)

// tally collects the outcome of all cases; the last line of a run tells it.
var tally = struct {
	sync.Mutex
	ran, failed map[string]bool
}{ran: map[string]bool{}, failed: map[string]bool{}}

func TestMain(m *testing.M) {
	gateway.Main(m, func(int) {
		tally.Lock()
		defer tally.Unlock()
		var ids []string
		for id := range tally.failed {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if len(ids) > 0 {
			fmt.Println("failed:", strings.Join(ids, " "))
		}
		fmt.Printf("%d passed, %d failed\n", len(tally.ran)-len(ids), len(ids))
	})
}

// ran notes that a case was run by t, and when t ends, whether it passed.
func ran(t *testing.T, id string) {
	tally.Lock()
	tally.ran[id] = true
	tally.Unlock()
	t.Cleanup(func() {
		if t.Failed() {
			failed(id)
		}
	})
}

func failed(id string) {
	tally.Lock()
	defer tally.Unlock()
	tally.failed[id] = true
}

// load reads a surface's cases.
func load(t *testing.T, surface string) *File {
	t.Helper()
	f, err := Load(".", surface)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
