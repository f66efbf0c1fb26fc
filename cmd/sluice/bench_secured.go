package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
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
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	control := "127.0.0.1:" + strconv.Itoa(ports[0])
	g, err := startGateway(ctx, c, cpu, nil, func(string) ([]string, error) { return []string{"--control", control}, nil })
	if err != nil {
		return nil, err
	}
	password, err := os.ReadFile(filepath.Join(g.dir, "data", firstPasswordFile))
	if err == nil {
		var key string
		if key, err = secure(ctx, "http://"+control+"/api/v1", strings.TrimSpace(string(password)), c.Origin); err == nil {
			c.Header = http.Header{"ApiKey": {key}}
			err = awaitOpen(ctx, c)
		}
	}
	if err != nil {
		g.stop()
		return nil, err
	}
	return g.stop, nil
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
