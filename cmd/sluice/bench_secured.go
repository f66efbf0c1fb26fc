package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/test/load"
)

// securedBundle is what the secured cells are measured with: the API of benchAPI, but with a plan that meters and an application that may
// read by it. %s is the bench's origin. The quota never ends: what is measured is what counting costs.
const securedBundle = `apiVersion: sluice/v1
kind: Plan
metadata: {name: Bench}
spec:
  quota: {events: 1000000000000, every: 1, unit: day}
---
apiVersion: sluice/v1
kind: API
metadata: {name: bench}
spec:
  context: /bench
  version: 1.0.0
  endpoint: http://%s
  state: PUBLISHED
  plans: [Bench]
  topics:
    - name: /t/{n}
      params: {n: '^[0-9]{1,4}$'}
      backend: /t/{n}
---
apiVersion: sluice/v1
kind: Application
metadata: {name: bench}
---
apiVersion: sluice/v1
kind: Subscription
spec: {application: bench, api: bench, version: 1.0.0, plan: Bench}
`

// startSecured starts this program as a gateway that wants an API key and counts every delivery, and points the cell at it.
func startSecured(ctx context.Context, c *load.Cell, cpu int) (func(), error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	self, selfErr := os.Executable()
	if err := errors.Join(err, selfErr); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	edge, ops, control, data := at(0), at(1), at(2), filepath.Join(dir, "data")
	c.Origin = at(3)
	cmd := exec.CommandContext(ctx, self, "serve", "--data", data, "--http", edge, "--https", "", "--control", control, "--ops", ops, "--log-level", "error")
	cmd.Env = append(os.Environ(), "SLUICE_EDGE_DRAIN_DELAY=0s", "SLUICE_FANOUT_DRAIN_OVER=0s")
	c.URL, c.Publish = "http://"+edge+"/bench/1.0.0/t/0", nil
	stop, err := startServer(ctx, c, cmd, cpu, "http://"+ops+"/readyz", dir)
	if err != nil {
		return nil, err
	}
	password, err := os.ReadFile(filepath.Join(data, firstPasswordFile))
	if err == nil {
		var key string
		if key, err = secure(ctx, "http://"+control+"/api/v1", strings.TrimSpace(string(password)), c.Origin); err == nil {
			c.Header = http.Header{"ApiKey": {key}}
			if err = awaitOpen(ctx, c); err == nil {
				return stop, nil
			}
		}
	}
	stop()
	return nil, err
}

// secure makes the API and who may read it, and returns the key.
func secure(ctx context.Context, base, password, origin string) (string, error) {
	post := func(path, kind, body string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth("admin", password)
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode >= 300 {
			err = fmt.Errorf("POST %s: %s: %s", path, resp.Status, bytes.TrimSpace(text))
		}
		return text, err
	}
	if _, err := post("/apply?wait=edges", "application/yaml", fmt.Sprintf(securedBundle, origin)); err != nil {
		return "", err
	}
	text, err := post("/applications/bench/keys", "application/json", "{}")
	if err != nil {
		return "", err
	}
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return "", err
	}
	return made.Key, nil
}

// awaitOpen waits until the edge lets the cell's clients in: a key reaches it a moment after it was made.
func awaitOpen(ctx context.Context, c *load.Cell) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.URL, nil)
		if err != nil {
			return err
		}
		req.Header = c.Header.Clone()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("HEAD %s still answers %s", c.URL, resp.Status)
		}
	}
}
