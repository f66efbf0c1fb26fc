package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"sluice/ingest/upstream"
	"sluice/internal/outbound"
)

// denied are addresses that no API may lead to unless the operator says so. Those of this machine are where a trap listens.
var denied = []string{
	"127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254",
	"169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254",
	"198.18.0.1", "198.19.255.254", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::127.0.0.2", "::ffff:127.0.0.2", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:2", "64:ff9b:1::a00:1", "100::1",
	"2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:2::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd12:3456:789a::1", "fe80::1", "febf::1",
	"fec0::1", "ff02::1", "ff05::2",
}

// battery is a way in for an attacker: a name server of his, a server that may be reached and redirects where he wants, and a trap at
// every address of this machine that nothing may ever connect to.
type battery struct {
	t     *testing.T
	dns   *nameServer
	good  *httptest.Server
	trap  string // port
	fell  atomic.Int64
	guard *outbound.Guard
}

func newBattery(t *testing.T, allow ...string) *battery {
	t.Helper()
	b := &battery{t: t, dns: newNameServer(t)}
	b.good = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
	}))
	t.Cleanup(b.good.Close)
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.fell.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	_, b.trap, _ = net.SplitHostPort(ln.Addr().String())
	var prefixes []netip.Prefix
	for _, p := range allow {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	b.guard = outbound.NewGuard(prefixes)
	b.guard.UseResolver(b.dns.resolver())
	return b
}

// ways are the two that connect to addresses of users: a document is fetched, an endpoint is read.
func (b *battery) ways() map[string]func(url string) error {
	rt := outbound.Transport(b.guard.Dialer(5*time.Second), nil, outbound.Limits{})
	client := upstream.New(rt, b.guard.CheckURL, "test", wall{})
	return map[string]func(string) error{
		"import": func(u string) error {
			_, err := outbound.Fetch(b.t.Context(), b.guard, u, 1<<20)
			return err
		},
		"endpoint": func(u string) error {
			conn, err := client.Open(b.t.Context(), upstream.Target{URL: u, Header: http.Header{"Authorization": {"Bearer x"}}}, "", "", upstream.Hooks{})
			if err == nil {
				conn.Close()
			}
			return err
		},
	}
}

type wall struct{}

func (wall) Now() time.Time { return time.Now() }

// at is a URL of the trap.
func (b *battery) at(host string) string { return "http://" + net.JoinHostPort(host, b.trap) + "/x" }

// try goes each way to addr by each trick and wants a refusal.
func (b *battery) try(addr netip.Addr) {
	b.t.Helper()
	name := func(trick string) string {
		return "a" + strings.NewReplacer(":", "-", ".", "-").Replace(addr.String()) + "z." + trick + ".guard.test"
	}
	_, port, _ := net.SplitHostPort(b.good.Listener.Addr().String())
	for way, open := range b.ways() {
		refused := func(trick string, err error) {
			b.t.Helper()
			if !errors.Is(err, outbound.ErrForbidden) {
				b.t.Errorf("%s of %s by %s: %v, want a refusal", way, addr, trick, err)
			}
		}
		refused("literal", open(b.at(addr.String())))
		b.dns.set(name("dns"), addr)
		refused("name", open(b.at(name("dns"))))
		refused("redirect", open(b.good.URL+"?to="+url.QueryEscape(b.at(addr.String()))))
		refused("redirect to a name", open(b.good.URL+"?to="+url.QueryEscape(b.at(name("dns")))))
		b.dns.set(name("rebind"), netip.MustParseAddr("127.0.0.1"))
		if err := open("http://" + net.JoinHostPort(name("rebind"), port)); err != nil {
			b.t.Errorf("%s before rebinding: %v", way, err)
		}
		b.dns.set(name("rebind"), addr)
		refused("rebinding", open(b.at(name("rebind"))))
	}
}

// TestDeniedAddresses wants that nothing connects to a denied address, however it is named.
func TestDeniedAddresses(t *testing.T) {
	if len(denied) < 40 {
		t.Fatalf("%d addresses", len(denied))
	}
	b := newBattery(t, "127.0.0.1/32")
	for _, text := range denied {
		b.try(netip.MustParseAddr(text))
	}
	for way, open := range b.ways() {
		for _, host := range []string{"2130706434", "0x7f.2", "127.2", "0177.0.0.2"} { // addresses to some programs, names to us
			if err := open(b.at(host)); err == nil {
				t.Errorf("%s of %s went well", way, host)
			}
		}
	}
	if n := b.fell.Load(); n > 0 {
		t.Errorf("%d connections to denied addresses", n)
	}
}

// TestLoopbackDenied is about the address that other tests need, so that its first hop is another one.
func TestLoopbackDenied(t *testing.T) {
	b := newBattery(t)
	for _, open := range b.ways() {
		for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "localhost", "localhost.", "LOCALHOST", "a.localhost"} {
			if err := open(b.at(host)); !errors.Is(err, outbound.ErrForbidden) {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if n := b.fell.Load(); n > 0 {
		t.Errorf("%d connections to denied addresses", n)
	}
}

// TestOwnServersAreDeniedWhateverIsAllowed is about what no setting opens: listeners of this process and the servers it uses.
func TestOwnServersAreDeniedWhateverIsAllowed(t *testing.T) {
	own := []string{"127.0.0.2", "::1", "0.0.0.0", "::", "::ffff:127.0.0.2"}
	if runtime.GOOS != "linux" {
		own = []string{"::1", "0.0.0.0", "::"}
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() && p.Addr() != netip.MustParseAddr("127.0.0.1") {
				own = append(own, p.Addr().String())
			}
		}
	}
	for name, refuse := range map[string]func(b *battery, port uint16){
		"listener": func(b *battery, port uint16) { b.guard.Refuse(netip.AddrPortFrom(netip.IPv6Unspecified(), port)) },
		"server by address": func(b *battery, port uint16) {
			b.guard.RefuseHosts(func() []string { return []string{fmt.Sprintf("127.0.0.1:%d", port)} })
		},
		"server by name": func(b *battery, port uint16) {
			b.dns.set("nats.guard.test", netip.MustParseAddr("127.0.0.1"))
			b.guard.RefuseHosts(func() []string { return []string{fmt.Sprintf("nats.guard.test:%d", port)} })
		},
		"server whose name is not known": func(b *battery, port uint16) {
			b.guard.RefuseHosts(func() []string { return []string{fmt.Sprintf("gone.guard.test:%d", port)} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBattery(t, "0.0.0.0/0", "::/0")
			var port uint16
			if _, err := fmt.Sscanf(b.trap, "%d", &port); err != nil {
				t.Fatal(err)
			}
			if err := outboundFetch(b); err == nil || b.fell.Load() == 0 {
				t.Fatalf("the trap does not work: %v", err)
			}
			b.fell.Store(0)
			refuse(b, port)
			for _, text := range own {
				b.try(netip.MustParseAddr(text))
			}
			for way, open := range b.ways() {
				for _, host := range []string{"127.0.0.1", "localhost", "nats.guard.test", "NATS.guard.test."} {
					if err := open(b.at(host)); err == nil {
						t.Errorf("%s of %s went well", way, host)
					}
				}
			}
			if n := b.fell.Load(); n > 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func outboundFetch(b *battery) error {
	_, err := outbound.Fetch(b.t.Context(), b.guard, b.at("127.0.0.1"), 1)
	return err
}

// nameServer answers names of guard.test over UDP on the loopback.
type nameServer struct {
	conn net.PacketConn

	mu    sync.Mutex
	addrs map[string]netip.Addr // guarded by mu; lower case, without the last dot
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, addrs: map[string]netip.Addr{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *nameServer) set(name string, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[strings.ToLower(name)] = a
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	s.mu.Lock()
	addr, known := s.addrs[strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")]
	s.mu.Unlock()
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}, Questions: m.Questions}
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}
	switch {
	case !known:
		out.RCode = dnsmessage.RCodeNameError
	case addr.Is4() && q.Type == dnsmessage.TypeA:
		out.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}}
	case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
		out.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
	}
	text, err := out.Pack()
	if err != nil {
		return nil
	}
	return text
}
