package main

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"sluice/config/admin"
	"sluice/config/catalog"
	"sluice/config/portal"
	"sluice/internal/auth"
	"sluice/internal/presence"
)

// mostTried is how many edges are asked for one stream to try.
const mostTried = 4

// buildPortal makes the web pages of the control listener. living lists the edges that are heard of.
func (p *process) buildPortal(accounts *auth.Accounts, shown *catalog.Manager, living func() []presence.Edge) (*portal.Server, error) {
	pages, err := portal.New(portal.Deps{Accounts: accounts, Logger: p.log, Target: func(id string) (portal.Target, bool) {
		r, err := shown.Get(id)
		if err != nil || !r.API.Spec.State.Served() {
			return portal.Target{}, false
		}
		a := admin.Served(shown, r)
		t := portal.Target{Base: a.BasePath(), Headers: []string{a.Spec.Auth.Header, a.Spec.Auth.APIKeyHeader}}
		if r.Deployments[p.cfg.Edge.Group] > 0 {
			t.Edges = p.ownEdges(a)
		}
		t.Edges = append(t.Edges, otherEdges(a, r.Deployments, nodeName(p.cfg), living())...)
		t.Edges = t.Edges[:min(len(t.Edges), mostTried)]
		return t, true
	}})
	if err != nil {
		return nil, err
	}
	if !pages.Built() {
		p.log.Warn("built without the portal", "portal", "run make ui and build again", "rest", "complete")
	}
	return pages, nil
}

// ownEdges are the addresses of this process's edge that answer an API, as the process itself reaches them.
func (p *process) ownEdges(a *catalog.API) (out []portal.Edge) {
	if p.edge == nil {
		return nil
	}
	for _, scheme := range schemes {
		at, ok := p.edge.Addrs()["edge-"+scheme].(*net.TCPAddr)
		if !ok || !a.Allows(catalog.Transport(scheme)) {
			continue
		}
		host := at.IP.String()
		if at.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		out = append(out, portal.Edge{Own: true, URL: &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, strconv.Itoa(at.Port))}})
	}
	return out
}

// schemes of edges, in the order in which a stream to try is asked for: within a site nothing is won by TLS.
var schemes = []string{"http", "https"}

// otherEdges are addresses that edges of groups have told and that answer an API: those of edges that drain, of this node and those that
// lead nowhere from here are left out. Edges that follow the catalog best come first.
func otherEdges(a *catalog.API, groups map[string]int, self string, living []presence.Edge) (out []portal.Edge) {
	living = slices.SortedStableFunc(slices.Values(living), func(x, y presence.Edge) int { return cmp.Compare(y.Rev, x.Rev) })
	for _, scheme := range schemes {
		if !a.Allows(catalog.Transport(scheme)) {
			continue
		}
		for _, e := range living {
			if e.Draining || e.Node == self || groups[e.Group] == 0 {
				continue
			}
			for _, text := range e.URLs {
				u, err := url.Parse(text)
				if err != nil || u.Scheme != scheme || u.User != nil || u.RawQuery != "" || !leadsSomewhere(u.Hostname()) ||
					slices.ContainsFunc(out, func(had portal.Edge) bool { return *had.URL == *u }) {
					continue
				}
				out = append(out, portal.Edge{URL: u})
			}
		}
	}
	return out
}

// leadsSomewhere tells whether a host names one: an edge that listens everywhere and has no edge.publicURLs tells 0.0.0.0.
func leadsSomewhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host != "" && (err != nil || !ip.IsUnspecified())
}
