package edge

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/problem"
)

func testAdmission(c config.Edge) *admission {
	if c.MaxConnections == 0 {
		c.MaxConnections = 1000
	}
	return newAdmission(c, time.Now)
}

func TestAdmissionPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAdmission(config.Edge{PerIP: config.EdgePerIP{Streams: 3, Connects: 2, Burst: 5}})
		ip := netip.MustParseAddr("203.0.113.1")
		var seats []seat
		for range 3 {
			s, err := a.enter(ip)
			if err != nil {
				t.Fatal(err)
			}
			seats = append(seats, s)
		}
		if _, err := a.enter(ip); !errors.Is(err, problem.TooManyConnections) {
			t.Fatalf("fourth stream: %v", err)
		}
		a.leave(seats[0])
		if s, err := a.enter(ip); err != nil { // fifth connect, the last of the burst
			t.Fatal(err)
		} else {
			seats[0] = s
		}
		a.leave(seats[1])
		if _, err := a.enter(ip); !errors.Is(err, problem.TooManyConnections) {
			t.Fatalf("connect beyond the burst: %v", err)
		}
		time.Sleep(500 * time.Millisecond) // one more by now
		if s, err := a.enter(ip); err != nil {
			t.Fatal(err)
		} else {
			seats[1] = s
		}
		for _, s := range seats {
			a.leave(s)
		}
		if n := a.open(); n != 0 {
			t.Errorf("%d seats left", n)
		}
	})
}

func TestAdmissionCountsIPv6ByNetworkAndExemptsLoopback(t *testing.T) {
	a := testAdmission(config.Edge{PerIP: config.EdgePerIP{Streams: 1, Connects: 100, Burst: 100}})
	if _, err := a.enter(netip.MustParseAddr("2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.enter(netip.MustParseAddr("2001:db8::ffff")); !errors.Is(err, problem.TooManyConnections) {
		t.Errorf("same /64: %v", err)
	}
	if _, err := a.enter(netip.MustParseAddr("2001:db8:0:1::1")); err != nil {
		t.Errorf("other /64: %v", err)
	}
	for range 50 {
		if _, err := a.enter(netip.MustParseAddr("127.0.0.1")); err != nil {
			t.Fatalf("loopback: %v", err)
		}
	}
}

func TestAdmissionNodeAndAPI(t *testing.T) {
	a := testAdmission(config.Edge{MaxConnections: 2})
	api := &catalog.API{Metadata: catalog.Metadata{Name: "m"}, Spec: catalog.Spec{Version: "1", Limits: catalog.Limits{MaxClients: 1}}}
	first, err := a.enter(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.enterAPI(&first, api); err != nil {
		t.Fatal(err)
	}
	second, err := a.enter(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.enterAPI(&second, api); !errors.Is(err, problem.Overloaded) {
		t.Errorf("second client of the API: %v", err)
	}
	if _, err := a.enter(netip.Addr{}); !errors.Is(err, problem.Overloaded) {
		t.Errorf("third of the node: %v", err)
	}
	a.leave(second)
	a.leave(first)
	if len(a.apis) != 0 || a.total != 0 {
		t.Errorf("left over: %v, %d", a.apis, a.total)
	}
}

func TestAdmissionTableIsBounded(t *testing.T) {
	a := testAdmission(config.Edge{PerIP: config.EdgePerIP{Streams: 1, Connects: 1, Burst: 1}})
	held, err := a.enter(netip.MustParseAddr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * idleIPs {
		s, err := a.enter(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		a.leave(s)
	}
	if n := len(a.ips); n > idleIPs+a.total+1 {
		t.Errorf("%d addresses remembered", n)
	}
	if _, err := a.enter(netip.MustParseAddr("198.51.100.1")); !errors.Is(err, problem.TooManyConnections) {
		t.Errorf("an address with an open stream was forgotten: %v", err)
	}
	a.leave(held)
}

func TestJoinsWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAdmission(config.Edge{JoinRate: 100})
		type result struct {
			waited time.Duration
			err    error
		}
		results := make(chan result)
		const joins = 1000 // 200 at once, 500 within 5 s, the rest is refused
		for range joins {
			go func() {
				w, err := a.waitTurn(t.Context())
				results <- result{w, err}
			}()
		}
		taken, refused := 0, 0
		for range joins {
			switch r := <-results; {
			case r.err == nil:
				taken++
				if r.waited > joinWait {
					t.Errorf("waited %v", r.waited)
				}
			case errors.Is(r.err, problem.Overloaded):
				refused++
			default:
				t.Fatal(r.err)
			}
		}
		if taken < 695 || taken > 705 || taken+refused != joins {
			t.Errorf("%d taken, %d refused; want about 700 of %d", taken, refused, joins)
		}
	})
}

func TestJoinGivesUpWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := testAdmission(config.Edge{JoinRate: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 4 {
			if _, err := a.waitTurn(ctx); err != nil && !errors.Is(err, errGone) {
				t.Fatal(err)
			}
		}
		if _, err := a.waitTurn(ctx); !errors.Is(err, errGone) {
			t.Errorf("error %v, want errGone", err)
		}
	})
}

func BenchmarkAdmission(b *testing.B) {
	a := testAdmission(config.Edge{PerIP: config.EdgePerIP{Streams: 256, Connects: 1 << 30, Burst: 1 << 30}})
	api := &catalog.API{Metadata: catalog.Metadata{Name: "m"}, Spec: catalog.Spec{Version: "1"}}
	ip := netip.MustParseAddr("203.0.113.1")
	b.ReportAllocs()
	for b.Loop() {
		s, err := a.enter(ip)
		if err != nil {
			b.Fatal(err)
		}
		if err := a.enterAPI(&s, api); err != nil {
			b.Fatal(err)
		}
		a.leave(s)
	}
}
