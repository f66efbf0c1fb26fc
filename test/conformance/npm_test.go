package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node skips the test unless Node and the modules of the folder are there.
func node(t *testing.T, dir string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node", "install Node.js 20 or later")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		missing(t, filepath.Join("test/conformance", dir, "node_modules"), "npm ci --ignore-scripts in that folder")
	}
}

// TestNpmClients reads through three cuts with clients that npm users have.
func TestNpmClients(t *testing.T) {
	node(t, "clients")
	t.Parallel()
	for _, name := range []string{"eventsource-client", "launchdarkly-eventsource", "reconnecting-eventsource",
		"event-source-polyfill", "fetch-event-source"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, endpoint := startTapes(t)
			g := startGateway(t, []string{tapesAPI("tapes", endpoint, "")})
			p.allow("a", tapeLength/2)
			c := startCutter(t, g.http, true, 600, 1000, 1400)
			c.onReconnect(t, 4, func() { p.allow("a", tapeLength) })
			var out, errs bytes.Buffer
			cmd := exec.CommandContext(deadline(t), "node", "clients/run.mjs", name, c.url("/tapes/1.0.0/t/a"), "100")
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				n, _ := c.connections()
				t.Fatalf("%v after %d connections: %s", err, n, errs.String())
			}
			var got []event
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%v in %q", err, out.String())
			}
			judge(t, got)
		})
	}
}

// TestVectorsAgainstParser runs sse/compare.mjs: the vectors themselves against an independent parser.
func TestVectorsAgainstParser(t *testing.T) {
	node(t, "sse")
	t.Parallel()
	cmd := exec.CommandContext(deadline(t), "node", "compare.mjs")
	cmd.Dir = "sse"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
