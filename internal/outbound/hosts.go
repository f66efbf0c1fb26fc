package outbound

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// servers is why an address of a server that the gateway itself uses is refused.
const servers = "server of this gateway"

const (
	hostLookup = 2 * time.Second  // how long one look-up may take
	hostFresh  = 30 * time.Second // how long its answer counts
)

// hosts are the servers that the gateway itself uses, by name: the broker's, the counters'. The zero value refuses nothing.
type hosts struct {
	resolver *net.Resolver // nil = the system's

	mu    sync.Mutex // guards what follows
	list  func() []string
	known map[string]resolved // by name; at most one for each in list
}

// resolved is what a name led to.
type resolved struct {
	addrs []netip.Addr
	until time.Time
}

// RefuseHosts sets what tells, as host:port, the servers that are never dialled either, whatever the allow list says: those that the
// gateway itself uses. It is asked at each check. A name is looked up when a connection to its port is about to be made, at most every
// 30 s; while that fails, no address is connected to at that port. A server at an address of this machine is refused at all of them.
func (g *Guard) RefuseHosts(list func() []string) {
	g.hosts.mu.Lock()
	defer g.hosts.mu.Unlock()
	g.hosts.list = list
}

// at returns the hosts that have the port.
func (h *hosts) at(port uint16) (names []string) {
	h.mu.Lock()
	list := h.list
	h.mu.Unlock()
	if list == nil {
		return nil
	}
	for _, text := range list() {
		host, p, err := net.SplitHostPort(text)
		if err == nil && p == strconv.Itoa(int(port)) {
			names = append(names, strings.TrimSuffix(strings.ToLower(host), "."))
		}
	}
	return names
}

// named tells a host that is written as one of them is.
func (h *hosts) named(host string, port uint16) bool {
	return slices.Contains(h.at(port), strings.TrimSuffix(strings.ToLower(host), "."))
}

// refuse says why a, unmapped and without zone, is not to be dialled; "" if it may be.
func (h *hosts) refuse(a netip.AddrPort) string {
	names := h.at(a.Port())
	if len(names) == 0 {
		return ""
	}
	here := a.Addr().IsLoopback() || a.Addr().IsUnspecified() || slices.Contains(localAddrs(), a.Addr())
	for _, name := range names {
		addrs, err := h.resolve(name, names)
		if err != nil {
			return "port of a " + servers + " whose name cannot be looked up"
		}
		for _, ip := range addrs {
			if ip == a.Addr() || here && (ip.IsLoopback() || slices.Contains(localAddrs(), ip)) {
				return servers
			}
		}
	}
	return ""
}

// resolve looks up name, one of names, unless it was a moment ago.
func (h *hosts) resolve(name string, names []string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{ip.Unmap().WithZone("")}, nil
	}
	h.mu.Lock()
	r, ok := h.known[name]
	h.mu.Unlock()
	if ok && time.Now().Before(r.until) {
		return r.addrs, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), hostLookup)
	defer cancel()
	addrs, err := h.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap().WithZone("")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil || len(h.known) > 2*len(names)+64 { // names that are no longer told
		h.known = map[string]resolved{}
	}
	h.known[name] = resolved{addrs, time.Now().Add(hostFresh)}
	return addrs, nil
}
