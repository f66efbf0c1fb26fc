package load

import (
	"fmt"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func needEpoll(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("epoll: needs Linux")
	}
}

func TestAnHonestServerPasses(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		c := startHub(t, &hub{}, start).cell()
		adapt(&c)
		var mu sync.Mutex
		var phases []string
		c.OnSample = func(s Sample) { mu.Lock(); phases = append(phases, s.Phase); mu.Unlock() }
		r := measure(t, c)
		if r.Failed != "" || len(r.Faults) > 0 {
			t.Fatalf("failed %q, faults %+v", r.Failed, r.Faults)
		}
		// 60 events over 2 topics, 10 of them warm-up; 10 clients a topic.
		if r.Expected != 500 || r.Delivered != 500 || r.Connected != 20 || r.Latency.Count != 500 {
			t.Errorf("expected %d, delivered %d, connected %d, timed %d", r.Expected, r.Delivered, r.Connected, r.Latency.Count)
		}
		if r.LastClient.Count != 50 || r.Latency.Max <= 0 || r.LastClient.Max < r.Latency.P99/2 || len(r.Fairness.Tenths) != 10 {
			t.Errorf("last client %+v, latency %+v, fairness %+v", r.LastClient, r.Latency, r.Fairness)
		}
		if r.RetryMinMS != 20 || r.BytesPer < 300 || r.Published.Events != 60 || len(phases) == 0 {
			t.Errorf("retry %d, bytes %f, published %+v, phases %v", r.RetryMinMS, r.BytesPer, r.Published, phases)
		}
	})
}

// TestASpoiltServerIsCaughtByName is what the bench is for: each fault of a server is found, named and pinned to the
// client that saw it first.
func TestASpoiltServerIsCaughtByName(t *testing.T) {
	var held sync.Map
	for _, c := range []struct {
		fault Fault
		count int64 // 0 = at least one
		what  string
		adapt func(*Cell)
		spoil func(c, n int, frame string) string
	}{
		{Lost, 1, "event 7", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return ""
			}
			return frame
		}},
		{Doubled, 1, "event 7", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return frame + frame
			}
			return frame
		}},
		{Reordered, 1, "event 7", nil, func(c, n int, frame string) string {
			switch {
			case c == 3 && n == 7:
				held.Store("swap", frame)
				return ""
			case c == 3 && n == 8:
				before, _ := held.Load("swap")
				return frame + before.(string)
			}
			return frame
		}},
		{Corrupt, 1, "event 7: checksum differs", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return strings.Replace(frame, "abc", "abd", 1)
			}
			return frame
		}},
		{IDMissing, 1, "event 7", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return strings.Replace(frame, "id:", "xx:", 1)
			}
			return frame
		}},
		{IDDiffers, 0, "", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return strings.Replace(frame, "id: e7", "id: e7000", 1)
			}
			return frame
		}},
		{IDRepeated, 1, "event 7", nil, func(c, n int, frame string) string {
			if c == 3 && n == 7 {
				return strings.Replace(frame, "id: e7", "id: e6", 1)
			}
			return frame
		}},
		{Late, 0, "after it was due", func(c *Cell) { c.LateAfter, c.Strict = time.Microsecond, true }, nil},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			t.Parallel()
			h := startHub(t, &hub{spoil: c.spoil}, (*httptest.Server).Start)
			cell := h.cell()
			cell.Topics, cell.Rate, cell.Warmup = 1, 40, -1
			if c.adapt != nil {
				c.adapt(&cell)
			}
			r := measure(t, cell)
			got := r.Count(c.fault)
			if c.count > 0 && got != c.count || got == 0 {
				t.Fatalf("counted %d times, want %d; all: %+v", got, c.count, r.Faults)
			}
			if !strings.Contains(r.Failed, c.fault.String()) && c.fault != IDDiffers && c.fault != IDRepeated {
				t.Errorf("verdict %q does not name it", r.Failed)
			}
			if r.Failed == "" || !strings.Contains(r.Failed, c.what) {
				t.Errorf("verdict %q, want %q", r.Failed, c.what)
			}
			for _, f := range r.Faults {
				if f.Fatal && f.Fault == c.fault.String() && f.First == nil {
					t.Error("the first offender is not shown")
				}
			}
		})
	}
}

func TestASlowServerIsLate(t *testing.T) {
	hold := make(chan struct{})
	time.AfterFunc(700*time.Millisecond, func() { close(hold) })
	h := startHub(t, &hub{spoil: func(c, n int, frame string) string {
		if c == 2 && n == 4 {
			<-hold
		}
		return frame
	}}, (*httptest.Server).Start)
	c := h.cell()
	c.Topics, c.Rate, c.Warmup, c.Duration, c.LateAfter = 1, 40, -1, 300*time.Millisecond, 100*time.Millisecond
	r := measure(t, c)
	if r.Count(Late) == 0 || r.Failed != "" {
		t.Errorf("late %d, failed %q", r.Count(Late), r.Failed)
	}
}

func TestClientsThatHangUpResume(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		h := startHub(t, &hub{}, start)
		c := h.cell()
		c.Churn = 100
		adapt(&c)
		r := measure(t, c)
		if r.Failed != "" || r.Reconnects == 0 || h.resumes.Load() == 0 || r.Delivered != r.Expected {
			t.Errorf("failed %q, %d reconnects, %d resumes, %d of %d", r.Failed, r.Reconnects, h.resumes.Load(), r.Delivered, r.Expected)
		}
		if r.Count(Cut) > 0 {
			t.Errorf("own hang-ups counted as cuts: %+v", r.Faults)
		}
	})
}

func TestAllReturnAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		c := startHub(t, &hub{}, start).cell()
		c.Duration, c.ResumeBehind, c.BurstRate = 3*time.Second, 30, 300
		adapt(&c)
		r := measure(t, c)
		if r.Failed != "" || r.Resume == nil || r.Resume.Back != 20 || r.Delivered != r.Expected {
			t.Fatalf("failed %q, resume %+v, %d of %d", r.Failed, r.Resume, r.Delivered, r.Expected)
		}
		// Each of 20 clients missed 30 events of its topic.
		if r.Replayed < 600 || r.Resume.WithoutID > 0 {
			t.Errorf("replayed %d, without id %d", r.Replayed, r.Resume.WithoutID)
		}
	})
}

func TestAResumeThatLosesIsCaught(t *testing.T) {
	h := startHub(t, &hub{}, (*httptest.Server).Start)
	var mu sync.Mutex
	skipped := false
	h.spoil = func(c, n int, frame string) string {
		mu.Lock()
		defer mu.Unlock()
		if c >= 20 && !skipped { // the first event of the first client to come back
			skipped = true
			return ""
		}
		return frame
	}
	c := h.cell()
	c.Duration, c.ResumeBehind = 2*time.Second, 10
	r := measure(t, c)
	if r.Count(Lost) != 1 || !strings.Contains(r.Failed, "1 lost") {
		t.Errorf("lost %d, failed %q", r.Count(Lost), r.Failed)
	}
}

func TestACutStreamComesBack(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		h := startHub(t, &hub{cut: func(c, n int) bool { return c == 1 && n == 20 }}, start)
		c := h.cell()
		adapt(&c)
		r := measure(t, c)
		if r.Failed != "" || r.Count(Cut) != 1 || r.Reconnects != 1 || r.Delivered != r.Expected {
			t.Errorf("failed %q, cut %d, reconnects %d, %d of %d", r.Failed, r.Count(Cut), r.Reconnects, r.Delivered, r.Expected)
		}
	})
}

func TestRefusedClientsTryAgain(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		h := &hub{}
		h.refuse.Store(3)
		startHub(t, h, start)
		c := h.cell()
		adapt(&c)
		r := measure(t, c)
		if r.Failed != "" || r.Connected != 20 || r.Count(Refused) != 3 || r.Statuses[503] != 3 {
			t.Errorf("failed %q, connected %d, refused %d, %v", r.Failed, r.Connected, r.Count(Refused), r.Statuses)
		}
	})
}

func TestSlowReadersAreApart(t *testing.T) {
	engines(t, func(t *testing.T, start func(*httptest.Server), adapt func(*Cell)) {
		c := startHub(t, &hub{}, start).cell()
		c.Slow = 5
		adapt(&c)
		r := measure(t, c)
		if r.Failed != "" || r.Delivered != r.Expected || r.Expected != 500 || r.Connected != 25 {
			t.Errorf("failed %q, %d of %d, %d connected", r.Failed, r.Delivered, r.Expected, r.Connected)
		}
	})
}

func TestListeningJudgesOrder(t *testing.T) {
	var spoilt atomic.Bool
	h := startHub(t, &hub{spoil: func(_, n int, frame string) string {
		if n == 60 && spoilt.CompareAndSwap(false, true) {
			return ""
		}
		return frame
	}}, (*httptest.Server).Start)
	publish := h.cell()
	publish.Clients, publish.Topics, publish.Duration = 1, 1, 2*time.Second
	done := make(chan error, 1)
	go func() {
		publish.URL = h.URL + "/sub/other"
		_, err := publish.Run(t.Context())
		done <- err
	}()
	c := h.cell()
	c.Publish, c.Topics, c.Duration = nil, 1, 1500*time.Millisecond
	r := measure(t, c)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r.Delivered == 0 || r.Latency.Count == 0 || r.Count(Lost) != 1 || r.Expected != 0 {
		t.Errorf("delivered %d, timed %d, lost %d", r.Delivered, r.Latency.Count, r.Count(Lost))
	}
}

func TestNobodyListens(t *testing.T) {
	h := startHub(t, &hub{}, (*httptest.Server).Start)
	c := h.cell()
	h.Close()
	c.ConnectTimeout = 300 * time.Millisecond
	r := measure(t, c)
	if !strings.Contains(r.Failed, "no client connected: ") || !strings.Contains(r.Failed, "refused") {
		t.Errorf("failed %q", r.Failed)
	}
}

func TestCellsThatCannotBe(t *testing.T) {
	for name, c := range map[string]Cell{
		"no URL to open":            {},
		"not an http":               {URL: "ftp://x"},
		"origin or publishes":       {URL: "http://x", Origin: ":0", Publish: &Publish{}},
		"needs a source":            {URL: "http://x", ResumeBehind: 5},
		"more than half":            {URL: "http://x", Origin: ":0", ResumeBehind: 500, Rate: 10},
		"clients must be":           {URL: "http://x", Clients: -1},
		"the size must be":          {URL: "http://x", Size: 2 << 20},
		"process 999999999: open /": {URL: "http://127.0.0.1:1/", PIDs: []int{999999999}},
	} {
		if strings.HasPrefix(name, "process") && runtime.GOOS != "linux" {
			continue
		}
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRawLoopAsBaseline(t *testing.T) {
	needEpoll(t)
	t.Setenv("LOAD_TEST_RAW_LOOP", "1")
	h := startHub(t, &hub{}, (*httptest.Server).Start)
	cell := h.cell()
	cell.PIDs = []int{os.Getpid()}
	raw := cell
	raw.Topics = 1
	var order []string
	cmp, err := Rounds{
		Raw: 1, Repeat: 2,
		Entries: []Entry{{Name: "hub", Cell: cell}, {Name: "raw", Cell: raw, Start: func(c *Cell) (func(), error) {
			p, err := StartRaw(t.Context(), os.Args[0])
			if err != nil {
				return nil, err
			}
			c.URL, c.PIDs, c.Publish = "http://"+p.Addr+"/", []int{p.PID}, &Publish{URL: "http://" + p.Addr + "/"}
			return p.Stop, nil
		}}},
		OnRun: func(round int, name string, r *Result) {
			order = append(order, fmt.Sprint(round, name))
			if r.Failed != "" || r.Delivered != r.Expected || r.Delivered == 0 {
				t.Errorf("round %d, %s: failed %q, %d of %d", round, name, r.Failed, r.Delivered, r.Expected)
			}
		},
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "0hub 0raw 1raw 1hub" {
		t.Errorf("order %s", got)
	}
	if len(cmp.Series) != 2 || cmp.Series[1].Runs[1].RSSIdle == 0 {
		t.Errorf("%+v", cmp)
	}
}
