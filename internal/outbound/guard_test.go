package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func prefixes(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestGuardCheck(t *testing.T) {
	for _, c := range []struct {
		addr  string
		allow []string
		why   string // "" = may be dialled
	}{
		{"93.184.216.34", nil, ""},
		{"2606:2800:220:1::1", nil, ""},
		{"127.0.0.1", nil, "loopback"},
		{"127.255.0.9", nil, "loopback"},
		{"127.0.0.1", []string{"127.0.0.0/8"}, ""},
		{"::1", []string{"127.0.0.0/8"}, "loopback"},
		{"::1", []string{"::1/128"}, ""},
		{"::ffff:127.0.0.1", nil, "loopback"},
		{"::ffff:127.0.0.1", []string{"127.0.0.0/8"}, ""},
		{"127.0.0.1", []string{"::ffff:127.0.0.0/104"}, ""},
		{"10.1.2.3", nil, "private"},
		{"172.31.0.1", nil, "private"},
		{"172.32.0.1", nil, ""},
		{"192.168.1.1", []string{"192.168.0.0/16"}, ""},
		{"100.64.0.1", nil, "shared address space"},
		{"0.0.0.0", nil, "this network"},
		{"169.254.169.254", nil, "link-local"},
		{"169.254.169.254", []string{"0.0.0.0/0"}, "link-local"},
		{"169.254.169.254", []string{"169.254.0.0/16"}, ""},
		{"169.254.169.254", []string{"169.254.169.254/32"}, ""},
		{"fe80::1%eth0", []string{"::/0"}, "link-local"},
		{"fe80::1%eth0", []string{"fe80::/10"}, ""},
		{"10.0.0.1", []string{"0.0.0.0/0"}, ""},
		{"224.0.0.1", nil, "multicast"},
		{"255.255.255.255", nil, "reserved"},
		{"192.0.2.1", nil, "documentation"},
		{"::", nil, "unspecified"},
		{"fd00::1", nil, "private"},
		{"64:ff9b::7f00:1", nil, "NAT64"},
		{"2002:7f00:1::", nil, "6to4"},
		{"2001:0:7f00::1", nil, "protocol assignments"},
		{"4000::1", nil, "not global unicast"},
		{"::127.0.0.1", nil, "not global unicast"},
	} {
		t.Run(fmt.Sprintf("%s allowing %v", c.addr, c.allow), func(t *testing.T) {
			err := NewGuard(prefixes(t, c.allow...)).Check(netip.AddrPortFrom(netip.MustParseAddr(c.addr), 80))
			var f *ForbiddenError
			switch {
			case c.why == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case c.why != "" && (!errors.As(err, &f) || f.Why != c.why || !errors.Is(err, ErrForbidden)):
				t.Fatalf("got %v, want forbidden: %s", err, c.why)
			}
		})
	}
}

func TestGuardRefusesOwnListenersEvenIfAllowed(t *testing.T) {
	g := NewGuard(prefixes(t, "0.0.0.0/0", "127.0.0.0/8", "::/0", "fe80::/10"))
	g.Refuse(netip.MustParseAddrPort("0.0.0.0:8080"), netip.MustParseAddrPort("127.0.0.1:9090"), netip.MustParseAddrPort("[::]:8443"))
	refused := map[string]bool{
		"127.0.0.1:8080": true, "127.9.9.9:8080": true, "[::1]:8080": true, "0.0.0.0:8080": true, "[::]:8080": true,
		"127.0.0.1:8443": true, "[::1]:8443": true, "127.0.0.1:9090": true, "[::ffff:127.0.0.1]:9090": true, "0.0.0.0:9090": true,
		"[::1]:9090": false, "127.0.0.2:9090": false, "127.0.0.1:8081": false, "93.184.216.34:8080": false,
	}
	for _, ip := range localAddrs() {
		refused[netip.AddrPortFrom(ip, 8080).String()] = true
		refused[netip.AddrPortFrom(ip, 8443).String()] = true
		refused[netip.AddrPortFrom(ip, 8081).String()] = false
	}
	for addr, own := range refused {
		err := g.Check(netip.MustParseAddrPort(addr))
		var f *ForbiddenError
		if own != (errors.As(err, &f) && f.Why == "own listener") {
			t.Errorf("%s: got %v, want own listener %v", addr, err, own)
		}
		if u := (&url.URL{Scheme: "http", Host: addr}); g.Own(u) != own {
			t.Errorf("%s: Own says %v", u, !own)
		}
	}
	for raw, own := range map[string]bool{
		"http://localhost:8080/x": true, "http://LocalHost.:9090": true, "https://a.localhost:8443": true,
		"http://localhost:8081": false, "https://localhost": false, "http://example.com:8080": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if g.Own(u) != own {
			t.Errorf("%s: Own says %v", raw, !own)
		}
	}
	g.Refuse()
	if err := g.Check(netip.MustParseAddrPort("127.0.0.1:8080")); err != nil {
		t.Errorf("after an empty list: %v", err)
	}
}

func TestGuardCheckURL(t *testing.T) {
	g := NewGuard(nil)
	for raw, ok := range map[string]bool{
		"http://example.com/x": true, "https://example.com": true, "http://93.184.216.34:8080": true,
		"file:///etc/passwd": false, "gopher://example.com": false, "http://u:p@example.com/": false,
		"http:///x": false, "http://127.0.0.1/": false, "http://[::ffff:127.0.0.1]/": false,
		"http://b%C3%BCcher.example/": false, "http://169.254.169.254/latest": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if err := g.CheckURL(u); (err == nil) != ok {
			t.Errorf("%s: got %v, want allowed %v", raw, err, ok)
		}
	}
}

// Whatever the spelling, an IPv4 address gets one answer mapped and unmapped.
func TestGuardMappedAgrees(t *testing.T) {
	g := NewGuard(prefixes(t, "10.0.0.0/8"))
	rapid.Check(t, func(t *rapid.T) {
		var b [4]byte
		for i := range b {
			b[i] = rapid.Byte().Draw(t, "b")
		}
		ip := netip.AddrFrom4(b)
		mapped := netip.AddrFrom16(ip.As16())
		a, m := g.Check(netip.AddrPortFrom(ip, 1)), g.Check(netip.AddrPortFrom(mapped, 1))
		if (a == nil) != (m == nil) {
			t.Fatalf("%s: %v, mapped: %v", ip, a, m)
		}
	})
}

func TestDialerChecksTheConnectedAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		_, err := NewGuard(nil).Dialer(time.Second).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: got %v, want ErrForbidden", host, err)
		}
	}
	c, err := NewGuard(prefixes(t, "127.0.0.0/8", "::1/128")).Dialer(time.Second).
		DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("allowed address: %v", err)
	}
	c.Close()
}

func TestTransport(t *testing.T) {
	type seen struct {
		proto  string
		header http.Header
	}
	got := make(chan seen, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- seen{r.Proto, r.Header}
		if r.URL.Path == "/big" {
			w.Header().Set("X-Big", strings.Repeat("x", 70<<10))
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	dial := NewGuard(prefixes(t, "127.0.0.0/8", "::1/128")).Dialer(time.Second)
	tr := Transport(dial, srv.Client().Transport.(*http.Transport).TLSClientConfig, Limits{})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s := <-got
	if s.proto != "HTTP/1.1" || s.header.Get("Accept-Encoding") != "" || s.header.Get("Connection") != "" {
		t.Errorf("request was %s with %v", s.proto, s.header)
	}
	req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/big", nil)
	res, err = tr.RoundTrip(req)
	if err == nil {
		res.Body.Close()
	}
	<-got
	if !IsHeaderLimit(err) {
		t.Errorf("70 KiB of headers: got %v, want the header limit", err)
	}
}

func TestTransportHeaderTimeout(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	tr := Transport(NewGuard(prefixes(t, "127.0.0.0/8")).Dialer(time.Second), nil, Limits{Header: 20 * time.Millisecond})
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL, nil)
	res, err := tr.RoundTrip(req)
	if err == nil {
		res.Body.Close()
		t.Fatal("no error from a server that never answers")
	}
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got %v, want a time-out", err)
	}
}
