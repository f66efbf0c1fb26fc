package e2e

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
	"sluice/test/oracle/reader"
)

// TestStreamBytes reads a stream as curl does and compares it with the wire contract, line by line.
func TestStreamBytes(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Manual: true, Event: "tick", Lines: 2, CommentEvery: 1, Retry: time.Minute},
			gateway.Options{Engine: engine}, oracle.Run{}, ticksTopic)
		l.wait("/ticks", "the gateway is connected", func(s feed.Stats) bool { return s.Open == 1 })
		resp := open(t, gateway.OneShot(), l.gate.URL(ticksPath))
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no",
			"X-Content-Type-Options": "nosniff", "Connection": "close",
		} {
			if got := resp.Header.Get(name); resp.StatusCode != http.StatusOK || got != want && name != "Connection" {
				t.Errorf("%s: %s %q, want %q", resp.Status, name, got, want)
			}
		}
		if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Server") != "" || resp.ContentLength > 0 {
			t.Errorf("head: %v", resp.Header)
		}
		lines := bufio.NewScanner(resp.Body)
		next := func() string {
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
			return lines.Text()
		}
		if first := next(); !regexp.MustCompile(`^retry: [2-5][0-9]{3}$`).MatchString(first) {
			t.Errorf("first line %q", first)
		}
		l.Emit("/ticks", 50)
		id := regexp.MustCompile(`^id: [1-9a-z][0-9a-z]{0,12}-[1-9a-z][0-9a-z]{0,12}$`)
		for n := uint64(1); n <= 50; n++ {
			data := strings.Split(string(l.Tape().Append(nil, "/ticks", n)), "\n")
			for _, want := range []string{"event: tick", "data: " + data[0], "data: " + data[1]} {
				if got := next(); got != want {
					t.Fatalf("event %d: line %q, want %q", n, got, want)
				}
			}
			if got := next(); !id.MatchString(got) {
				t.Fatalf("event %d: line %q, want an id", n, got)
			}
			if got := next(); got != "" {
				t.Fatalf("event %d: line %q, want an empty one", n, got)
			}
		}
	})
}

// TestHeartbeat waits for one comment of a silent stream.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		l := newLine(t, feed.Options{Manual: true}, gateway.Options{Engine: engine, Env: []string{"SLUICE_FANOUT_HEARTBEAT=5s"}}, oracle.Run{}, ticksTopic)
		r := bufio.NewReader(open(t, gateway.OneShot(), l.gate.URL(ticksPath)).Body)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		var beat [2]byte
		for i := range beat {
			var err error
			if beat[i], err = r.ReadByte(); err != nil {
				t.Fatal(err)
			}
		}
		if string(beat[:]) != ":\n" {
			t.Errorf("got %q, want a heartbeat", beat)
		}
	})
}

// TestCutsAndResumes cuts every client again and again, at any byte: A1 and A3 of the promises.
func TestCutsAndResumes(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		l := newLine(t, feed.Options{Rate: 300, UTF8: true, Event: "tick"}, gateway.Options{Engine: engine},
			oracle.Run{Seed: seed, MinProduced: 1000}, ticksTopic)
		l.readMany("/ticks", 30, func(o *reader.Options) {
			rnd := rand.New(rand.NewPCG(seed, uint64(len(l.clients))))
			o.CutAfter = func() int { return 1 + rnd.IntN(20_000) }
			o.Pause = time.Duration(rnd.IntN(50)) * time.Millisecond
		})
		from := l.Stats("/ticks").Head
		l.awaitAll(from + 1500)
		v := l.judge()
		if v.Gaps.Told != 0 || v.Resumes < 300 {
			t.Errorf("seed %d: %d resumes, %d gaps", seed, v.Resumes, v.Gaps.Told)
		}
	})
}

// TestExpired resumes behind what the topic keeps: A4.
func TestExpired(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, engine string) {
		topic := "    - {name: /ticks, backend: /stream/ticks, security: none, retention: {maxEvents: 100}}\n"
		l := newLine(t, feed.Options{Manual: true}, gateway.Options{Engine: engine, Env: []string{
			"SLUICE_FANOUT_WINDOW_BYTES=256KiB", "SLUICE_FANOUT_LINGER=0s"}}, oracle.Run{}, topic)
		l.wait("/ticks", "the gateway is connected", func(s feed.Stats) bool { return s.Open == 1 })
		o := l.options("/ticks")
		first := l.read(o)
		l.Emit("/ticks", 5)
		l.await(first, "at event 5", func(s reader.State) bool { return s.N == 5 })
		first.Leave()
		l.Emit("/ticks", 1000)
		l.gate.WaitFeed("/ticks", "1005 events", func(s gateway.FeedStatus, _ bool) bool { return s.Events == 1005 })

		o.LastID = first.State().ID
		again := l.read(o)
		l.await(again, "at event 1005", func(s reader.State) bool { return s.N == 1005 })
		s := again.State()
		if len(s.Gaps) != 1 || s.Gaps[0].Reason != "expired" || s.Gaps[0].Possible || s.Gaps[0].From == nil || *s.Gaps[0].From != o.LastID || s.Gaps[0].To == nil {
			t.Errorf("gaps %+v, want one: expired from %s", s.Gaps, o.LastID)
		}
		if s.Events < 100 || s.Events > 1000 {
			t.Errorf("%d events after the gap, want the 100 that are kept", s.Events)
		}
		l.clients = l.clients[1:] // the first one left
		if v := l.judge(); v.Gaps.Real != 1 {
			t.Errorf("%d real gaps, want 1", v.Gaps.Real)
		}
	})
}

// TestReadyMeansReady asks for a stream at the very moment the program says that it is ready, again and again.
func TestReadyMeansReady(t *testing.T) {
	t.Parallel()
	l := newLine(t, feed.Options{Manual: true}, gateway.Options{}, oracle.Run{}, ticksTopic)
	for range 5 {
		l.gate.Kill()
		l.gate.Start()
		resp := open(t, gateway.OneShot(), l.gate.URL(ticksPath), "Accept", "*/*") // which is never shed
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s right after ready", resp.Status)
		}
		resp.Body.Close()
		if code, body := l.gate.Ops("/readyz?verbose"); code != http.StatusOK {
			t.Errorf("/readyz: %d %s", code, body)
		}
	}
}
