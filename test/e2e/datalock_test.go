package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/test/gateway"
)

// sharing prepares another gateway on the data of g, with listeners of its own.
func sharing(t *testing.T, g *gateway.Gateway) *gateway.Gateway {
	t.Helper()
	other := gateway.New(t, gateway.Options{})
	other.Dir = g.Dir
	return other
}

// refused wants that the process ended because the data folder is in use, and said by whom.
func refused(t *testing.T, g *gateway.Gateway, holder int) {
	t.Helper()
	if code := g.Wait(); code != 71 {
		t.Errorf("exit code %d on a data folder in use, want 71", code)
	}
	want := []string{"data folder " + filepath.Join(g.Dir, "data") + " is in use by process ", "--data"}
	if holder != 0 {
		want[0] += fmt.Sprint(holder, ":")
	}
	if n := g.Logged(func(e gateway.Entry) bool {
		text := fmt.Sprint(e["text"])
		return strings.Contains(text, want[0]) && strings.Contains(text, want[1])
	}); n != 1 {
		g.DumpLog()
		t.Errorf("%d lines say %q", n, want)
	}
}

// TestDataFolderIsForOne starts a second process on a data folder: it must leave before it touches anything, and get the
// folder as soon as the first is gone, however that ended.
func TestDataFolderIsForOne(t *testing.T) {
	t.Parallel()
	first := gateway.New(t, gateway.Options{})
	second := sharing(t, first)
	first.Start()
	second.Spawn()
	refused(t, second, first.PID())
	if code, _ := first.Ops("/readyz"); code != 200 {
		t.Errorf("the first one answers %d after that", code)
	}

	first.Kill()
	second.Start()
	first.Spawn()
	refused(t, first, second.PID())

	second.Stop()
	if text, err := os.ReadFile(filepath.Join(second.Dir, "data", "lock")); err != nil || len(text) != 0 {
		t.Errorf("after an orderly end the lock file says %q, %v", text, err)
	}
	first.Start()
	first.Stop()
}

// TestDataFolderRace starts several processes on one data folder at once: exactly one gets it.
func TestDataFolderRace(t *testing.T) {
	t.Parallel()
	first := gateway.New(t, gateway.Options{})
	all := []*gateway.Gateway{first, sharing(t, first), sharing(t, first), sharing(t, first)}
	ended := make(chan *gateway.Gateway, len(all))
	for _, g := range all {
		g.Spawn()
		go func() { // ends when the test has ended the process
			<-g.Done()
			ended <- g
		}()
	}
	limit := time.After(gateway.Patience)
	for range len(all) - 1 {
		select {
		case g := <-ended:
			refused(t, g, 0)
			all = slices.DeleteFunc(all, func(other *gateway.Gateway) bool { return other == g })
		case <-limit:
			t.Fatalf("%d processes run on one data folder", len(all))
		}
	}
	all[0].WaitLog("ready", func(e gateway.Entry) bool { return e.Is("msg", "ready") })
}
