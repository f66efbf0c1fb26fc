package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/broker/brokertest"
)

// TestConfigurations lets the server itself check every file that is meant to be started with.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	exe := brokertest.ServerProgram(t)
	certs := newCertificates(t)
	for _, name := range []string{"single.conf", "cluster.conf", "cluster-tls.conf"} {
		conf := relocated(t, name, certs.dir)
		check := exec.CommandContext(t.Context(), exe, "-t", "-c", conf)
		check.Env = append(append(os.Environ(), newKeys(t).env...),
			"NATS_NAME=nats-1", "NATS_DATA=/data/jetstream", "NATS_ZONE=az:1", "NATS_ROUTES=[nats://nats-1:6222, nats://nats-2:6222, nats://nats-3:6222]")
		if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), "is valid") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		check = exec.CommandContext(t.Context(), exe, "-t", "-c", conf)
		check.Env = append(os.Environ(), "NATS_NAME=nats-1", "NATS_DATA=/data/jetstream", "NATS_ZONE=az:1", "NATS_ROUTES=[]") // no keys: not a server without users
		if out, err := check.CombinedOutput(); err == nil {
			t.Errorf("%s is accepted without keys\n%s", name, out)
		}
	}
}

// relocated copies deploy/nats with the certificates' folder put in place of /etc/nats/tls, and returns the path of a file.
func relocated(t *testing.T, name, certs string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(deployed, "*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", deployed, err)
	}
	dir := t.TempDir()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		moved := strings.ReplaceAll(string(text), "/etc/nats/tls", certs)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), []byte(moved), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}
