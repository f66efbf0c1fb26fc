package main

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sluice/config"
	"sluice/config/catalog"
	"sluice/internal/outbound"
)

// newGuard says which addresses definitions may lead to: what the settings allow, less the listeners of this process as far
// as the settings name them.
func newGuard(cfg config.Config) *outbound.Guard {
	g := outbound.NewGuard(cfg.Upstream.AllowCIDRs)
	g.Refuse(configured(cfg)...)
	g.RefuseHosts(func() []string { return serverHosts(cfg) })
	return g
}

// serverHosts are the servers of the broker and of Redis in the settings, as host:port.
func serverHosts(cfg config.Config) (out []string) {
	add := func(urls []string, port string) {
		for _, text := range urls {
			if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
				out = append(out, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
			}
		}
	}
	add(cfg.Broker.URLs, "4222")
	add(cfg.Quota.Redis.URLs, "6379")
	return out
}

// guardBroker keeps upstreams away from the servers that this process uses, those of the broker too that it tells of.
func (p *process) guardBroker() {
	known := serverHosts(p.cfg)
	p.guard.RefuseHosts(func() []string { return append(p.broker.Hosts(), known...) })
}

// configured are the addresses of this process's listeners in the settings. A port that the system chooses and a host name
// other than localhost are known only once the listener is open.
func configured(cfg config.Config) []netip.AddrPort {
	var texts []string
	if cfg.Has(config.RoleEdge) {
		texts = append(texts, cfg.Edge.HTTP.Addr)
		if cfg.Edge.HTTPS.Enabled() {
			texts = append(texts, cfg.Edge.HTTPS.Addr)
		}
	}
	if cfg.Has(config.RoleControl) {
		texts = append(texts, cfg.Control.Addr)
	}
	var out []netip.AddrPort
	for _, text := range append(texts, cfg.Ops.Addr) {
		host, port, err := net.SplitHostPort(text)
		if err != nil || port == "0" {
			continue
		}
		switch host {
		case "":
			host = "::"
		case "localhost":
			host = "127.0.0.1"
			out = appendAddr(out, "::1", port)
		}
		out = appendAddr(out, host, port)
	}
	return out
}

func appendAddr(list []netip.AddrPort, host, port string) []netip.AddrPort {
	if a, err := netip.ParseAddrPort(net.JoinHostPort(host, port)); err == nil {
		return append(list, a)
	}
	return list
}

// guardListeners keeps upstreams away from the listeners that are open, besides those in the settings.
func (p *process) guardListeners() {
	list := configured(p.cfg)
	open := []net.Addr{p.opsAt, p.control}
	if p.edge != nil {
		for _, a := range p.edge.Addrs() {
			open = append(open, a)
		}
	}
	for _, a := range open {
		if tcp, ok := a.(*net.TCPAddr); ok {
			list = append(list, tcp.AddrPort())
		}
	}
	p.guard.Refuse(list...)
}

// catalogOptions are what definitions inherit, and which endpoints they must not have: listeners of this process, and what clients
// reach edges by.
func catalogOptions(cfg config.Config, g *outbound.Guard) catalog.Options {
	o := catalog.OptionsFrom(cfg)
	o.Forbidden = g.Why
	o.Public = cfg.Public()
	public := cfg.Edge.Public()
	o.Loops = func(endpoint *url.URL) bool {
		return g.Own(endpoint) || slices.ContainsFunc(public, func(p config.PublicURL) bool { return within(endpoint, p.URL) })
	}
	return o
}

// within tells whether an address is another one or below it, by either scheme.
func within(u *url.URL, address string) bool {
	base, err := url.Parse(address)
	if err != nil || !strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), base.Hostname()) || portOf(u) != portOf(base) {
		return false
	}
	return u.Path == base.Path || strings.HasPrefix(u.Path, base.Path+"/") || base.Path == ""
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}
