package quota

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// go-redis dials a dead server once a second in a goroutine of its own, which ends within a second of its pool's Close and
// cannot be waited for.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// server is a redis-server of this test, on a unix socket.
type server struct {
	t        testing.TB
	dir      string
	cmd      *exec.Cmd
	args     []string
	password string // of admin
}

// startRedis starts one, or skips.
func startRedis(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (apt-get install redis-server): nothing is known of Redis")
	}
	dir, err := os.MkdirTemp("", "slq") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, dir: dir, args: args}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) socket() string { return filepath.Join(s.dir, "s") }
func (s *server) url() string    { return "unix://" + s.socket() }

// start starts it and waits until it answers anything.
func (s *server) start(more ...string) {
	s.t.Helper()
	args := append([]string{"--port", "0", "--unixsocket", s.socket(), "--save", "", "--appendonly", "no", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log")}, s.args...)
	s.cmd = exec.Command("redis-server", append(args, more...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "redis-server listens", func() bool {
		c, err := net.Dial("unix", s.socket())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// kill ends it without a word.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGKILL)
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// admin is a client of its own, closed with the test.
func (s *server) admin() *redis.Client {
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket(), Protocol: 2, ReadTimeout: 10 * time.Second, Password: s.password})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *server) do(args ...any) any {
	s.t.Helper()
	got, err := s.admin().Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return got
}

func (s *server) source(change ...func(*RedisOptions)) *Redis {
	s.t.Helper()
	o := RedisOptions{URLs: []string{s.url()}}
	for _, f := range change {
		f(&o)
	}
	r, err := NewRedis(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// until waits for a fact.
func until(t testing.TB, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !fact(); <-tick.C {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func memory(t testing.TB, o MemoryOptions) *Memory {
	t.Helper()
	m, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// eachSource runs a test over every kind of source.
func eachSource(t *testing.T, test func(t *testing.T, src Source)) {
	for name, open := range map[string]func(t *testing.T) Source{
		"memory": func(t *testing.T) Source { return memory(t, MemoryOptions{}) },
		"memory with file": func(t *testing.T) Source {
			return memory(t, MemoryOptions{File: filepath.Join(t.TempDir(), "quota.state")})
		},
		"redis": func(t *testing.T) Source { return startRedis(t).source() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			test(t, open(t))
		})
	}
}

var year = Limit{Every: 1, Unit: Year}

// thisYear is a window that does not end during a test, but for one night.
func thisYear() Window { return year.Window(time.Now()) }

// window is the key's part of this year.
func (l Limit) window() string { return fmt.Sprint(l.Window(time.Now()).Start.Unix()) }

func scope(t testing.TB, n int) string { return fmt.Sprintf("sub:%s-%d", filepath.Base(t.Name()), n) }
