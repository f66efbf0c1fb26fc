package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/gateway"
)

// need skips loudly without a program, which a Debian package has.
func need(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("no %s: apt-get install %s", program, debian)
	}
	return path
}

// server is a real Prometheus that scrapes the given addresses once per second.
type server struct {
	t    *testing.T
	addr string
}

func startPrometheus(t *testing.T, targets ...string) *server {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  - job_name: sluice\n    static_configs: [{targets: ['%s']}]\n",
		strings.Join(targets, "', '"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t, gateway.FreeAddr(t)}
	cmd := exec.Command(need(t, "prometheus", "prometheus"), "--config.file="+conf, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+s.addr, "--log.level=error")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() { _ = cmd.Wait() })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		ended.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", out.String())
		}
	})
	until(t, "prometheus is ready", func() bool {
		resp, err := gateway.OneShot().Get("http://" + s.addr + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// query evaluates an expression now and returns the samples as their labels.
func (s *server) query(expr string) ([]map[string]string, error) {
	resp, err := gateway.OneShot().Get("http://" + s.addr + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", body, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	var list []map[string]string
	for _, r := range answer.Data.Result {
		list = append(list, r.Metric)
	}
	return list, nil
}

// until polls for a fact that another program makes and does not tell.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	limit, poll := time.After(gateway.Patience), time.NewTicker(100*time.Millisecond)
	defer poll.Stop()
	for !fact() {
		select {
		case <-poll.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}
