package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// What a bundle wrote last is remembered by its sum, so that the next one does not undo what somebody did elsewhere since. A state is not
// part of it, as with APIs: whoever blocks something blocks it on purpose, and a bundle says so if it means to end that.

// Edited tells whether a plan is another one than a bundle wrote last.
func (p *Plan) Edited() bool { return p.Applied != "" && p.Applied != p.sum() }

// Edited tells whether an application is another one than a bundle wrote last.
func (a *Application) Edited() bool { return a.Applied != "" && a.Applied != a.sum() }

// Edited tells whether a subscription is another one than a bundle wrote last.
func (g *Grant) Edited() bool { return g.Applied != "" && g.Applied != g.sum() }

// Kept tells whether a plan is what a bundle wrote last; applying it again changes nothing.
func (p *Plan) Kept() bool { return p.Applied == p.sum() }

// Kept tells whether an application is what a bundle wrote last.
func (a *Application) Kept() bool { return a.Applied == a.sum() }

// Kept tells whether a subscription is what a bundle wrote last.
func (g *Grant) Kept() bool { return g.Applied == g.sum() }

func (p *Plan) sum() string {
	c := *p
	c.Applied = ""
	return recordSum(c)
}

func (a *Application) sum() string {
	return recordSum(Application{Name: a.Name, DisplayName: a.DisplayName, Description: a.Description, Owner: a.Owner, Clients: a.Clients, Plan: a.Plan, Labels: a.Labels})
}

func (g *Grant) sum() string {
	return recordSum(Grant{Plan: g.Plan, Topics: g.Topics, Expires: g.Expires})
}

// recordSum is the sum of a record's text; equal records have the same.
func recordSum(record any) string {
	text, err := json.Marshal(record)
	if err != nil {
		panic("access: a record holds only texts, numbers and times: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// applied is the sum to keep: that of the record as a bundle writes it, else the one that it had.
func (w Write) applied(sum, had string) string {
	if w.Applied {
		return sum
	}
	return had
}
