package edge

import (
	"time"

	"sluice/internal/access"
)

// deal is what the plans of a stream fix when it begins: how it is metered and shaped cannot be changed under it. How much a plan gives, and
// what happens at its end, can.
type deal struct {
	grant   string        // id of the subscription whose events are counted, "" = they are not
	app     bool          // the application's own plan counts them, too
	rate    access.Rate   // zero = not shaped
	longest time.Duration // of a stream; zero = no limit
}

// deal is what one who began now would have.
func (x ask) deal() (d deal) {
	if g := x.grant(); g != nil {
		if plan := x.snap.Plan(g.Plan); plan != nil {
			d.longest = plan.MaxDuration
			if plan.Quota.Events > 0 {
				d.grant = g.ID
			}
			if plan.Enforce && plan.Rate.Events > 0 && plan.Rate.Per > 0 {
				d.rate = plan.Rate
			}
		}
	}
	if a := x.snap.Application(x.p.App); a != nil {
		own := x.snap.Plan(a.Plan)
		d.app = own != nil && own.Quota.Events > 0
	}
	return d
}

// serves tells whether a stream that began by d may go on where now is what it would have: nothing is counted less, or lasts longer, than its
// plans want. One that is counted more goes on: its buckets know no limit then.
func (d deal) serves(now deal) bool {
	return (now.grant == "" || now.grant == d.grant) && (d.app || !now.app) && d.rate == now.rate &&
		(now.longest == 0 || d.longest > 0 && d.longest <= now.longest)
}
