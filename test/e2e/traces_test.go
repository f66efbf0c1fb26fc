package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/collector"
	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// oneEvent opens a stream, reads one event and leaves. It returns the event's id.
func oneEvent(t *testing.T, url, lastID string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := gateway.OneShot().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			return id
		}
	}
	t.Fatalf("status %d, no event", resp.StatusCode)
	return ""
}

// TestTraces: what one event's way leaves in a collector, linked through the broker, and what does not get there.
func TestTraces(t *testing.T) {
	t.Parallel()
	const canary = "canary-c3d9"
	bothEngines(t, func(t *testing.T, engine string) {
		col := collector.New(t)
		env := append(col.Env(), "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test", "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+canary)
		l := newLine(t, feed.Options{Rate: 50}, gateway.Options{Engine: engine, Env: env}, oracle.Run{}, ticksTopic)
		l.readMany("/ticks", 1, nil) // keeps the feed open, which learns of commits by what is live
		open := time.Now()
		col.Wait(t, "commit that is live", func(s collector.Span) bool { return s.Name == "ingest.commit" && s.Began.After(open) })
		url := l.gate.URL(ticksPath)
		id := oneEvent(t, url, "", "User-Agent", canary, "Cookie", "a="+canary)
		col.Wait(t, "stream", func(s collector.Span) bool { return s.Name == "edge.connection" && s.Is("sluice.start", "live") })
		oneEvent(t, url, id, "Origin", "http://"+canary)
		resume := col.Wait(t, "return", func(s collector.Span) bool { return s.Name == "edge.resume" && len(s.Links) > 0 })
		conn := col.Wait(t, "stream of the return", func(s collector.Span) bool { return s.ID == resume.Parent })
		// It may be exported after the stream that is linked to it.
		commit := col.Wait(t, "commit that the return is linked to", func(c collector.Span) bool { return c.Name == "ingest.commit" && resume.LinksTo(c) })
		l.gate.Stop()
		up := col.Wait(t, "upstream connection", func(s collector.Span) bool { return s.Name == "ingest.upstream" && commit.LinksTo(s) })
		take := col.Wait(t, "take-over", func(s collector.Span) bool { return s.Name == "ingest.take" && up.LinksTo(s) })
		switch {
		case !resume.Is("sluice.resume", "exact") || !conn.Is("sluice.end", "client") || !conn.Is("sluice.topic", "/ticks") || !conn.LinksTo(commit):
			t.Errorf("%+v in %+v", resume, conn)
		case !take.Is("sluice.result", "ok") || !commit.Is("sluice.result", "ok") || up.Failed != "":
			t.Errorf("%+v, %+v, %+v", take, commit, up)
		case commit.Resource["service.name"] != "sluice" || commit.Resource["deployment.environment"] != "test":
			t.Errorf("resource %v", commit.Resource)
		case col.Headers()[0].Get("Authorization") != "Bearer "+canary:
			t.Errorf("headers %v", col.Headers()[0])
		}
		if n, events := len(col.Spans()), l.Stats("/ticks").Head; n > int(events)/2+20 {
			t.Errorf("%d spans of %d events", n, events)
		}
		if strings.Contains(col.Raw(), canary) || strings.Contains(fmt.Sprint(l.gate.Log()), "Bearer") {
			t.Error("a credential, or what a client wrote, is in a span or the log")
		}
	})
}

// TestTracesOff: without the variables there is nothing, not even a goroutine.
func TestTracesOff(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Rate: 50}, gateway.Options{Env: []string{"OTEL_SERVICE_NAME=gate"}}, oracle.Run{}, ticksTopic)
	l.readMany("/ticks", 1, nil)
	l.awaitAll(5)
	for path, not := range map[string]string{"/debug/pprof/goroutine?debug=2": "obs.(*Traces)", "/metrics": "sluice_trace_"} {
		if _, body := l.gate.Ops(path); strings.Contains(string(body), not) {
			t.Errorf("%s holds %s", path, not)
		}
	}
	l.judge()
}

// TestTracesHang: a collector that takes spans and never answers delays neither streams nor the end of the process.
func TestTracesHang(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 1000), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	l := newLine(t, feed.Options{Rate: 100}, gateway.Options{Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + srv.URL, "OTEL_BSP_SCHEDULE_DELAY=10",
		"OTEL_EXPORTER_OTLP_TIMEOUT=600000", "OTEL_BSP_EXPORT_TIMEOUT=600000", "OTEL_BSP_MAX_QUEUE_SIZE=2"}}, oracle.Run{}, ticksTopic)
	<-asked
	l.readMany("/ticks", 5, nil)
	l.awaitAll(l.Stats("/ticks").Head + 100)
	l.Pause()
	l.Settle()
	l.gate.Stop()
	l.stopC()
	l.running.Wait()
}

// TestTraceEnvIsRefused: what is not supported is told by name, by serve and by check-config, and nothing starts.
func TestTraceEnvIsRefused(t *testing.T) {
	t.Parallel()
	const want = `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not supported: allowed are http/protobuf`
	env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
	g := gateway.New(t, gateway.Options{Env: env})
	g.Spawn()
	if code := g.Wait(); code != 78 || g.Logged(func(e gateway.Entry) bool { return strings.Contains(fmt.Sprint(e["text"]), want) }) != 1 {
		t.Errorf("serve: exit code %d, log %v", code, g.Log())
	}
	cmd := exec.Command(g.Path, "check-config", filepath.Join(g.Dir, "sluice.yaml"))
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 78 || !strings.Contains(string(out), want) {
		t.Errorf("check-config: %v: %s", err, out)
	}
}
