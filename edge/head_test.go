package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/fanout"
	"sluice/internal/access"
)

// The head that is written for a hijacked connection is what net/http writes for the
// same header: who serves a client cannot be told by its bytes.
func TestHeadIsNetHTTPs(t *testing.T) {
	api := &catalog.API{Spec: catalog.Spec{State: catalog.StateDeprecated,
		CORS: catalog.CORS{Origins: []string{"https://a.example"}, Credentials: true}}}
	for _, f := range []fanout.Framing{fanout.Identity, fanout.Chunked} {
		s := &Server{}
		q := &request{caller: caller{id: "id-1"}, origin: "https://a.example", api: api, proto: protoHTTP11}
		h := http.Header{}
		s.setStream(h, q)
		setFraming(h, q.proto, f)

		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range h {
				w.Header()[k] = v
			}
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(ln) }()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var theirs strings.Builder
		br := bufio.NewReader(conn)
		date := ""
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			theirs.WriteString(line)
			if v, ok := strings.CutPrefix(line, "Date: "); ok {
				date = strings.TrimSpace(v)
			}
			if line == "\r\n" {
				break
			}
		}
		_ = conn.Close()
		_ = srv.Close()
		<-done
		now, err := http.ParseTime(date)
		if err != nil {
			t.Fatal(err)
		}
		if ours := string(appendHead(nil, h, f, now)); ours != theirs.String() {
			t.Errorf("framing %d\nours   %q\ntheirs %q", f, ours, theirs.String())
		}
	}
}

func TestSlowPolicyAndLife(t *testing.T) {
	s := &Server{now: time.Now}
	s.cfg.Fanout = config.Default().Fanout
	q := &request{api: &catalog.API{}, route: catalog.Route{Topic: &catalog.Topic{}}}
	if got := s.slow(q); got.Policy != fanout.Drop || got.Lag != 1<<20 || got.Stall != 10*time.Second {
		t.Errorf("%+v", got)
	}
	q.api.Spec.Client.Slow = config.SlowBacklog
	if got := s.slow(q).Policy; got != fanout.Backlog {
		t.Errorf("the API's policy: %v", got)
	}
	q.route.Topic.Slow = config.SlowLatest
	if got := s.slow(q).Policy; got != fanout.Latest {
		t.Errorf("the topic's policy: %v", got)
	}
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		at, why := s.ends(nil)
		d := time.Until(at)
		if why != fanout.EndLifetime {
			t.Fatalf("ends for %s", why)
		}
		low, high = min(low, d), max(high, d)
	}
	if low < 11*time.Minute || high > 18*time.Minute || high-low < 5*time.Minute {
		t.Errorf("lives of %v to %v, want 12 to 18 minutes", low, high)
	}
	s.cfg.Fanout.Life.Max = 0
	if at, _ := s.ends(nil); !at.IsZero() {
		t.Error("a life without end ends")
	}
	plan := &access.Plan{MaxDuration: time.Hour}
	if at, why := s.ends(plan); why != fanout.EndMaxDuration || time.Until(at) < 59*time.Minute || time.Until(at) > time.Hour {
		t.Errorf("a plan's stream ends in %v for %s", time.Until(at), why)
	}
	s.cfg.Fanout.Life.Max = time.Minute
	if _, why := s.ends(plan); why != fanout.EndLifetime {
		t.Errorf("of a shorter life and a longer plan: %s", why)
	}
}

func BenchmarkHead(b *testing.B) {
	s := &Server{}
	q := &request{caller: caller{id: "id-1"}, api: &catalog.API{}, proto: protoHTTP11}
	b.ReportAllocs()
	for b.Loop() {
		h := http.Header{}
		s.setStream(h, q)
		setFraming(h, q.proto, fanout.Identity)
		if len(appendHead(nil, h, fanout.Identity, testNow)) == 0 {
			b.Fatal("no head")
		}
	}
}
