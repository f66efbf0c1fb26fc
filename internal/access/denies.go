package access

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"sluice/internal/problem"
)

// CreateDeny refuses, and cuts, what d names; ID and By are the store's. An address alone becomes a network of one. DenyExists if there
// is one of the same kind and value. Those that have ended are removed on this occasion.
func (s *Store) CreateDeny(ctx context.Context, w Write, deny Deny) (*Deny, error) {
	deny.ID, deny.By, deny.Rev = NewID(), w.By, 0
	if err := deny.check(time.Time{}, s.now()); err != nil {
		return nil, err
	}
	d, err := s.change(ctx, w, "deny created", func(d *draft) error {
		if err := deny.alone(d); err != nil {
			return err
		}
		d.removeEnded(mostEnded)
		if d.count(denyPrefix) >= mostDenies+len(d.writes) {
			return tooMany("denies")
		}
		return d.put(denyIDKey(deny.ID), deny)
	})
	return answer(d, err, deny, denyIDKey(deny.ID), setDenyRev)
}

// UpdateDeny replaces what a deny names, until when, and why.
func (s *Store) UpdateDeny(ctx context.Context, w Write, deny Deny) (*Deny, error) {
	deny.By, deny.Rev = w.By, 0
	d, err := s.change(ctx, w, "deny changed", func(d *draft) error {
		old := find[Deny](d.table, denyIDKey(deny.ID))
		if old == nil {
			return notFound("deny")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		if err := deny.check(old.Until, d.now); err != nil {
			return err
		}
		if err := deny.alone(d); err != nil {
			return err
		}
		return d.put(denyIDKey(deny.ID), deny)
	})
	return answer(d, err, deny, denyIDKey(deny.ID), setDenyRev)
}

// DeleteDeny lets in again what it named.
func (s *Store) DeleteDeny(ctx context.Context, w Write, id string) error {
	_, err := s.change(ctx, w, "deny deleted", func(d *draft) error {
		old := find[Deny](d.table, denyIDKey(id))
		if old == nil {
			return notFound("deny")
		}
		if err := w.expected(old.Rev); err != nil {
			return err
		}
		d.remove(denyIDKey(id))
		return nil
	})
	return err
}

func setDenyRev(d *Deny, rev uint64) { d.Rev = rev }

// alone checks that no other deny names what this one does; one that has ended is removed.
func (d *Deny) alone(to *draft) error {
	for _, o := range each(to.table, func(o *Deny) bool { return o.ID != d.ID && o.Kind == d.Kind && o.Value == d.Value }) {
		if !o.ended(to.now) {
			return taken(problem.DenyExists, "/value", "is denied already")
		}
		to.remove(denyIDKey(o.ID))
	}
	return nil
}

func (d *Deny) ended(now time.Time) bool { return !d.Until.IsZero() && !now.Before(d.Until) }

// mostEnded is how many denies that have ended are removed at once.
const mostEnded = 50

// removeEnded removes denies that have ended, so that nobody has to: at most some.
func (d *draft) removeEnded(most int) {
	removed := map[string]bool{}
	for _, w := range d.writes {
		removed[w.Key] = true
	}
	for _, o := range each(d.table, func(o *Deny) bool { return o.ended(d.now) && !removed[denyIDKey(o.ID)] }) {
		if most--; most < 0 {
			return
		}
		d.remove(denyIDKey(o.ID))
	}
}

func (d *Deny) check(wasUntil, now time.Time) error {
	var c checker
	switch d.Kind {
	case DenyIP:
		d.network()
		_, err := netip.ParsePrefix(d.Value)
		c.value(err == nil, "/value", "must be an address or a network, such as 192.0.2.0/24")
	case DenyApplication, DenySubscription:
		c.value(isID(d.Value), "/value", "must be an id")
	case DenySubject:
		c.value(isPair(d.Value), "/value", "must be an issuer, a space and a subject")
	case DenyAPI:
		name, version, ok := strings.Cut(d.Value, "@")
		c.value(ok && isName(name) && isName(version), "/value", "must be an API as name@version")
	default:
		c.value(false, "/kind", "must be one of ip, application, subject, api, subscription")
	}
	c.line("/reason", d.Reason, longestText)
	c.later("/until", d.Until, wasUntil, now)
	return c.err()
}

// network writes an address or a network in its one form.
func (d *Deny) network() {
	if ip, err := netip.ParseAddr(d.Value); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		d.Value = netip.PrefixFrom(ip, ip.BitLen()).String()
		return
	}
	if p, err := netip.ParsePrefix(d.Value); err == nil {
		d.Value = p.Masked().String()
	}
}

// isPair tells whether s is an issuer, a space, and a subject or token id.
func isPair(s string) bool {
	issuer, name, ok := strings.Cut(s, " ")
	return ok && issuer != "" && name != "" && isLine(s, longestText)
}
