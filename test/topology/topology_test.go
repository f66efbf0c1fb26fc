//go:build unix

package topology

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A deployment serves through its balancer, survives any one process being killed, and is ended whole by somebody who only
// has its folder.
func TestUpAndDown(t *testing.T) {
	for _, need := range []string{"redis-server", "haproxy"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("%s is not installed (apt-get install redis-server haproxy)", need)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "cluster")
	topo, err := New(ctx, Options{Dir: dir, Root: "../.."})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { topo.Down(20 * time.Second) })
	var order []Kind
	if err := topo.Up(ctx, func(k Kind) { order = append(order, k) }); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(order); got != "[nats redis market control ingest edge balancer]" || len(topo.All()) != 12 {
		t.Errorf("%s, %d processes", got, len(topo.All()))
	}
	last := ""
	for _, p := range append([]*Process{nil}, topo.All()...) {
		if p != nil {
			p.Kill()
			if p.Running() || p.Ended() == "" {
				t.Errorf("%s was killed: running %v, ended %q", p.Name, p.Running(), p.Ended())
			}
			if err := topo.Start(p); err != nil {
				t.Fatal(err)
			}
			if err := p.WaitReady(ctx); err != nil {
				t.Fatal(err)
			}
		}
		last = readOne(ctx, t, topo.URL("/market/1.0.0/ticks"), last)
	}
	if err := topo.Start(topo.All()[0]); err == nil {
		t.Error("a process that runs is started again")
	}

	ended, err := DownFrom(dir, 20*time.Second)
	if err != nil || len(ended) != len(topo.All()) {
		t.Errorf("ended %v, %v", ended, err)
	}
	for _, p := range topo.All() {
		if p.Running() {
			t.Errorf("%s still runs", p.Name)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if ended, err := DownFrom(dir, time.Second); err != nil || len(ended) != 0 {
		t.Errorf("a second time: ended %v, %v", ended, err)
	}
}

// readOne reads events until one comes that follows the id given, and returns its id.
func readOne(ctx context.Context, t *testing.T, url, last string) string {
	t.Helper()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := probe.Do(req)
		if err != nil {
			continue // the process that was killed was in the way
		}
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if s.Text() == "event: gateway.gap" {
				t.Error("a gap is told")
			}
			if id, ok := strings.CutPrefix(s.Text(), "id: "); ok {
				resp.Body.Close()
				return id
			}
		}
		resp.Body.Close()
	}
	t.Fatalf("no event: %v", ctx.Err())
	return ""
}

// Addresses are given out once.
func TestAddr(t *testing.T) {
	topo := &Topology{taken: map[string]bool{}}
	seen := map[string]bool{}
	for range 200 {
		a, err := topo.addr()
		if err != nil || seen[a] {
			t.Fatalf("%q again, or %v", a, err)
		}
		seen[a] = true
	}
}
