package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrForbidden is the cause of every refusal by a Guard; test with errors.Is.
var ErrForbidden = errors.New("address is forbidden")

// ForbiddenError says which address was refused and why. It matches ErrForbidden.
type ForbiddenError struct {
	Addr string // the address that would have been connected to, or the host as written
	Why  string // loopback, private, link-local, …, own listener
}

// Error names the address and the reason.
func (e *ForbiddenError) Error() string { return fmt.Sprintf("%s is forbidden: %s", e.Addr, e.Why) }

// Is makes errors.Is(err, ErrForbidden) true.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

// Dialer opens connections. Implementations must be safe for concurrent use.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Guard decides which addresses may be connected to. Public addresses always may; loopback, private, link-local and other
// special ones only if a prefix of the allow list holds them; addresses named by Refuse and RefuseHosts never. Safe for concurrent use.
type Guard struct {
	allow   []netip.Prefix
	refused atomic.Pointer[[]netip.AddrPort]
	hosts   hosts
}

// NewGuard returns a Guard that allows the special addresses in allow. A link-local address is allowed only by a prefix
// that is itself link-local: cloud metadata services live there, and 0.0.0.0/0 must not open them by accident.
func NewGuard(allow []netip.Prefix) *Guard {
	g := &Guard{}
	for _, p := range allow {
		addr := p.Addr().Unmap()
		bits := p.Bits()
		if p.Addr().Is4In6() {
			bits = max(bits-96, 0)
		}
		g.allow = append(g.allow, netip.PrefixFrom(addr, bits).Masked())
	}
	return g
}

// Refuse sets the addresses that are never dialled, whatever the allow list says: the process's own listeners. An
// unspecified address (0.0.0.0, ::) stands for every address of this machine at the time of a check. It replaces an earlier
// list.
func (g *Guard) Refuse(addrs ...netip.AddrPort) {
	list := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		list[i] = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	g.refused.Store(&list)
}

// own says that a leads to one of the refused addresses.
func (g *Guard) own(a netip.AddrPort) bool {
	list := g.refused.Load()
	if list == nil {
		return false
	}
	ip := a.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(*list, func(l netip.AddrPort) bool {
		switch {
		case l.Port() != a.Port():
			return false
		case l.Addr().IsUnspecified():
			return ip.IsUnspecified() || ip.IsLoopback() || slices.Contains(localAddrs(), ip)
		case ip.IsUnspecified(): // the system connects it to the loopback address
			return l.Addr().IsLoopback()
		}
		return l.Addr() == ip
	})
}

// Own says that u leads back to one of the addresses given to Refuse, as far as that can be told without looking up a name:
// for an address and for localhost.
func (g *Guard) Own(u *url.URL) bool {
	host := u.Hostname()
	if isLocalhost(host) {
		return g.own(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), portOf(u))) ||
			g.own(netip.AddrPortFrom(netip.IPv6Loopback(), portOf(u)))
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return err == nil && g.own(netip.AddrPortFrom(ip, portOf(u)))
}

// localAddrs are the addresses of this machine's interfaces.
func localAddrs() []netip.Addr {
	var out []netip.Addr
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !slices.Contains(out, p.Addr().Unmap()) {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// Check says whether a may be connected to: nil, or a *ForbiddenError.
func (g *Guard) Check(a netip.AddrPort) error {
	ip := a.Addr().Unmap().WithZone("")
	if g.own(a) {
		return &ForbiddenError{Addr: a.String(), Why: "own listener"}
	}
	if why := g.hosts.refuse(netip.AddrPortFrom(ip, a.Port())); why != "" {
		return &ForbiddenError{Addr: a.String(), Why: why}
	}
	why := special(ip)
	if why == "" || g.allowed(ip) {
		return nil
	}
	return &ForbiddenError{Addr: a.String(), Why: why}
}

func (g *Guard) allowed(ip netip.Addr) bool {
	for _, p := range g.allow {
		if p.Contains(ip) && (!ip.IsLinkLocalUnicast() || p.Addr().IsLinkLocalUnicast() && p.Bits() >= linkLocalBits(ip)) {
			return true
		}
	}
	return false
}

func linkLocalBits(ip netip.Addr) int {
	if ip.Is4() {
		return 16
	}
	return 10
}

type rule struct {
	prefix netip.Prefix
	why    string
}

// special4 and special6 are the address blocks that are not the public internet; the first match names the reason. IPv6 is
// the other way round: only 2000::/3 is public, less the blocks here.
func special4() []rule {
	return rules(
		"0.0.0.0/8", "this network", "10.0.0.0/8", "private", "100.64.0.0/10", "shared address space",
		"127.0.0.0/8", "loopback", "169.254.0.0/16", "link-local", "172.16.0.0/12", "private",
		"192.0.0.0/24", "protocol assignments", "192.0.2.0/24", "documentation", "192.88.99.0/24", "6to4 relay",
		"192.168.0.0/16", "private", "198.18.0.0/15", "benchmarking", "198.51.100.0/24", "documentation",
		"203.0.113.0/24", "documentation", "224.0.0.0/4", "multicast", "240.0.0.0/4", "reserved",
	)
}

func special6() []rule {
	return rules(
		"::1/128", "loopback", "::/128", "unspecified", "fc00::/7", "private", "fe80::/10", "link-local",
		"ff00::/8", "multicast", "64:ff9b::/96", "NAT64", "64:ff9b:1::/48", "NAT64", "2001::/23", "protocol assignments",
		"2001:db8::/32", "documentation", "2002::/16", "6to4", "3fff::/20", "documentation",
	)
}

func rules(pairs ...string) []rule {
	out := make([]rule, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, rule{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

// special says why ip, unmapped and without zone, is not a public address; "" if it is one.
func special(ip netip.Addr) string {
	if !ip.IsValid() {
		return "not an address"
	}
	list := special6()
	if ip.Is4() {
		list = special4()
	}
	for _, r := range list {
		if r.prefix.Contains(ip) {
			return r.why
		}
	}
	if ip.Is6() && !netip.MustParsePrefix("2000::/3").Contains(ip) {
		return "not global unicast"
	}
	return ""
}

// CheckURL says whether u may be the URL of an endpoint: http or https, an ASCII host, no user, and, if the host is
// written as an address, one that may be connected to; localhost is one of those too. Other names are checked when they are dialled.
func (g *Guard) CheckURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("scheme %q: %w", u.Scheme, ErrForbidden)
	}
	if u.User != nil {
		return &ForbiddenError{Addr: u.Host, Why: "user in URL"}
	}
	host := u.Hostname()
	if host == "" {
		return &ForbiddenError{Addr: u.Host, Why: "no host"}
	}
	if strings.IndexFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
		return &ForbiddenError{Addr: host, Why: "host is not ASCII"}
	}
	if g.hosts.named(host, portOf(u)) {
		return &ForbiddenError{Addr: u.Host, Why: servers}
	}
	if isLocalhost(host) { // one of its addresses is enough: the dialer checks which
		err := g.Check(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), portOf(u)))
		if err != nil && g.Check(netip.AddrPortFrom(netip.IPv6Loopback(), portOf(u))) == nil {
			return nil
		}
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return g.Check(netip.AddrPortFrom(ip, portOf(u)))
}

// isLocalhost tells the names that lead to the loopback addresses everywhere (RFC 6761).
func isLocalhost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Why is what CheckURL has against u, without the address: loopback, private, …; "" if nothing.
func (g *Guard) Why(u *url.URL) string {
	err := g.CheckURL(u)
	var f *ForbiddenError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.Why
	}
	return "not http or https"
}

func portOf(u *url.URL) uint16 {
	var port uint16
	if _, err := fmt.Sscanf(u.Port(), "%d", &port); err == nil {
		return port
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// Dialer returns a dialer whose every connection attempt is checked by g on the address it is about to connect to, after
// name resolution. timeout bounds resolution and all attempts together. Probes every 15 s end a connection whose peer is
// gone after about a minute.
func (g *Guard) Dialer(timeout time.Duration) Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		Resolver:        g.hosts.resolver,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3},
		ControlContext: func(_ context.Context, network, addr string, _ syscall.RawConn) error {
			return g.checkDial(network, addr)
		},
	}
}

func (g *Guard) checkDial(network, addr string) error {
	if !strings.HasPrefix(network, "tcp") {
		return &ForbiddenError{Addr: addr, Why: "network " + network}
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return &ForbiddenError{Addr: addr, Why: "not an address"}
	}
	return g.Check(a)
}
