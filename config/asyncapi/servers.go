package asyncapi

import (
	"slices"
	"strings"
)

// endpoint finds the backend's address: told by the caller, by an extension, else one of the servers.
func (im *importer) endpoint() {
	s := &im.api.Spec
	if im.o.Endpoint != "" {
		s.Endpoint, im.from["/spec/endpoint"] = im.o.Endpoint, place{}
		return
	}
	if p := im.top("x-sluice-endpoint"); p.node != nil {
		s.Endpoint, im.from["/spec/endpoint"] = p.node.Text, p
		return
	}
	servers := im.top("servers").entries()
	if im.own && im.o.Server == "" {
		return // the servers of our own documents are edges
	}
	chosen := im.server(servers)
	if chosen < 0 {
		return
	}
	for i, o := range servers {
		if i != chosen {
			im.warn("server-ignored", o.pointer, "is left out: an API has one endpoint")
		}
	}
	end, ok := im.follow(servers[chosen].place)
	if !ok {
		return
	}
	address, from := im.serverURL(end)
	scheme, _, _ := strings.Cut(address, ":")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		if im.o.Lenient {
			im.warn(CodeEndpointScheme, from.pointer, "is no http or https address; the API gets no endpoint")
			return
		}
		im.fail(CodeEndpointScheme, from.pointer, "must be an http or https address")
		return
	}
	s.Endpoint, im.from["/spec/endpoint"] = address, from
}

// server picks the server that is the backend; -1 when there is none.
func (im *importer) server(servers []entry) int {
	if im.o.Server != "" {
		i := slices.IndexFunc(servers, func(s entry) bool { return s.key == im.o.Server })
		if i < 0 {
			im.fail(CodeUnknownServer, "/servers", "has no server %q", clip(im.o.Server))
		}
		return i
	}
	protocol := func(s entry) string {
		end, ok := im.follow(s.place)
		if !ok {
			return ""
		}
		return strings.ToLower(end.text("protocol"))
	}
	if i := slices.IndexFunc(servers, func(s entry) bool { return protocol(s) == "sse" }); i >= 0 {
		return i
	}
	if i := slices.IndexFunc(servers, func(s entry) bool { p := protocol(s); return p == "http" || p == "https" }); i >= 0 {
		return i
	}
	return min(len(servers), 1) - 1
}

// serverURL is a server's address with the defaults of its variables, and where it is written.
func (im *importer) serverURL(s place) (string, place) {
	protocol := strings.ToLower(s.text("protocol"))
	fill := func(text string) string {
		for _, name := range templateNames(text) {
			if v, ok := im.follow(s.get("variables").get(name)); ok {
				text = strings.ReplaceAll(text, "{"+name+"}", v.text("default"))
			}
		}
		return text
	}
	if im.old() {
		address := fill(s.text("url"))
		if !strings.Contains(address, "://") {
			address = im.schemeOf(s, protocol) + "://" + strings.TrimPrefix(address, "//")
		}
		return address, s.get("url")
	}
	path := fill(s.text("pathname"))
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	return im.schemeOf(s, protocol) + "://" + fill(s.text("host")) + path, s.get("host")
}

// schemeOf is the scheme of a server whose address has none.
func (im *importer) schemeOf(s place, protocol string) string {
	if x := s.text("x-sluice-scheme"); x != "" {
		return x
	}
	if protocol != "sse" {
		return protocol
	}
	im.warn("scheme-assumed", s.get("protocol").pointer, "does not tell http from https: https is assumed")
	return "https"
}
