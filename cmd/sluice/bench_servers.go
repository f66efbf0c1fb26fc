package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/test/load"
)

// benchAPI is the definition that the published cells are measured with; %s is the bench's origin.
const benchAPI = `apiVersion: sluice/v1
kind: API
metadata: {name: bench}
spec:
  context: /bench
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  topics:
    - name: /t/{n}
      params: {n: '^[0-9]{1,4}$'}
      backend: /t/{n}
      security: none
`

// startSluice starts this program as a gateway of its own, with a fresh store, and points the cell at it.
func startSluice(ctx context.Context, c *load.Cell, cpu int, environ ...string) (func(), error) {
	_, stop, err := startSluiceWithOps(ctx, c, cpu, environ...)
	return stop, err
}

// startSluiceWithOps also returns the URL of the ops listener.
func startSluiceWithOps(ctx context.Context, c *load.Cell, cpu int, environ ...string) (url string, stop func(), err error) {
	g, err := startGateway(ctx, c, cpu, environ, func(dir string) ([]string, error) {
		err := os.WriteFile(filepath.Join(dir, "bench.yaml"), fmt.Appendf(nil, benchAPI, c.Origin), 0o600)
		return []string{"--apis", dir, "--control", ""}, err
	})
	return g.ops, g.stop, err
}

// benched is a gateway that was started for a cell.
type benched struct {
	dir, ops string // its folder, in which data is its data folder; URL of its ops listener
	stop     func()
}

// startGateway starts this program as a gateway of its own in a new folder, with what the cell needs set in the cell. It is given the
// arguments that prepare returns, which may write into the folder.
func startGateway(ctx context.Context, c *load.Cell, cpu int, environ []string, prepare func(dir string) (args []string, err error)) (g benched, err error) {
	if g.dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return g, err
	}
	ports, err := freePorts(3)
	var args []string
	if err == nil {
		c.Origin = "127.0.0.1:" + strconv.Itoa(ports[2])
		args, err = prepare(g.dir)
	}
	self, selfErr := os.Executable()
	if err := errors.Join(err, selfErr); err != nil {
		return g, errors.Join(err, os.RemoveAll(g.dir))
	}
	edge, ops := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	args = append([]string{"serve", "--data", filepath.Join(g.dir, "data"), "--http", edge, "--https", "", "--ops", ops, "--log-level", "error"}, args...)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(os.Environ(), "SLUICE_EDGE_DRAIN_DELAY=0s", "SLUICE_FANOUT_DRAIN_OVER=0s"), environ...)
	c.URL, c.Publish = "http://"+edge+"/bench/1.0.0/t/0", nil
	g.ops = "http://" + ops
	g.stop, err = startServer(ctx, c, cmd, cpu, g.ops+"/readyz", g.dir)
	return g, err
}

// startServer starts cmd on a CPU, waits until the ready URL answers, and makes the cell read the processes' usage.
func startServer(ctx context.Context, c *load.Cell, cmd *exec.Cmd, cpu int, ready, dir string) (func(), error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := load.StartPinned(cmd, cpu); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	gone := make(chan struct{})
	go func() { defer close(gone); _ = cmd.Wait() }() // how it ended is of no interest: it is asked to
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
		}
		_ = os.RemoveAll(dir) // a folder that stays in the temporary folder does no harm
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !answers(ctx, ready) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-gone:
			stop()
			return nil, fmt.Errorf("%s ended: %s", filepath.Base(cmd.Path), bytes.TrimSpace(said.Bytes()))
		case <-limit:
			stop()
			return nil, fmt.Errorf("%s is not ready after 30 s", filepath.Base(cmd.Path))
		}
	}
	c.PIDs = append([]int{cmd.Process.Pid}, childrenOf(cmd.Process.Pid)...)
	return stop, nil
}

// answers says that a URL answers without an error of the server.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Timeout: time.Second}).Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < 500
}

// childrenOf lists the child processes of pid, where the system tells.
func childrenOf(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // none elsewhere
	for _, f := range strings.Fields(string(text)) {
		if p, err := strconv.Atoi(f); err == nil {
			pids = append(pids, p)
		}
	}
	return pids
}

// freePorts finds ports that nobody listens on now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
