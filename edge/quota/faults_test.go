package quota

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/problem"
)

// What can be wrong with Redis: nobody gets an event too many, a closed plan lets nobody in, an open one does, and once Redis works
// again all that is left of the quota is delivered.
func TestBrokenRedis(t *testing.T) {
	const total = 2000
	limit := Limit{Events: total, Every: 1, Unit: Year}
	key := func(s string) string { return keyPrefix + "q:{" + s + "}:" + year.window() }
	for _, x := range []struct {
		name        string
		args        []string
		fails, heal func(s *server, scope string)
		says        string // in Status.Down
	}{
		{"absent", nil, func(s *server, _ string) { s.kill() }, func(s *server, _ string) { s.start() }, ""},
		{"read only", nil, func(s *server, _ string) { s.do("REPLICAOF", "127.0.0.1", "1") },
			func(s *server, _ string) { s.do("REPLICAOF", "NO", "ONE") }, "READONLY"},
		{"wrong type", nil, func(s *server, scope string) { s.do("DEL", key(scope)); s.do("SET", key(scope), "x") },
			func(s *server, scope string) { s.do("DEL", key(scope)) }, "WRONGTYPE"},
		{"not answering", nil, func(s *server, _ string) { s.do("CLIENT", "PAUSE", "1000000", "WRITE") },
			func(s *server, _ string) { s.do("CLIENT", "UNPAUSE") }, ""},
		{"another password", nil, func(s *server, _ string) {
			s.do("CONFIG", "SET", "requirepass", "secret")
			s.password = "secret"
			s.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}, func(s *server, _ string) { s.do("CONFIG", "SET", "requirepass", "") }, "uthenticat"},
		{"loading", []string{"--rdbcompression", "no"}, func(s *server, _ string) {
			c := s.admin()
			_, _ = c.Pipelined(context.Background(), func(p redis.Pipeliner) error { //nolint:errcheck // the save tells
				for i := range 1000 {
					p.Set(context.Background(), "filling:"+strings.Repeat("x", i), strings.Repeat("y", 4000), 0)
				}
				return nil
			})
			s.do("SAVE")
			s.kill()
			s.start("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
		}, func(s *server, _ string) { s.kill(); s.start("--dbfilename", "none.rdb") }, "LOADING"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, x.args...)
			name := scope(t, 0)
			l := runLimiter(t, Options{Source: s.source(), Edge: "e"})
			c := newClient(l, name, Setup{Limit: limit, Wake: nil})
			c.pause.Store(true)
			defer c.close()
			until(t, "some are delivered", func() bool { return c.got.Load() > 0 })
			x.fails(s, name)
			c.pause.Store(false)
			until(t, "Redis is missed", func() bool {
				down := l.Status().Down
				return down != "" && strings.Contains(down, x.says)
			})
			if x.name != "wrong type" { // of one key: the seats have another
				seat := Want{Seats: []SeatLimit{{name, 5}}}
				if _, err := l.Admit(t.Context(), seat); err == nil || problem.KindOf(err) != problem.QuotaUnavailable {
					t.Errorf("a closed plan: %v", err)
				}
				seat.FailOpen = true
				pass, err := l.Admit(t.Context(), seat)
				if err != nil {
					t.Errorf("an open plan: %v", err)
				}
				pass.Release()
			}
			if n := c.got.Load(); n >= total {
				t.Errorf("%d delivered while Redis was away", n)
			}
			x.heal(s, name)
			until(t, "the rest is delivered", func() bool { return c.b.State().Phase == Ended })
			if n := c.got.Load(); n != total {
				t.Errorf("%d of %d delivered", n, total)
			}
		})
	}
}

// A Redis that was wiped learns from the edges what they were given.
func TestWipedRedis(t *testing.T) {
	s := startRedis(t)
	l := runLimiter(t, Options{Source: s.source(), Edge: "e"})
	c := newClient(l, "sub:wiped", Setup{Limit: Limit{Events: 3000, Every: 1, Unit: Year}})
	defer c.close()
	for range 3 {
		before := c.got.Load()
		s.do("FLUSHALL")
		until(t, "it goes on, or has ended", func() bool { return c.got.Load() > before || c.b.State().Phase == Ended })
	}
	until(t, "the quota has ended", func() bool { return c.b.State().Phase == Ended })
	if n := c.got.Load(); n != 3000 {
		t.Errorf("%d of 3000 delivered", n)
	}
}

// aclOf reads the rights that deploy/redis gives.
func aclOf(t *testing.T) (args []string) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "deploy", "redis", "redis.conf"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "user ") {
			return append([]string{"--user"}, strings.Fields(lines.Text())[1:]...)
		}
	}
	t.Fatal("deploy/redis/redis.conf has no user")
	return nil
}

// With exactly the rights that deploy/redis gives, everything works; what we do not need is refused.
func TestRightsInRedis(t *testing.T) {
	s := startRedis(t, aclOf(t)...)
	src := s.source()
	if err := src.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := allot(t, src, Ask{Scope: "sub:x", Edge: "e", Call: 1, Limit: 10, Want: 3}); got.Given != 3 {
		t.Errorf("given %+v", got)
	}
	if n, err := src.Seats(t.Context(), SeatAsk{Scope: "sub:x", Edge: "e", More: 2, Limit: 5}); n != 2 || err != nil {
		t.Errorf("%d seats, %v", n, err)
	}
	if err := src.Refresh(t.Context(), []SeatAsk{{Scope: "sub:x", Edge: "e", Have: 2, Limit: 5}}); err != nil {
		t.Error(err)
	}
	if d, err := src.Spend(t.Context(), "app:x", Rate{Events: 1, Per: time.Second}); !d.OK || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	c := s.admin()
	for _, command := range []string{
		"ACL WHOAMI", "ACL SETUSER x", "BGREWRITEAOF", "BGSAVE", "CLIENT KILL TYPE normal", "CLIENT LIST", "CLIENT PAUSE 1", "CLUSTER INFO",
		"CONFIG GET *", "CONFIG SET save x", "DBSIZE", "DEL sl:x", "FAILOVER", "FLUSHALL", "FLUSHDB", "FUNCTION LIST",
		"INFO", "KEYS *", "LATENCY LATEST", "MIGRATE a 1 b 0 1", "MODULE LIST", "MONITOR", "MOVE sl:x 1", "PSYNC ? -1", "PUBLISH x y",
		"RANDOMKEY", "RENAME sl:x sl:y", "REPLICAOF NO ONE", "SAVE", "SCAN 0", "SCRIPT FLUSH", "SCRIPT KILL", "SHUTDOWN NOSAVE",
		"SUBSCRIBE x", "SWAPDB 0 1", "SYNC", "WAIT 0 1", "GET other", "SET other 1", "HGETALL other", "HSET other a b", "PEXPIRE other 1",
	} {
		var args []any
		for f := range strings.FieldsSeq(command) {
			args = append(args, f)
		}
		if err := c.Do(t.Context(), args...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// An allotment that no replica has counts as lost: it comes with the next one that is answered.
func TestWaitReplicas(t *testing.T) {
	s := startRedis(t)
	a := Ask{Scope: "sub:w", Edge: "e", Call: 1, Limit: 10, Want: 2, Window: thisYear()}
	if _, err := s.source(func(o *RedisOptions) { o.WaitReplicas = 1 }).Allot(t.Context(), a); err == nil {
		t.Fatal("given without a replica")
	}
	a.Call = 2
	if got := allot(t, s.source(), a); got.Given != 2 || got.Held != 2 {
		t.Errorf("the next answer: %+v", got)
	}
}
