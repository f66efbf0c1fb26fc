package lease

import (
	"cmp"
	"math"
	"slices"

	"sluice/internal/broker"
)

// Bounded load: no node gets more than its share of all feeds times this.
const overload = 1.25

// Want is a feed that is to run somewhere.
type Want struct {
	Feed broker.FeedID
	// Holder is the live node that owns it now, "" = none. It need not be among the nodes of the plan: one that drains is not.
	Holder string
}

// Place is where the plan has a feed. Both are "" if no node has room for it.
type Place struct {
	Owner   string
	Standby string // who would have it next; "" = nobody
}

// Plan is a pure function of nodes and wanted feeds: every node that sees the same makes the same plan. A holder keeps its
// feeds as far as it stays within its share; all others go to the best node of a weighted rendezvous that has room.
type Plan struct {
	nodes  []planNode
	weight float64
	places map[broker.FeedID]Place
}

type planNode struct {
	name     string
	hash     uint64
	capacity int
	count    int
}

// NewPlan places wants on nodes. Nodes without capacity get nothing.
func NewPlan(nodes []Node, wants []Want) *Plan {
	p := &Plan{places: make(map[broker.FeedID]Place, len(wants))}
	for _, n := range nodes {
		if n.Capacity > 0 && !n.Draining {
			p.nodes = append(p.nodes, planNode{name: n.Name, hash: hashText(n.Name), capacity: n.Capacity})
			p.weight += float64(n.Capacity)
		}
	}
	slices.SortFunc(p.nodes, func(a, b planNode) int { return cmp.Compare(a.name, b.name) })
	for _, w := range p.keep(wants) {
		p.places[w.feed] = p.choose(w, len(wants))
	}
	return p
}

// ranked is a feed with what the plan knows of it.
type ranked struct {
	feed   broker.FeedID
	hash   uint64
	holder int // index of the node that holds it, −1 = none of the plan's
	rank   int // nodes that the rendezvous prefers to the holder
}

// keep leaves feeds with their holders, each up to its share, and returns those that need another place, in hash order.
func (p *Plan) keep(wants []Want) []ranked {
	all := make([]ranked, 0, len(wants))
	for _, w := range wants {
		r := ranked{feed: w.Feed, hash: hashText(w.Feed.String()), holder: -1}
		if w.Holder != "" {
			r.holder = slices.IndexFunc(p.nodes, func(n planNode) bool { return n.name == w.Holder })
		}
		if r.holder >= 0 {
			mine := p.score(r.holder, r.hash)
			for i := range p.nodes {
				if i != r.holder && p.score(i, r.hash) > mine {
					r.rank++
				}
			}
		}
		all = append(all, r)
	}
	// Who must give something gives what belongs elsewhere most.
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.hash, b.hash), cmp.Compare(a.feed.String(), b.feed.String()))
	})
	var rest []ranked
	for _, r := range all {
		if r.holder < 0 || p.nodes[r.holder].count >= p.share(r.holder, len(wants)) {
			rest = append(rest, r)
			continue
		}
		p.nodes[r.holder].count++
		p.places[r.feed] = Place{Owner: p.nodes[r.holder].name, Standby: p.standby(r.holder, r.hash)}
	}
	slices.SortFunc(rest, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.feed.String(), b.feed.String()))
	})
	return rest
}

// share is how many of total feeds node i may have.
func (p *Plan) share(i, total int) int {
	n := &p.nodes[i]
	bound := math.Ceil(overload * float64(total) * float64(n.capacity) / p.weight)
	return min(n.capacity, int(bound))
}

// choose places one feed of total.
func (p *Plan) choose(r ranked, total int) Place {
	best := -1
	for i := range p.nodes {
		if p.nodes[i].count < p.share(i, total) && (best < 0 || p.score(i, r.hash) > p.score(best, r.hash)) {
			best = i
		}
	}
	if best < 0 {
		return Place{}
	}
	p.nodes[best].count++
	return Place{Owner: p.nodes[best].name, Standby: p.standby(best, r.hash)}
}

// standby is the node that the rendezvous prefers of all but the owner.
func (p *Plan) standby(owner int, feed uint64) string {
	best := -1
	for i := range p.nodes {
		if i != owner && (best < 0 || p.score(i, feed) > p.score(best, feed)) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return p.nodes[best].name
}

// Of returns where the plan has f; the zero Place if it has not.
func (p *Plan) Of(f broker.FeedID) Place { return p.places[f] }

// Add places one more feed, as if it had been wanted before, without moving others; a feed already placed stays.
func (p *Plan) Add(f broker.FeedID) Place {
	if at, ok := p.places[f]; ok && at.Owner != "" {
		return at
	}
	at := p.choose(ranked{feed: f, hash: hashText(f.String())}, len(p.places)+1)
	p.places[f] = at
	return at
}

// First is the node that the rendezvous prefers for f, whatever its load: who speaks for a feed that runs nowhere. "" if
// there is no node.
func (p *Plan) First(f broker.FeedID) string { return p.standby(-1, hashText(f.String())) }

// score is node i's weight in the rendezvous for a feed: the highest wins. Equal scores fall to the first name.
func (p *Plan) score(i int, feed uint64) float64 {
	// 53 bits, as a number in (0, 1): then −weight/ln is a weighted draw.
	h := (float64(mix(p.nodes[i].hash^feed)>>11) + 0.5) / (1 << 53)
	return -float64(p.nodes[i].capacity) / math.Log(h)
}

// hashText is FNV-1a with its bits spread: the same on every node and in every version.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix spreads every bit of x over all bits.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
