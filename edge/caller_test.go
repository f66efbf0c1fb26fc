package edge

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestCallerOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, remote     string
		forwarded        []string
		proto, requestID string
		ip               string
		tls, keepsID     bool
	}{
		{name: "the socket's other end", remote: "203.0.113.7:5", ip: "203.0.113.7"},
		{name: "D28 spoofed by an untrusted peer", remote: "203.0.113.7:5", forwarded: []string{"127.0.0.1"}, proto: "https",
			requestID: "mine", ip: "203.0.113.7"},
		{name: "one trusted hop", remote: "10.1.1.1:5", forwarded: []string{"198.51.100.9"}, proto: "https", requestID: "a.b_C-9",
			ip: "198.51.100.9", tls: true, keepsID: true},
		{name: "a client that forges its first hops", remote: "10.1.1.1:5", forwarded: []string{"127.0.0.1, 198.51.100.9", "10.2.2.2"},
			ip: "198.51.100.9"},
		{name: "a hop that is no address", remote: "10.1.1.1:5", forwarded: []string{"198.51.100.9, unknown"}, ip: "10.1.1.1"},
		{name: "a hop that is nobody's address", remote: "10.1.1.1:5", forwarded: []string{"::"}, ip: "10.1.1.1"},
		{name: "IPv6 with port", remote: "[fd00::1]:5", forwarded: []string{"[2001:db8::5]:44"}, ip: "2001:db8::5"},
		{name: "IPv4 inside IPv6", remote: "[::ffff:10.1.1.1]:5", forwarded: []string{"::ffff:198.51.100.9"}, ip: "198.51.100.9"},
		{name: "request id with a blank", remote: "10.1.1.1:5", requestID: "a b", ip: "10.1.1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			if c.forwarded != nil {
				r.Header["X-Forwarded-For"] = c.forwarded
			}
			if c.proto != "" {
				r.Header.Set("X-Forwarded-Proto", c.proto)
			}
			if c.requestID != "" {
				r.Header.Set("X-Request-ID", c.requestID)
			}
			got := callerOf(r, trusted)
			if got.ip.String() != c.ip || got.tls != c.tls {
				t.Errorf("ip %s tls %v, want %s %v", got.ip, got.tls, c.ip, c.tls)
			}
			if kept := got.id == c.requestID && c.requestID != ""; kept != c.keepsID || !validRequestID(got.id) {
				t.Errorf("request id %q, sent %q, want kept=%v", got.id, c.requestID, c.keepsID)
			}
		})
	}
}

func TestHostAllowed(t *testing.T) {
	hosts := []string{"Events.example.com", "*.feeds.example.com", "::1", "10.0.0.1"}
	for host, want := range map[string]bool{
		"events.example.com": true, "EVENTS.example.com:8443": true, "events.example.com.": true,
		"eu.feeds.example.com": true, "a.b.feeds.example.com": false, "feeds.example.com": false, ".feeds.example.com": false,
		"evil-feeds.example.com": false, "events.example.com.evil.org": false, "": false, "[::1]:80": true, "[::1]": true, "10.0.0.1:1": true,
	} {
		if got := hostAllowed(host, hosts); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
	if !hostAllowed("", nil) {
		t.Error("without a list every name is served")
	}
}
