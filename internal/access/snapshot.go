package access

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Records are all that is stored, in no order. Nothing in them is changed once a Snapshot was made of them.
type Records struct {
	Plans        []*Plan
	Applications []*Application
	Grants       []*Grant
	Keys         []*Key
	Denies       []*Deny
	Revocations  []*Revocation
}

// Snapshot is what is stored at one moment. Immutable, safe for concurrent use; the zero value holds nothing. What the methods return is
// shared: never change it.
type Snapshot struct {
	rev    uint64
	all    Records
	plans  map[string]*Plan
	apps   map[string]*Application
	owners map[ClientRef]*Application
	grants map[grantKey]*Grant
	byID   map[string]*Grant
	keys   map[string]*Key
	denied map[denyKey]*Deny
	nets   []denyNet
	revs   map[revokeKey]*Revocation
}

type grantKey struct{ app, api, version string }

type denyKey struct {
	kind  DenyKind
	value string
}

type denyNet struct {
	net  netip.Prefix
	deny *Deny
}

type revokeKey struct {
	kind  RevokeKind
	value string
}

// NewSnapshot indexes r; rev is the broker's newest revision in it. It takes r over.
func NewSnapshot(rev uint64, r Records) *Snapshot {
	s := &Snapshot{rev: rev, all: r, plans: map[string]*Plan{}, apps: map[string]*Application{}, owners: map[ClientRef]*Application{},
		grants: map[grantKey]*Grant{}, byID: map[string]*Grant{}, keys: map[string]*Key{}, denied: map[denyKey]*Deny{}, revs: map[revokeKey]*Revocation{}}
	for _, p := range r.Plans {
		s.plans[p.Name] = p
	}
	for _, a := range r.Applications {
		s.apps[a.ID] = a
		for _, c := range a.Clients {
			s.owners[c] = a
		}
	}
	for _, g := range r.Grants {
		s.grants[grantKey{g.Application, g.API, g.Version}] = g
		s.byID[g.ID] = g
	}
	for _, k := range r.Keys {
		s.keys[k.ID] = k
	}
	for _, d := range r.Denies {
		s.addDeny(d)
	}
	for _, v := range r.Revocations {
		s.revs[revokeKey{v.Kind, v.Value}] = v
	}
	return s
}

func (s *Snapshot) addDeny(d *Deny) {
	if d.Kind != DenyIP {
		s.denied[denyKey{d.Kind, d.Value}] = d
		return
	}
	if net, err := netip.ParsePrefix(d.Value); err == nil {
		s.nets = append(s.nets, denyNet{net.Masked(), d})
	}
}

// Revision is the broker's newest revision in s; 0 = nothing was loaded yet.
func (s *Snapshot) Revision() uint64 { return s.rev }

// Counts is how many records there are, by kind.
func (s *Snapshot) Counts() map[string]int {
	return map[string]int{"plan": len(s.all.Plans), "application": len(s.all.Applications), "subscription": len(s.all.Grants),
		"key": len(s.all.Keys), "deny": len(s.all.Denies), "revocation": len(s.all.Revocations)}
}

// Records are all, each kind sorted by name or id.
func (s *Snapshot) Records() Records {
	r := s.all
	r.Plans = slices.SortedFunc(slices.Values(r.Plans), func(a, b *Plan) int { return cmp.Compare(a.Name, b.Name) })
	r.Applications = slices.SortedFunc(slices.Values(r.Applications), func(a, b *Application) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	r.Grants = slices.SortedFunc(slices.Values(r.Grants), func(a, b *Grant) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.API, b.API), cmp.Compare(a.Version, b.Version))
	})
	r.Keys = slices.SortedFunc(slices.Values(r.Keys), func(a, b *Key) int { return cmp.Compare(a.ID, b.ID) })
	r.Denies = slices.SortedFunc(slices.Values(r.Denies), func(a, b *Deny) int { return cmp.Compare(a.ID, b.ID) })
	r.Revocations = slices.SortedFunc(slices.Values(r.Revocations), func(a, b *Revocation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return r
}

// Plan returns a plan, nil if there is none of that name.
func (s *Snapshot) Plan(name string) *Plan { return s.plans[name] }

// Application returns an application by id, or nil.
func (s *Snapshot) Application(id string) *Application { return s.apps[id] }

// ApplicationOf returns the application of an issuer's client, or nil. Clients of the built-in issuer are the applications themselves.
func (s *Snapshot) ApplicationOf(c ClientRef) *Application { return s.owners[c] }

// Key returns an API key by id, or nil. One whose application is gone does not count: ask for that too.
func (s *Snapshot) Key(id string) *Key { return s.keys[id] }

// Grant returns the subscription of an application to an API's version, or nil.
func (s *Snapshot) Grant(app, api, version string) *Grant {
	return s.grants[grantKey{app, api, version}]
}

// GrantByID returns a subscription, or nil.
func (s *Snapshot) GrantByID(id string) *Grant { return s.byID[id] }

// Denied returns the entry that refuses a client at now, or nil. g may be nil.
func (s *Snapshot) Denied(now time.Time, ip netip.Addr, p *Principal, api, version string, g *Grant) *Deny {
	counts := func(d *Deny) bool { return d != nil && (d.Until.IsZero() || now.Before(d.Until)) }
	for _, n := range s.nets {
		if ip.IsValid() && n.net.Contains(ip) && counts(n.deny) {
			return n.deny
		}
	}
	keys := []denyKey{{DenyApplication, p.App}, {DenySubject, p.Issuer + " " + p.Subject}, {DenyAPI, api + "@" + version}}
	if g != nil {
		keys = append(keys, denyKey{DenySubscription, g.ID})
	}
	for _, k := range keys {
		if d := s.denied[k]; counts(d) {
			return d
		}
	}
	return nil
}

// DeniesAddresses tells whether any client's address is denied: only then it matters where a client is.
func (s *Snapshot) DeniesAddresses() bool { return len(s.nets) > 0 }

// Revoked returns the revocation that ends a credential, or nil.
func (s *Snapshot) Revoked(p *Principal) *Revocation {
	keys := [...]revokeKey{{RevokeToken, p.Issuer + " " + p.TokenID}, {RevokeSubject, p.Issuer + " " + p.Subject}, {RevokeApplication, p.App},
		{RevokeIssuer, p.Issuer}}
	for i, k := range keys {
		if i == 0 && p.TokenID == "" || i == 1 && p.Subject == "" || k.value == "" {
			continue
		}
		if v := s.revs[k]; v != nil && p.Issued.Before(v.Before) {
			return v
		}
	}
	return nil
}
