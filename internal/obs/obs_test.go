package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTextHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newTextHandler(&out, slog.LevelInfo, false))
	at := time.Date(2026, 11, 23, 8, 30, 0, 5e6, time.UTC)
	r := slog.NewRecord(at, slog.LevelWarn, "feed gap", 0)
	r.AddAttrs(slog.String("path", "/a b\n\x1b[31m"), slog.Int("n", 3), slog.String("empty", ""), slog.Group("g", slog.Duration("d", time.Second)))
	if err := log.With("feed", "m.t").WithGroup("x").Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := `08:30:00.005 WARN  feed gap feed=m.t x.path="/a b\n\x1b[31m" x.n=3 x.empty="" x.g.d=1s` + "\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	log.Debug("quiet")
	if out.Len() > 0 {
		t.Errorf("debug was written: %q", out.String())
	}
}

func TestLoggerOffATerminalIsJSON(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := NewLogger(LogConfig{Out: f, Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("listening", "addr", "127.0.0.1:1")
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(text, &line); err != nil || line["msg"] != "listening" || line["addr"] != "127.0.0.1:1" {
		t.Errorf("%s (%v)", text, err)
	}
	for _, bad := range []LogConfig{{Out: f, Level: "loud"}, {Out: f, Format: "xml"}} {
		if _, err := NewLogger(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		reg := prometheus.NewRegistry()
		log := slog.New(NewLimiter(nil, reg).Handler(slog.NewTextHandler(&out, nil)))
		lines := func() int { defer out.Reset(); return bytes.Count(out.Bytes(), []byte("\n")) }
		for range 100 {
			log.Warn("storm")
			log.Info("access") // not limited
		}
		if n := lines(); n != 110 {
			t.Errorf("%d lines, want 10 warnings and 100 others", n)
		}
		log.Warn("another")
		if n := lines(); n != 1 {
			t.Errorf("another message is kept back: %d", n)
		}
		time.Sleep(time.Second)
		log.With("a", 1).Warn("storm")
		if got := out.String(); !strings.Contains(got, "suppressed=90") {
			t.Errorf("%q does not say how many were kept back", got)
		}
		l := NewLimiter(nil, nil)
		for i := range 10 * limitKeys {
			l.pass(strings.Repeat("x", i%7) + time.Duration(i).String())
		}
		if len(l.seen) > limitKeys {
			t.Errorf("%d messages remembered", len(l.seen))
		}
	})
}

func TestHealth(t *testing.T) {
	var h Health
	grade := OK
	h.Ready("catalog", func() (Grade, string) { return OK, "" })
	h.Ready("broker", func() (Grade, string) { return grade, "link lost" })
	mux := NewMux(&h, NewRegistry("1.2.3", "abc"), map[string]string{"version": "1.2.3"})
	get := func(target string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		grade  Grade
		target string
		code   int
		body   string
	}{
		{OK, "/readyz", 200, "ok\n"},
		{OK, "/readyz?verbose", 200, "[+]catalog ok\n[+]broker ok\nok\n"},
		{Degraded, "/readyz?verbose", 200, "[+]catalog ok\n[!]broker degraded: link lost\nok\n"},
		{Degraded, "/readyz", 200, "ok\n"},
		{Failed, "/readyz", 503, "[+]catalog ok\n[-]broker link lost\nnot ready\n"},
		{Failed, "/livez", 200, "ok\n"},
		{Failed, "/healthz", 200, "ok\n"},
	} {
		grade = c.grade
		if code, body := get(c.target); code != c.code || body != c.body {
			t.Errorf("%v %s: %d %q, want %d %q", c.grade, c.target, code, body, c.code, c.body)
		}
	}
	if _, body := get("/version"); !strings.Contains(body, `"version":"1.2.3"`) {
		t.Errorf("version: %s", body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `sluice_build_info{commit="abc",version="1.2.3"} 1`) {
		t.Error("no build info in the metrics")
	}
	h.Live("shards", func() (Grade, string) { return Failed, "shard 2 made no turn for 30s" })
	if code, body := get("/livez"); code != 503 || !strings.Contains(body, "[-]shards shard 2") {
		t.Errorf("livez: %d %q", code, body)
	}
}

func TestOps(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	var h Health
	ops, err := ListenOps(t.Context(), "127.0.0.1:0", NewMux(&h, NewRegistry("", ""), nil), log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenOps(t.Context(), ops.Addr().String(), nil, log); err == nil {
		t.Error("a busy port was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ops.Run(ctx) }()
	resp, err := http.Get("http://" + ops.Addr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "ok\n" {
		t.Errorf("%q", b)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
