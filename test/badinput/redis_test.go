package badinput

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestRedis does to the Redis that counts quotas what can happen to it, in order, on one gateway.
func TestRedis(t *testing.T) {
	t.Parallel()
	f := load(t, "redis")
	r := newRig(t, f.Fixtures["main"], "auto")
	for _, c := range f.Cases {
		t.Run(c.ID, func(t *testing.T) {
			ran(t, c.ID)
			r.redisCase(t, c)
		})
	}
	r.end()
}

// redisServer is a redis-server of the test, on a unix socket.
type redisServer struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

// newRedis prepares one without starting it, or skips.
func newRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (apt-get install redis-server): nothing is known of a bad Redis")
	}
	dir, err := os.MkdirTemp("", "slb") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	s := &redisServer{t: t, dir: dir}
	t.Cleanup(func() { s.kill(); _ = os.RemoveAll(dir) })
	return s
}

func (s *redisServer) url() string { return "unix://" + filepath.Join(s.dir, "s") }

// start starts it and waits until it listens.
func (s *redisServer) start(more ...string) {
	s.t.Helper()
	socket := filepath.Join(s.dir, "s")
	_ = os.Remove(socket)
	args := []string{"--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log")}
	s.cmd = exec.Command("redis-server", append(args, more...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "redis-server listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// kill ends it without a word.
func (s *redisServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGKILL)
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// do sends commands, one after another, and returns the last answer.
func (s *redisServer) do(t *testing.T, commands ...[]any) (got any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(s.dir, "s"), Protocol: 2, ReadTimeout: deadline})
	defer c.Close()
	for _, args := range commands {
		var err error
		if got, err = c.Do(context.Background(), args...).Result(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	return got
}

// redisFaults are what can happen to a Redis, and what ends it.
var redisFaults = map[string]struct {
	begin, end func(t *testing.T, s *redisServer)
}{
	"absent": {func(*testing.T, *redisServer) {}, again},
	"killed": {func(_ *testing.T, s *redisServer) { s.kill() }, again},
	"noauth": {func(_ *testing.T, s *redisServer) { s.kill(); s.start("--requirepass", canary) }, again},
	"readonly": {func(t *testing.T, s *redisServer) { s.do(t, []any{"replicaof", "127.0.0.1", "1"}) },
		func(t *testing.T, s *redisServer) { s.do(t, []any{"replicaof", "no", "one"}) }},
	"loading": {loading, again},
	"wrong type": {func(t *testing.T, s *redisServer) {
		keys, _ := s.do(t, []any{"keys", "sl:c:*"}).([]any)
		if len(keys) == 0 {
			t.Fatal("no seats are counted")
		}
		for _, k := range keys {
			s.do(t, []any{"del", k}, []any{"set", k, "text"})
		}
	}, func(t *testing.T, s *redisServer) { s.do(t, []any{"flushall"}) }},
	"slow": {func(t *testing.T, s *redisServer) { s.do(t, []any{"client", "pause", 60_000, "write"}) }, // scripts wait too
		func(t *testing.T, s *redisServer) { s.do(t, []any{"client", "unpause"}) }},
}

// again starts it anew, empty.
func again(t *testing.T, s *redisServer) {
	s.kill()
	_ = os.Remove(filepath.Join(s.dir, "dump.rdb"))
	s.start()
}

// loading starts it anew with so much to read that it is not done within the test.
func loading(t *testing.T, s *redisServer) {
	s.do(t, []any{"config", "set", "rdbcompression", "no"})
	for i := range 60 {
		s.do(t, []any{"set", "k" + string(rune('0'+i)), strings.Repeat("x", 1500)})
	}
	s.do(t, []any{"save"})
	s.kill()
	s.start("--key-load-delay", "1000000", "--loading-process-events-interval-bytes", "1024")
}

// redisCase lets something happen to the Redis, if it is there with a stream open that it counts. Meanwhile the case's request is answered
// as it says, open plans let in, open streams stay; afterwards the stream goes on where it was.
func (r *rig) redisCase(t *testing.T, c Case) {
	outer := r.t
	r.t = t
	defer func() { r.t = outer }()
	r.fed = []string{r.watched[0].name()}
	if c.Send.Redis == "wiped" {
		r.wiped(t, c)
		return
	}
	fault, ok := redisFaults[c.Send.Redis]
	if !ok {
		t.Fatalf("nothing is known of %q", c.Send.Redis)
	}
	before := r.state()
	var held *exchange
	if c.Send.Redis != "absent" {
		held = r.metered(t, "closed")
	}
	from := len(r.watched[0].ids)
	r.redis.t = t
	fault.begin(t, r.redis)
	counts := r.metrics()
	r.noted = append(r.noted, r.exchange(t, c))
	r.checkCounts(t, c.Want, counts, false)
	until(t, "readyz names it", func() bool { return r.verbose(`(?m)^\[!\]redis degraded: quotas are not shared now: .*` + c.Want.Why) })
	if code, _ := r.gate.Ops("/readyz"); code != 200 {
		t.Errorf("/readyz %d", code)
	}
	down := &Log{Event: "quota.source", Level: "WARN", Fields: map[string]string{"state": "down"}}
	if r.gate.Logged(down.is) == 0 {
		t.Error("no line says that the Redis does not answer")
	}
	if x := r.tryMetered(t, "open"); x == nil {
		t.Error("an open plan lets nobody in")
	} else {
		x.conn.Close()
	}
	r.flows(t)
	fault.end(t, r.redis)
	r.metered(t, "closed").conn.Close()
	until(t, "readyz is at ease", func() bool { return r.verbose(`(?m)^\[\+\]redis ok`) })
	r.flows(t)
	if held != nil {
		ids := r.watched[0].ids
		held.passes("\nid: " + ids[len(ids)-1] + "\n\n")
		r.wholeFrom(t, held, ids[from:])
		held.conn.Close()
	}
	r.release(t, nil, before)
}

var idLines = regexp.MustCompile(`\nid: ([0-9a-z-]+)\n\n`)

// wholeFrom wants a stream to have had these events, in order, and nothing else.
func (r *rig) wholeFrom(t *testing.T, x *exchange, want []string) {
	t.Helper()
	var got []string
	for _, m := range idLines.FindAllStringSubmatch(x.body(), -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) || strings.Contains(x.body(), "gateway.gap") {
		t.Errorf("a metered stream had %v, want %v", got, want)
	}
}

// metered opens a stream whose plan counts, once the counters answer.
func (r *rig) metered(t *testing.T, key string) (x *exchange) {
	t.Helper()
	if !until(t, "a stream of the key "+key, func() bool { x = r.tryMetered(t, key); return x != nil }) {
		t.FailNow()
	}
	return x
}

// tryMetered opens a stream, nil if it is refused.
func (r *rig) tryMetered(t *testing.T, key string) *exchange {
	t.Helper()
	x := dial(t, r.gate.Addrs["edge-http"])
	x.send(request("GET", "/paid/1/ticks", "HTTP/1.1", r.expandAll([]string{"ApiKey: ${key:" + key + "}"})))
	if resp := x.head("GET"); resp == nil || resp.StatusCode != 200 {
		x.conn.Close()
		return nil
	}
	x.match(r.expand(`${retry}`))
	return x
}

// wiped takes all counts away in the middle of a quota of twenty: no more than twenty are delivered.
func (r *rig) wiped(t *testing.T, c Case) {
	w, before := r.watched[0], r.state()
	x, from := r.metered(t, "twenty"), len(w.ids)
	for range 8 {
		r.flows(t)
	}
	x.passes("\nid: " + w.ids[len(w.ids)-1] + "\n\n")
	r.redis.do(t, []any{"flushall"})
	for range 22 {
		r.flows(t)
	}
	if !x.finish() {
		t.Error("a stream goes on after the end of its quota")
	}
	r.wholeFrom(t, x, w.ids[from:from+20])
	if !strings.Contains(x.body(), "event: gateway.throttled\n") {
		t.Errorf("it ended with %.300q", x.body()[max(0, len(x.body())-300):])
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		counts := r.metrics()
		if n := r.exchange(t, c); !n.slow {
			r.noted = append(r.noted, n)
			r.checkCounts(t, c.Want, counts, false)
			break
		}
		<-tick.C
	}
	r.release(t, nil, before)
	r.flows(t)
}
