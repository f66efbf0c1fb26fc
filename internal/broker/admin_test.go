package broker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// rawConfig returns what the broker says of a stream's configuration.
func rawConfig(t *testing.T, n *Node, stream string) map[string]any {
	t.Helper()
	text, err := n.Bus().Request(t.Context(), "$JS.API.STREAM.INFO."+stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Config map[string]any `json:"config"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		t.Fatal(err)
	}
	return info.Config
}

// The stream is what stored data rely on: each of these fields is a promise.
func TestStreamConfig(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	first := strconv.FormatInt(now.UnixMicro(), 10)
	n := openNode(t, Config{Now: func() time.Time { return now }})
	f := ensure(t, n, StreamSpec{Name: "test 1", MaxAge: 10 * time.Minute, MaxEvents: 77, MaxBytes: 1 << 30})
	got := rawConfig(t, n, "EV_"+f.API)
	want := map[string]any{
		"subjects": []any{"ev.test_v1.>"}, "retention": "limits", "discard": "old", "storage": "file",
		"num_replicas": 1., "max_msgs_per_subject": 77., "max_age": 6e11, "max_bytes": float64(1 << 30),
		"max_msg_size": float64(2 << 20), "compression": "s2", "duplicate_window": 1e9, "max_consumers": 32.,
		"allow_direct": true, "allow_atomic": true, "deny_delete": true, "deny_purge": false,
		"first_seq": float64(now.UnixMicro()), "republish": map[string]any{"src": "ev.test_v1.>", "dest": "live.test_v1.>"},
	}
	for k, v := range want {
		if diff := cmp.Diff(v, got[k]); diff != "" {
			t.Errorf("%s: %s", k, diff)
		}
	}
	for _, k := range []string{"allow_msg_ttl", "allow_msg_counter", "allow_msg_schedules", "allow_batched", "persist_mode", "mirror"} {
		if v, set := got[k]; set && v != false && v != "" {
			t.Errorf("%s is %v", k, v)
		}
	}
	meta := got["metadata"].(map[string]any)
	for k, v := range map[string]string{"api": "test 1", "layout": "1", "map": "1", "first_seq": first, "durable": "process"} {
		if meta[k] != v {
			t.Errorf("metadata %s is %v, want %s", k, meta[k], v)
		}
	}
	now = now.Add(time.Hour)
	ensure(t, n, StreamSpec{Name: "test 1", MaxAge: 5 * time.Second, MaxEvents: 5, MaxBytes: 1 << 20})
	got = rawConfig(t, n, "EV_"+f.API)
	if got["max_msgs_per_subject"] != 5. || got["max_age"] != 5e9 || got["duplicate_window"] != 1e9 || got["max_bytes"] != float64(1<<20) {
		t.Errorf("after the update: %v", got)
	}
	if meta := got["metadata"].(map[string]any); meta["first_seq"] != first {
		t.Errorf("an update began a new life: %v", meta)
	}
	if got := rawConfigOfBucket(t, n); got["first_seq"] != float64(now.UnixMicro()) {
		t.Errorf("bucket begins at %v, want %d", got["first_seq"], now.UnixMicro())
	}
}

func rawConfigOfBucket(t *testing.T, n *Node) map[string]any {
	t.Helper()
	if _, err := n.Admin().Bucket(t.Context(), "own", 1); err != nil {
		t.Fatal(err)
	}
	return rawConfig(t, n, "KV_own")
}

// A bucket is made as asked for, gets another age when that changes, and is made smaller where there is no room.
func TestBucketSpec(t *testing.T) {
	n := openNode(t, Config{MaxStore: 100 << 20})
	for _, c := range []struct {
		spec                    BucketSpec
		history, maxAge, maxLen float64
	}{
		{BucketSpec{Name: "a", History: 5, MaxAge: time.Hour, MaxBytes: 1 << 20}, 5, 36e11, 1 << 20},
		{BucketSpec{Name: "a", History: 5, MaxAge: 2 * time.Hour, MaxBytes: 1 << 20}, 5, 72e11, 1 << 20},
		{BucketSpec{Name: "b"}, 1, 0, 64 << 20}, // 256 MiB do not fit into 100
		{BucketSpec{Name: "c", MaxBytes: 33 << 20}, 1, 0, 33 << 20},
	} {
		if _, err := n.Admin().EnsureBucket(t.Context(), c.spec); err != nil {
			t.Fatalf("%+v: %v", c.spec, err)
		}
		got := rawConfig(t, n, "KV_"+c.spec.Name)
		age, _ := got["max_age"].(float64)
		if got["storage"] != "file" || got["max_msgs_per_subject"] != c.history || age != c.maxAge || got["max_bytes"] != c.maxLen {
			t.Errorf("%+v: made as %v", c.spec, got)
		}
	}
}

// A store without room to reserve makes streams smaller, down to a limit.
func TestStoreReserved(t *testing.T) {
	n := openNode(t, Config{MaxStore: 100 << 20})
	for i := range 3 {
		api := APIToken("a"+strconv.Itoa(i), "1")
		err := n.Admin().EnsureStream(t.Context(), StreamSpec{API: api, MaxBytes: 1 << 30})
		// 100 MiB are one stream of 64 and one of 32 MiB.
		if i == 2 {
			if !errors.Is(err, ErrStoreFull) {
				t.Fatalf("stream %d: %v, want the store full", i, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		before := rawConfig(t, n, "EV_"+api)["max_bytes"]
		if err := n.Admin().EnsureStream(t.Context(), StreamSpec{API: api, MaxBytes: 1 << 30}); err != nil {
			t.Fatalf("stream %d again: %v", i, err)
		}
		if after := rawConfig(t, n, "EV_"+api)["max_bytes"]; after != before {
			t.Fatalf("stream %d was made of %v bytes, then %v", i, before, after)
		}
	}
	api := APIToken("a1", "1")
	for _, c := range []struct{ ask, want int64 }{{3 << 30, 32 << 20}, {20 << 20, 20 << 20}, {30 << 20, 30 << 20}} {
		if err := n.Admin().EnsureStream(t.Context(), StreamSpec{API: api, MaxBytes: c.ask}); err != nil {
			t.Fatal(err)
		}
		if got := rawConfig(t, n, "EV_"+api)["max_bytes"]; got != float64(c.want) {
			t.Fatalf("asked for %d bytes: %v, want %d", c.ask, got, c.want)
		}
	}
}

// A stream that somebody else made is not written to.
func TestForeignStream(t *testing.T) {
	n := openNode(t, Config{})
	_, err := n.Bus().Request(t.Context(), "$JS.API.STREAM.CREATE.EV_test_v1",
		[]byte(`{"name":"EV_test_v1","subjects":["ev.test_v1.>"],"storage":"file","num_replicas":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Admin().EnsureStream(t.Context(), StreamSpec{API: "test_v1"}); !errors.Is(err, ErrRefused) {
		t.Errorf("ensure: %v", err)
	}
	f := FeedID{API: "test_v1", Key: "x"}
	if _, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Events: events(0, 1)}); !errors.Is(err, ErrRefused) {
		t.Errorf("commit: %v", err)
	}
}

// The embedded broker in memory leaves nothing behind.
func TestMemoryWithoutFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	n, err := Open(t.Context(), Config{Durability: ProfileMemory}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := ensure(t, n, StreamSpec{})
	if _, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Events: events(0, 1)}); err != nil {
		t.Error(err)
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no folder":           {},
		"unknown profile":     {Dir: "x", Durability: "raid"},
		"cluster in process":  {Dir: "x", Durability: ProfileCluster},
		"event over the cap":  {Dir: "x", MaxEvent: 3 << 20},
		"no window":           {Dir: "x", Window: -1},
		"queue of one":        {Dir: "x", LiveQueue: 1},
		"missing credentials": {URLs: []string{"nats://127.0.0.1:1"}, Login: Login{File: "does-not-exist"}},
		"missing password":    {URLs: []string{"nats://127.0.0.1:1"}, Login: Login{User: "u", PasswordFile: "does-not-exist"}},
		"missing authorities": {URLs: []string{"nats://127.0.0.1:1"}, TLS: TLS{CA: "does-not-exist"}},
		"missing certificate": {URLs: []string{"nats://127.0.0.1:1"}, TLS: TLS{Cert: "does-not-exist"}},
	} {
		if n, err := Open(t.Context(), c, slog.New(slog.DiscardHandler), nil); err == nil {
			t.Errorf("%s: accepted", name)
			_ = n.Close(context.Background()) // the test has failed already
		}
	}
}

// A node starts without its broker, says so, and knows nothing stored is certain.
func TestBrokerAway(t *testing.T) {
	n, err := Open(t.Context(), Config{URLs: []string{"nats://127.0.0.1:1"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := FeedID{API: "a_v1", Key: "b"}
	if l := n.Link(); l.Up || l.Why == "" {
		t.Errorf("link %+v", l)
	}
	if _, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Events: events(0, 1)}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
	if _, err := n.Direct().LastMessage(t.Context(), f); !errors.Is(err, ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if err := n.Bus().Publish("x", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish: %v", err)
	}
	if n.MaxEvent() != defaultMaxBody {
		t.Errorf("largest event %d", n.MaxEvent())
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	n, err := Open(t.Context(), Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close(context.Background()) }()
	f := ensure(t, n, StreamSpec{})
	if _, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Events: events(0, 10)}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: 1, Tx: 2, Events: events(0, 10)}); err == nil {
		t.Fatal("not fenced")
	}
	var b Block
	if err := n.Direct().Read(t.Context(), f, From{Seq: 1}, &b); err != nil {
		t.Fatal(err)
	}
	m := n.met
	for name, c := range map[string]struct{ got, want float64 }{
		"up":       {testutil.ToFloat64(m.up), 1},
		"stored":   {testutil.ToFloat64(m.commits.WithLabelValues("stored")), 1},
		"fenced":   {testutil.ToFloat64(m.commits.WithLabelValues("fenced")), 1},
		"reads":    {testutil.ToFloat64(m.reads.WithLabelValues("block")), 1},
		"messages": {testutil.ToFloat64(m.readMessages), 10},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if n := testutil.CollectAndCount(newStoreCollector(n.server)); n != 6 {
		t.Errorf("%d series of the store, want used, reserved and limit of file and memory", n)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
