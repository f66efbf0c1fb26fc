package main

import (
	"crypto/tls"
	"net"
	"net/url"
	"strconv"

	"sluice/config/portal"
	"sluice/internal/auth"
)

// buildPortal makes the web pages of the control listener.
func (p *process) buildPortal(accounts *auth.Accounts) (*portal.Server, error) {
	pages, err := portal.New(portal.Deps{Accounts: accounts, Edge: p.ownEdge, Logger: p.log,
		// ownEdge leads to a port of this process, on loopback: whatever name its certificate has, nobody is in between.
		EdgeTLS: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}}) //nolint:gosec // see above
	if err != nil {
		return nil, err
	}
	if !pages.Built() {
		p.log.Warn("built without the portal", "portal", "run make ui and build again", "rest", "complete")
	}
	return pages, nil
}

// ownEdge is the address of this process's edge, as the process itself reaches it; nil without one.
func (p *process) ownEdge(https bool) *url.URL {
	if p.edge == nil {
		return nil
	}
	scheme, name := "http", "edge-http"
	if https {
		scheme, name = "https", "edge-https"
	}
	at, ok := p.edge.Addrs()[name].(*net.TCPAddr)
	if !ok {
		return nil
	}
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, strconv.Itoa(at.Port))}
}
