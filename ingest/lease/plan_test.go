package lease

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/broker"
)

// world draws nodes with room for all feeds together, and feeds.
func world(t *rapid.T) ([]Node, []Want) {
	var nodes []Node
	for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
		nodes = append(nodes, Node{Name: fmt.Sprintf("n%d", i), Boot: "b", Capacity: rapid.SampledFrom([]int{1000, 2000, 5000}).Draw(t, "capacity")})
	}
	var wants []Want
	for i := range rapid.IntRange(0, 300).Draw(t, "feeds") {
		wants = append(wants, Want{Feed: broker.NewFeedID("market", "1", fmt.Sprintf("/q/%d", i), "")})
	}
	return nodes, wants
}

// holding is wants with the owners that a plan gave.
func holding(p *Plan, wants []Want) []Want {
	out := make([]Want, len(wants))
	for i, w := range wants {
		out[i] = Want{Feed: w.Feed, Holder: p.Of(w.Feed).Owner}
	}
	return out
}

// within checks that every feed has a place and no node more than its share.
func within(t *rapid.T, p *Plan, nodes []Node, wants []Want) {
	count, weight := map[string]int{}, 0.0
	for _, n := range nodes {
		weight += float64(n.Capacity)
	}
	for _, w := range wants {
		at := p.Of(w.Feed)
		if at.Owner == "" {
			t.Fatalf("%s has no place", w.Feed)
		}
		if (at.Standby == "") != (len(nodes) == 1) || at.Standby == at.Owner {
			t.Fatalf("%s: owner %q, standby %q of %d nodes", w.Feed, at.Owner, at.Standby, len(nodes))
		}
		count[at.Owner]++
	}
	for _, n := range nodes {
		if most := math.Ceil(1.25 * float64(len(wants)) * float64(n.Capacity) / weight); float64(count[n.Name]) > most {
			t.Fatalf("%s has %d of %d feeds, its bound is %v", n.Name, count[n.Name], len(wants), most)
		}
	}
}

func moved(a, b *Plan, wants []Want) (n int) {
	for _, w := range wants {
		if a.Of(w.Feed).Owner != b.Of(w.Feed).Owner {
			n++
		}
	}
	return n
}

// The plan is within its bound, the same for the same input in any order, and stays as it is once it is carried out.
func TestPlanIsBoundedStableAndPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, wants := world(t)
		p := NewPlan(nodes, wants)
		within(t, p, nodes, wants)
		again := NewPlan(rapid.Permutation(nodes).Draw(t, "nodes again"), rapid.Permutation(wants).Draw(t, "feeds again"))
		if n := moved(p, again, wants); n != 0 {
			t.Fatalf("%d feeds elsewhere for the same input in another order", n)
		}
		if n := moved(p, NewPlan(nodes, holding(p, wants)), wants); n != 0 {
			t.Fatalf("%d feeds move though nothing changed", n)
		}
	})
}

// When a node goes only its feeds move, those of which this is the warm standby to the standby as far as it has room.
func TestPlanMovesOnlyWhatADeadNodeHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, wants := world(t)
		if len(nodes) < 2 {
			t.Skip()
		}
		p := NewPlan(nodes, wants)
		dead := rapid.IntRange(0, len(nodes)-1).Draw(t, "dead")
		name := nodes[dead].Name
		left := append(append([]Node(nil), nodes[:dead]...), nodes[dead+1:]...)
		held := holding(p, wants)
		for i := range held {
			if held[i].Holder == name {
				held[i].Holder = ""
			}
		}
		next := NewPlan(left, held)
		within(t, next, left, wants)
		for _, w := range wants {
			was, is := p.Of(w.Feed).Owner, next.Of(w.Feed).Owner
			if was != name && was != is {
				t.Fatalf("%s moved from %s to %s, and %s died", w.Feed, was, is, name)
			}
		}
	})
}

// When a node joins, feeds move to it alone, and no more than the others have above their share.
func TestPlanMovesToANewNodeOnlyWhatIsTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, wants := world(t)
		p := NewPlan(nodes, wants)
		more := append(append([]Node(nil), nodes...), Node{Name: "new", Boot: "b", Capacity: 2000})
		next := NewPlan(more, holding(p, wants))
		within(t, next, more, wants)
		weight, least := 0.0, 0
		count := map[string]int{}
		for _, n := range more {
			weight += float64(n.Capacity)
		}
		for _, w := range wants {
			count[p.Of(w.Feed).Owner]++
		}
		for _, n := range nodes {
			least += max(0, count[n.Name]-int(math.Ceil(1.25*float64(len(wants))*float64(n.Capacity)/weight)))
		}
		if n := moved(p, next, wants); n != least {
			t.Fatalf("%d feeds move, %d are too much", n, least)
		}
	})
}

// Feeds added one by one stay where they are, and what two nodes say of a feed that is nowhere is the same.
func TestPlanAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, wants := world(t)
		p, q := NewPlan(nodes, nil), NewPlan(nodes, nil)
		for _, w := range wants {
			at := p.Add(w.Feed)
			if at != q.Add(w.Feed) || at != p.Add(w.Feed) || at != p.Of(w.Feed) || p.First(w.Feed) == "" {
				t.Fatalf("%s: %v", w.Feed, at)
			}
		}
		within(t, p, nodes, wants)
		if n := moved(p, NewPlan(nodes, holding(p, wants)), wants); n != 0 {
			t.Fatalf("%d feeds move when the whole plan is made", n)
		}
	})
}

func TestPlanKnowsCapacityAndDrain(t *testing.T) {
	var wants []Want
	for i := range 10 {
		wants = append(wants, Want{Feed: broker.NewFeedID("market", "1", fmt.Sprintf("/q/%d", i), "")})
	}
	p := NewPlan([]Node{{Name: "a", Capacity: 3}, {Name: "b", Capacity: 3}, {Name: "c"}, {Name: "d", Capacity: 9, Draining: true}}, wants)
	count := map[string]int{}
	for _, w := range wants {
		count[p.Of(w.Feed).Owner]++
	}
	if count["a"] != 3 || count["b"] != 3 || count[""] != 4 {
		t.Errorf("%v: two nodes have room for three feeds each", count)
	}
	if at := NewPlan(nil, wants).Of(wants[0].Feed); at != (Place{}) {
		t.Errorf("%v without nodes", at)
	}
}

// Weight counts: a node with twice the capacity is preferred for about twice as many feeds.
func TestPlanIsWeighted(t *testing.T) {
	p := NewPlan([]Node{{Name: "a", Capacity: 1000}, {Name: "b", Capacity: 2000}}, nil)
	n := 0
	for i := range 3000 {
		if p.First(broker.NewFeedID("market", "1", fmt.Sprintf("/q/%d", i), "")) == "b" {
			n++
		}
	}
	if n < 1900 || n > 2100 { // 2000 ± 4 deviations of 26
		t.Errorf("%d of 3000 feeds prefer the node that is twice as large", n)
	}
}
