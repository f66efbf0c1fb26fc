package outbound

import "net"

// UseResolver makes a guard and its dialers look up names with r.
func (g *Guard) UseResolver(r *net.Resolver) { g.hosts.resolver = r }
