package auth

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

// cheap makes hashing fast: what is tested here is not how slow it is.
var cheap = Cost{KiB: 64, Rounds: 1}

const testPassword = "correct horse battery"

// rig is accounts over a broker of the test's own, inside a bubble.
type rig struct {
	*Accounts
	told map[string]string // what was announced, by name
	stop func()
}

func open(b brokertest.Broker) func(context.Context) (broker.Bucket, error) {
	return func(ctx context.Context) (broker.Bucket, error) { return b.Admin().Bucket(ctx, Bucket, 1) }
}

// start runs accounts until the test's bubble has settled.
func start(t *testing.T, b brokertest.Broker, change func(*Config)) *rig {
	t.Helper()
	r := &rig{told: map[string]string{}}
	var mu sync.Mutex
	cfg := Config{Open: open(b), Cost: cheap, Announce: func(name, password string) {
		mu.Lock()
		defer mu.Unlock()
		r.told[name] = password
	}}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Accounts = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	synctest.Wait()
	return r
}

func wantKind(t *testing.T, err error, want problem.Kind) {
	t.Helper()
	if err == nil || problem.KindOf(err) != want {
		t.Fatalf("error %v, want %s", err, want)
	}
}

func TestFirstAdministratorIsMadeOnceAndItsPasswordIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		file := filepath.Join(t.TempDir(), "first-admin-password")
		one := start(t, b, func(c *Config) { c.FirstFile = file })
		defer one.stop()
		password := one.told["admin"]
		if len(password) != 20 {
			t.Fatalf("told %q", one.told)
		}
		kept, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(kept)) != password {
			t.Fatalf("file has %q, %v", kept, err)
		}
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
			t.Errorf("file is %v", info.Mode())
		}
		two := start(t, b, nil) // another node, or the same one started again
		defer two.stop()
		if len(two.told) != 0 {
			t.Errorf("a second start told %v", two.told)
		}
		s, err := two.Login(t.Context(), "a", "admin", password)
		if err != nil || !s.Has(RoleAdmin) {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := one.ChangePassword(t.Context(), "a", "admin", password, testPassword); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the file outlives the password")
		}
	})
}

func TestAGivenFirstPasswordIsUsedAndToldToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		if _, err := r.Login(t.Context(), "a", "admin", testPassword); err != nil || len(r.told) != 0 {
			t.Fatalf("%v, told %v", err, r.told)
		}
	})
	if _, err := New(Config{Open: open(nil), FirstPassword: "admin"}); problem.KindOf(err) != problem.WeakPassword {
		t.Errorf("a weak first password: %v", err)
	}
}

func TestAResetMakesANewPasswordAndEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		s, err := r.Login(t.Context(), "a", "admin", testPassword)
		if err != nil {
			t.Fatal(err)
		}
		r.stop()
		again := start(t, b, func(c *Config) { c.Reset = true })
		defer again.stop()
		_, err = again.Token(t.Context(), "a", s.Token)
		wantKind(t, err, problem.Unauthenticated)
		_, err = again.Login(t.Context(), "a", "admin", testPassword)
		wantKind(t, err, problem.Unauthenticated)
		if _, err := again.Login(t.Context(), "a", "admin", again.told["admin"]); err != nil {
			t.Errorf("told %v: %v", again.told, err)
		}
	})
}

func TestOfTwoNodesOneMakesTheFirstAdministrator(t *testing.T) {
	b := brokertest.Start(t)
	var mu sync.Mutex
	told := map[string]int{}
	var nodes []*Accounts
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, n := range []brokertest.Broker{b, b.Peer(), b.Peer()} {
		a, err := New(Config{Open: open(n), Cost: cheap, Announce: func(_, password string) {
			mu.Lock()
			defer mu.Unlock()
			told[password]++
		}})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, a)
		wg.Go(func() { _ = a.Run(ctx) })
	}
	for _, a := range nodes {
		<-a.Ready()
	}
	mu.Lock()
	if len(told) != 1 {
		t.Errorf("told %d passwords", len(told))
	}
	for password := range told {
		for i, a := range nodes {
			if _, err := a.Basic(ctx, "a", "admin", password); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
	}
	mu.Unlock()
	cancel()
	wg.Wait()
}

func TestSessionsEndIdleAndAbsolutely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		s, err := r.Login(t.Context(), "a", "admin", testPassword)
		if err != nil {
			t.Fatal(err)
		}
		for range 35 { // used every 20 minutes: lives to its last hour
			time.Sleep(20 * time.Minute)
			if _, err := r.Token(t.Context(), "a", s.Token); err != nil {
				t.Fatalf("after %s: %v", time.Since(s.Expires.Add(-absoluteTime)), err)
			}
		}
		time.Sleep(20 * time.Minute)
		_, err = r.Token(t.Context(), "a", s.Token)
		wantKind(t, err, problem.Unauthenticated)
		idle, err := r.Login(t.Context(), "a", "admin", testPassword)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		_, err = r.Token(t.Context(), "a", idle.Token)
		wantKind(t, err, problem.Unauthenticated)
		time.Sleep(time.Minute)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.sessions) != 0 {
			t.Errorf("%d sessions kept", len(r.sessions))
		}
	})
}

func TestPasswordAndRolesEndSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		other := start(t, b, nil)
		defer other.stop()
		ctx := t.Context()
		if _, err := r.CreateUser(ctx, "kim", testPassword, []Role{RoleCreator, RolePublisher}); err != nil {
			t.Fatal(err)
		}
		login := func() string {
			t.Helper()
			s, err := r.Login(ctx, "a", "kim", testPassword)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Token(ctx, "a", s.Token); err != nil { // before the watch told that node
				t.Fatalf("another node: %v", err)
			}
			return s.Token
		}
		token := login()
		if _, err := r.UpdateUser(ctx, "kim", "", []Role{RoleCreator}); err != nil {
			t.Fatal(err)
		}
		_, err := r.Token(ctx, "a", token)
		wantKind(t, err, problem.Unauthenticated)
		token = login()
		if _, err := r.UpdateUser(ctx, "kim", "", []Role{RoleCreator, RolePublisher}); err != nil {
			t.Fatal(err)
		}
		if p, err := r.Token(ctx, "a", token); err != nil || !p.Has(RolePublisher) {
			t.Fatalf("more roles: %+v, %v", p, err)
		}
		if err := r.ChangePassword(ctx, "a", "kim", testPassword, testPassword+"!"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, node := range []*rig{r, other} {
			_, err = node.Token(ctx, "a", token)
			wantKind(t, err, problem.Unauthenticated)
			_, err = node.Basic(ctx, "a", "kim", testPassword) // was right a moment ago
			wantKind(t, err, problem.Unauthenticated)
		}
		s, err := r.Login(ctx, "a", "kim", testPassword+"!")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Logout(ctx, s.Token); err != nil {
			t.Fatal(err)
		}
		_, err = r.Token(ctx, "a", s.Token)
		wantKind(t, err, problem.Unauthenticated)
		if err := r.DeleteUser(ctx, "kim"); err != nil {
			t.Fatal(err)
		}
		_, err = r.Login(ctx, "a", "kim", testPassword+"!")
		wantKind(t, err, problem.Unauthenticated)
	})
}

func TestGuessingIsSlowedDownByAccountAndByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		ctx := t.Context()
		for range wrongPerAccount {
			_, err := r.Login(ctx, "a", "admin", "not the password")
			wantKind(t, err, problem.Unauthenticated)
		}
		_, err := r.Login(ctx, "a", "admin", testPassword)
		wantKind(t, err, problem.TooManyAttempts)
		if _, err := r.Login(ctx, "b", "admin", testPassword); err != nil {
			t.Errorf("another address: %v", err)
		}
		for i := range wrongPerAddress {
			_, err := r.Token(ctx, "c", fmt.Sprint("slm_", i))
			wantKind(t, err, problem.Unauthenticated)
		}
		_, err = r.Basic(ctx, "c", "somebody", "x")
		wantKind(t, err, problem.TooManyAttempts)
		time.Sleep(61 * time.Second)
		if _, err := r.Login(ctx, "a", "admin", testPassword); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		r.throttle.mu.Lock()
		r.throttle.forget(time.Now())
		if n := len(r.throttle.wrong); n != 0 {
			t.Errorf("%d counters kept", n)
		}
		r.throttle.mu.Unlock()
	})
}

func TestCountersOfFailedAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(time.Now)
		for i := range mostCounters {
			th.count(attempt{"", fmt.Sprint(i)})
		}
		wantKind(t, th.allow("", "new"), problem.TooManyAttempts)
		if err := th.allow("", "1"); err != nil {
			t.Errorf("a known address: %v", err)
		}
		time.Sleep(time.Minute + time.Second)
		if err := th.allow("", "new"); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestTheLastAdministratorStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		ctx := t.Context()
		wantKind(t, r.DeleteUser(ctx, "admin"), problem.LastAdmin)
		_, err := r.UpdateUser(ctx, "admin", "", []Role{RoleCreator})
		wantKind(t, err, problem.LastAdmin)
		if _, err := r.CreateUser(ctx, "two", testPassword, []Role{RoleAdmin}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, name := range []string{"admin", "two"} {
			wg.Go(func() { _, _ = r.UpdateUser(ctx, name, "", []Role{RoleCreator}) })
		}
		wg.Wait()
		users, err := r.Users()
		if err != nil || len(users) != 2 {
			t.Fatal(users, err)
		}
		if (Principal{Roles: users[0].Roles}).Has(RoleAdmin) == (Principal{Roles: users[1].Roles}).Has(RoleAdmin) {
			t.Errorf("users are %+v", users)
		}
	})
}

func TestUsersAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		for _, c := range []struct {
			name, user, password string
			roles                []Role
			want                 problem.Kind
		}{
			{"no name", "", testPassword, []Role{RoleCreator}, "invalid-name"},
			{"capitals", "Kim", testPassword, []Role{RoleCreator}, "invalid-name"},
			{"a dot", "a.b", testPassword, []Role{RoleCreator}, "invalid-name"},
			{"a wildcard", "*", testPassword, []Role{RoleCreator}, "invalid-name"},
			{"dash first", "-a", testPassword, []Role{RoleCreator}, "invalid-name"},
			{"64 characters", strings.Repeat("a", 64), testPassword, []Role{RoleCreator}, "invalid-name"},
			{"taken", "admin", testPassword, []Role{RoleCreator}, problem.UserExists},
			{"short password", "kim", "elevenchars", []Role{RoleCreator}, problem.WeakPassword},
			{"common password", "kim", "Administrator", []Role{RoleCreator}, problem.WeakPassword},
			{"one character", "kim", strings.Repeat("x", 20), []Role{RoleCreator}, problem.WeakPassword},
			{"the name", "kimkimkimkim", "KimKimKimKim", []Role{RoleCreator}, problem.WeakPassword},
			{"endless password", "kim", strings.Repeat("xy", 200), []Role{RoleCreator}, problem.WeakPassword},
			{"no role", "kim", testPassword, nil, "invalid-value"},
			{"made-up role", "kim", testPassword, []Role{RoleCreator, "boss"}, "invalid-value"},
		} {
			_, err := r.CreateUser(t.Context(), c.user, c.password, c.roles)
			if err == nil || problem.KindOf(err) != c.want {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
		_, err := r.User("nobody")
		wantKind(t, err, problem.NotFound)
		wantKind(t, r.DeleteUser(t.Context(), "nobody"), problem.NotFound)
	})
}

func TestSessionsOfAUserAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		var first Session
		for i := range mostSessions + 1 {
			s, err := r.Login(t.Context(), "a", "admin", testPassword)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = s
			}
			time.Sleep(time.Second)
		}
		_, err := r.Token(t.Context(), "a", first.Token)
		wantKind(t, err, problem.Unauthenticated)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.sessions) != mostSessions {
			t.Errorf("%d sessions", len(r.sessions))
		}
	})
}

func TestWithoutABrokerNobodyIsKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		b.Cut()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		_, err := r.Login(t.Context(), "a", "admin", testPassword)
		wantKind(t, err, problem.StoreUnavailable)
		b.Heal()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := r.Login(t.Context(), "a", "admin", testPassword); err != nil {
			t.Fatal(err)
		}
		b.Cut() // who is known stays known
		if _, err := r.Basic(t.Context(), "a", "admin", testPassword); err != nil {
			t.Errorf("after a cut: %v", err)
		}
		b.Heal()
	})
}

func TestNothingStoredOrLoggedHoldsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.NewMemory(t)
		defer b.Close()
		r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
		defer r.stop()
		s, err := r.Login(t.Context(), "a", "admin", testPassword)
		if err != nil {
			t.Fatal(err)
		}
		bucket, err := b.Admin().Bucket(t.Context(), Bucket, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		entries, err := bucket.Watch(ctx, ">")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e := range entries {
			if e.Key == "" {
				break
			}
			n++
			if text := e.Key + string(e.Value); strings.Contains(text, testPassword) || strings.Contains(text, s.Token) {
				t.Errorf("stored: %s", text)
			}
		}
		cancel()
		for range entries {
		}
		if n != 2 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestHashesAreCheckedAsTheySayThemselves(t *testing.T) {
	h := newHasher(cheap)
	stored := h.hash(testPassword)
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("stored as %s", stored)
	}
	other := newHasher(Cost{KiB: 128, Rounds: 2})
	if !other.matches(stored, testPassword) || other.matches(stored, testPassword+"x") || other.matches(h.dummy, "") {
		t.Error("a hash of another cost is not checked as it says")
	}
	for _, bad := range []string{"", "$", "x", strings.Replace(stored, "v=19", "v=16", 1), strings.Replace(stored, "t=1", "t=0", 1),
		strings.Replace(stored, "m=64", "m=99999999", 1), stored[:len(stored)-4], strings.Replace(stored, "argon2id", "argon2i", 1)} {
		if h.matches(bad, testPassword) {
			t.Errorf("%s matches", bad)
		}
	}
}
