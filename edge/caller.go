package edge

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
)

// caller is who sent a request, as far as the socket and trusted proxies tell.
type caller struct {
	remote netip.AddrPort // the socket's other end
	ip     netip.Addr     // the client: remote, or what trusted proxies say
	tls    bool           // the client's side is encrypted
	// trusted says that remote is a trusted proxy, whose word on the others counts.
	trusted bool
	id      string // request id
}

// maxForwarded bounds how many hops of X-Forwarded-For are looked at.
const maxForwarded = 32

// callerOf reads who sent r. Forwarding headers and X-Request-ID count only if the
// socket's other end is a trusted proxy.
func callerOf(r *http.Request, trusted []netip.Prefix) caller {
	c := caller{tls: r.TLS != nil}
	c.remote, _ = netip.ParseAddrPort(r.RemoteAddr)
	c.ip = c.remote.Addr().Unmap()
	if !isTrusted(c.ip, trusted) {
		c.id = newRequestID()
		return c
	}
	c.trusted = true
	c.ip = forwardedFor(c.ip, r.Header.Values("X-Forwarded-For"), trusted)
	switch proto := r.Header.Values("X-Forwarded-Proto"); {
	case len(proto) != 1:
	case strings.EqualFold(proto[0], "https"):
		c.tls = true
	case strings.EqualFold(proto[0], "http"):
		c.tls = false
	}
	if ids := r.Header.Values("X-Request-Id"); len(ids) == 1 && validRequestID(ids[0]) {
		c.id = strings.Clone(ids[0])
		return c
	}
	c.id = newRequestID()
	return c
}

// forwardedFor walks the hops from the nearest one: the first that is not a trusted
// proxy is the client. A hop that is no address ends the walk.
func forwardedFor(ip netip.Addr, values []string, trusted []netip.Prefix) netip.Addr {
	hops := 0
	for i := len(values) - 1; i >= 0; i-- {
		list := values[i]
		for list != "" {
			hop := list
			if at := strings.LastIndexByte(list, ','); at >= 0 {
				list, hop = list[:at], list[at+1:]
			} else {
				list = ""
			}
			addr, ok := parseHop(strings.TrimSpace(hop))
			if hops++; !ok || hops > maxForwarded {
				return ip
			}
			ip = addr
			if !isTrusted(ip, trusted) {
				return ip
			}
		}
	}
	return ip
}

// parseHop reads an address, with or without port. Zones are dropped. The unspecified
// address is nobody's.
func parseHop(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		ap, bad := netip.ParseAddrPort(s)
		if bad != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	a = a.Unmap().WithZone("")
	return a, !a.IsUnspecified()
}

func isTrusted(ip netip.Addr, trusted []netip.Prefix) bool {
	ip = ip.WithZone("")
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// newRequestID makes a request id of 20 hex digits. It need not be a secret.
func newRequestID() string {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	var text [20]byte
	hex.Encode(text[:], raw[:10])
	return string(text[:])
}

// validRequestID accepts 1–64 of [A-Za-z0-9._-].
func validRequestID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// hostAllowed reports whether a Host header names this gateway: any name if hosts
// is empty, else one of them; "*.example.com" covers exactly one label.
func hostAllowed(host string, hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	name := host
	if ap := strings.LastIndexByte(host, ':'); ap >= 0 && !strings.HasSuffix(host, "]") {
		name = host[:ap]
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if name == "" {
		return false
	}
	for _, want := range hosts {
		want = strings.ToLower(strings.Trim(want, "[]"))
		if want == name {
			return true
		}
		if rest, ok := strings.CutPrefix(want, "*"); ok {
			if label, found := strings.CutSuffix(name, rest); found && label != "" && !strings.Contains(label, ".") {
				return true
			}
		}
	}
	return false
}
