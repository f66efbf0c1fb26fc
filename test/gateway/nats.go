package gateway

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Broker is a nats-server process of the version in go.mod, with JetStream, on a port of its own.
type Broker struct {
	URL string
	cmd *exec.Cmd
	out *os.File
}

// buildBroker builds the program once; only StartBroker calls it.
var buildBroker = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "nats-server")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build nats-server: %w\n%s", err, out)
	}
	return path, nil
})

// StartBroker starts a broker that ends with the test, and waits until it listens.
func StartBroker(t testing.TB) *Broker {
	t.Helper()
	path, err := buildBroker()
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := FreeAddr(t), t.TempDir()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{URL: "nats://" + addr}
	if b.out, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command(path, "--addr", host, "--port", port, "--jetstream", "--store_dir", filepath.Join(dir, "store"))
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
		_ = b.out.Close()
	})
	limit, tick := time.After(Patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return b
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("nats-server does not listen: %v", err)
		}
	}
}
