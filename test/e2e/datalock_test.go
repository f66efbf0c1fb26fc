package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sharing prepares another gateway on the data of g, with listeners of its own.
func sharing(t *testing.T, g *gateway) *gateway {
	t.Helper()
	other := newGateway(t, gatewayOptions{})
	other.dir = g.dir
	return other
}

// refused wants that the process ended because the data folder is in use, and said by whom.
func (g *gateway) refused(holder int) {
	g.t.Helper()
	if code := g.wait(); code != 71 {
		g.t.Errorf("exit code %d on a data folder in use, want 71", code)
	}
	want := []string{"data folder " + filepath.Join(g.dir, "data") + " is in use by process ", "--data"}
	if holder != 0 {
		want[0] += fmt.Sprint(holder, ":")
	}
	if n := g.logged(func(e entry) bool {
		text := fmt.Sprint(e["text"])
		return strings.Contains(text, want[0]) && strings.Contains(text, want[1])
	}); n != 1 {
		g.dumpLog()
		g.t.Errorf("%d lines say %q", n, want)
	}
}

// TestDataFolderIsForOne starts a second process on a data folder: it must leave before it touches anything, and get the
// folder as soon as the first is gone, however that ended.
func TestDataFolderIsForOne(t *testing.T) {
	t.Parallel()
	first := newGateway(t, gatewayOptions{})
	second := sharing(t, first)
	first.start()
	second.spawn()
	second.refused(first.cmd.Process.Pid)
	if code, _ := first.ops("/readyz"); code != 200 {
		t.Errorf("the first one answers %d after that", code)
	}

	first.kill()
	second.start()
	first.spawn()
	first.refused(second.cmd.Process.Pid)

	second.stop()
	if text, err := os.ReadFile(filepath.Join(second.dir, "data", "lock")); err != nil || len(text) != 0 {
		t.Errorf("after an orderly end the lock file says %q, %v", text, err)
	}
	first.start()
	first.stop()
}

// TestDataFolderRace starts several processes on one data folder at once: exactly one gets it.
func TestDataFolderRace(t *testing.T) {
	t.Parallel()
	first := newGateway(t, gatewayOptions{})
	all := []*gateway{first, sharing(t, first), sharing(t, first), sharing(t, first)}
	ended := make(chan *gateway, len(all))
	for _, g := range all {
		g.spawn()
		go func() { // ends when the test has ended the process
			<-g.done
			ended <- g
		}()
	}
	limit := time.After(patience)
	for range len(all) - 1 {
		select {
		case g := <-ended:
			g.refused(0)
			all = slices.DeleteFunc(all, func(other *gateway) bool { return other == g })
		case <-limit:
			t.Fatalf("%d processes run on one data folder", len(all))
		}
	}
	all[0].waitLog("ready", func(e entry) bool { return e.is("msg", "ready") })
}
