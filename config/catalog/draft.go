package catalog

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// draft is one API version being changed within a plan.
type draft struct {
	p       *plan
	m       *Manager
	token   string
	old     *entryAPI // nil = new
	st      stored
	api     *API                      // working copy, state and default included
	cuts    map[int]*json.RawMessage  // revisions that the change adds
	drops   []int                     // revisions that it removes
	find    func(n int) (*API, error) // a revision's definition, those of cuts too
	applied bool                      // by Apply: it remembers what it wrote
}

// edit begins a change of an API that exists. NotFound; VersionMismatch if it is not what the caller saw.
func (m *Manager) edit(p *plan, id string) (*draft, error) {
	e := p.seen.find(id)
	if e == nil {
		return nil, noSuchAPI(id)
	}
	if p.by.Expect > 0 && e.rec.Rev != p.by.Expect {
		return nil, &problem.Error{Kind: VersionMismatch, Detail: "The API was changed meanwhile."}
	}
	return m.draftOf(p, e), nil
}

func (m *Manager) draftOf(p *plan, e *entryAPI) *draft {
	api := *e.rec.API // its lists are shared: they are replaced, never written
	d := &draft{p: p, m: m, token: apiToken(api.Name(), api.Version()), old: e, st: e.stored, api: &api}
	d.st.Deployments = maps.Clone(e.Deployments)
	d.st.Revisions, d.st.History = slices.Clone(e.Revisions), slices.Clone(e.History)
	d.st.Gone = maps.Clone(e.Gone)
	d.begin()
	return d
}

// create begins a new API.
func (m *Manager) create(p *plan, api *API) *draft {
	d := &draft{p: p, m: m, token: apiToken(api.Name(), api.Version()), api: api}
	d.st = stored{Schema: schemaNow, UID: randomHex(), State: StateCreated, Next: 1, CreatedAt: p.now, CreatedBy: p.by.By.Name}
	p.drops = m.opt.Subscriptions != nil && m.opt.Subscriptions.Count(api.Name(), api.Version()) > 0
	d.begin()
	return d
}

func (d *draft) begin() {
	d.cuts = map[int]*json.RawMessage{}
	d.find = func(n int) (*API, error) {
		if text, cut := d.cuts[n]; cut {
			return parseDefinition(*text)
		}
		_, api, err := d.p.seen.definition(d.token, &d.st, n)
		return api, err
	}
}

// log adds one line to the history.
func (d *draft) log(h HistoryEntry) {
	h.At, h.By, h.Comment = d.p.now, d.p.by.By.Name, d.p.by.Comment
	d.st.History = append(d.st.History, h)
	if over := len(d.st.History) - maxHistory; over > 0 {
		d.st.History = slices.Clone(d.st.History[over:])
	}
}

// cut makes the working copy a revision and returns its number: the newest one if that says the same.
func (d *draft) cut(auto bool, description string) (int, error) {
	text, err := frozenOf(d.api)
	if err != nil {
		return 0, err
	}
	sum := sumOf(text)
	if last := len(d.st.Revisions) - 1; auto && last >= 0 && d.st.Revisions[last].SHA256 == sum {
		return d.st.Revisions[last].N, nil
	}
	if err := d.room(); err != nil {
		return 0, err
	}
	n := d.st.Next
	d.st.Next++
	d.st.Revisions = append(d.st.Revisions, RevisionInfo{N: n, Auto: auto, Description: description, By: d.p.by.By.Name, At: d.p.now, SHA256: sum})
	d.cuts[n] = &text
	d.p.result.Revision = n
	return n, nil
}

// room lets the oldest automatic revision go that no group serves, if there are as many as may be.
func (d *draft) room() error {
	for len(d.st.Revisions) >= d.m.opt.MaxRevisions {
		i := slices.IndexFunc(d.st.Revisions, func(r RevisionInfo) bool { return r.Auto && !d.st.deployed(r.N) })
		if i < 0 {
			return &problem.Error{Kind: RevisionLimit, Detail: "There are as many revisions as may be; delete one that is not deployed."}
		}
		d.drop(i)
	}
	return nil
}

// drop removes the i-th revision.
func (d *draft) drop(i int) {
	n := d.st.Revisions[i].N
	d.st.Revisions = slices.Delete(d.st.Revisions, i, i+1)
	if _, mine := d.cuts[n]; mine {
		delete(d.cuts, n)
		return
	}
	d.drops = append(d.drops, n)
}

// serve cuts a revision and deploys it to the edge groups of the working copy, if it says something else than they serve.
func (d *draft) serve() error {
	n, err := d.cut(true, "")
	if err != nil {
		return err
	}
	groups := map[string]int{}
	for _, g := range d.api.Spec.EdgeGroups {
		groups[g] = n
	}
	d.st.Deployments = groups
	return nil
}

// examine judges the working copy by itself, with positions of doc, if any.
func (d *draft) examine(from definition, unread doc.Errors) error {
	warnings, err := d.m.examine(from, unread, d.p.by.Plans)
	d.p.result.Warnings = warnings
	return err
}

// alone checks the working copy against all other APIs; for what could collide the change is made through the gate.
func (d *draft) alone(from *doc.Document) error {
	d.p.gated = true
	errs := d.p.seen.clashesOf(definition{api: d.api, doc: from}, map[string]*API{d.token: nil}, d.p.by.By)
	return asProblem(errs)
}

// finish adds what changed to the plan, and fills in its result if the draft is what the caller asked for.
func (d *draft) finish(main bool) error {
	text, err := definitionOf(d.api)
	if err != nil {
		return err
	}
	d.st.Definition, d.st.State, d.st.Default = text, d.api.Spec.State, d.api.Spec.Default
	if d.applied {
		d.st.AppliedHash = sumOf(text)
	}
	same := d.old != nil && len(d.cuts) == 0 && len(d.drops) == 0 && d.unchanged()
	after, err := newEntry(&d.st, d.api, 0, d.m.opt.Public)
	if err != nil {
		return err
	}
	if d.old != nil {
		after.rec.Rev = d.old.rec.Rev
	}
	if err := d.judge(after, main); err != nil || same {
		return err
	}
	d.st.Request, d.st.UpdatedAt, d.st.UpdatedBy = d.p.req, d.p.now, d.p.by.By.Name
	for n, text := range d.cuts {
		if err := d.p.write(revisionKey(d.token, n), storedRevision{Schema: schemaNow, UID: d.st.UID, N: n, Definition: *text}); err != nil {
			return err
		}
	}
	if err := d.p.write(apiPrefix+d.token, d.st); err != nil {
		return err
	}
	for _, n := range d.drops {
		d.p.remove(revisionKey(d.token, n))
	}
	if main {
		d.p.result.Changed = true
	}
	return nil
}

// unchanged tells whether everything but the history is as it was.
func (d *draft) unchanged() bool {
	o := &d.old.stored
	return bytes.Equal(o.Definition, d.st.Definition) && o.State == d.st.State && o.Default == d.st.Default &&
		o.KeepsClients == d.st.KeepsClients && o.AppliedHash == d.st.AppliedHash && maps.Equal(o.Deployments, d.st.Deployments)
}

// judge fills in diff and impact, and asks for the stream of what will run.
func (d *draft) judge(after *entryAPI, main bool) error {
	impact, served, err := d.impact()
	if err != nil {
		return err
	}
	if served != nil && served.Spec.State.Runs() {
		d.p.needs = append(d.p.needs, served)
	}
	if !main {
		d.p.result.Impact.join(impact)
		return nil
	}
	var before []byte
	if d.old != nil {
		if before, err = shownOf(d.old.rec.API); err != nil {
			return err
		}
	}
	now, err := shownOf(d.api)
	if err != nil {
		return err
	}
	diff, err := diffOf(before, now)
	d.p.result.Record, d.p.result.Diff = after.rec, diff
	d.p.result.Impact.join(impact)
	return err
}

// shownOf is a definition with state and default.
func shownOf(api *API) ([]byte, error) {
	bare := *api
	bare.Status = nil
	return doc.Marshal(&bare)
}

// impact compares what each group serves before and after; served is what all groups together do after.
func (d *draft) impact() (Impact, *API, error) {
	total := Impact{StreamsEnded: []Ended{}, FeedsReconnected: []string{}}
	served, err := servedAPI(&d.st, d.api, d.find, "", d.m.opt.Options)
	if err != nil || d.old == nil {
		return total, served, err
	}
	findOld := func(n int) (*API, error) {
		_, api, err := d.p.seen.definition(d.token, &d.old.stored, n)
		return api, err
	}
	before, err := servedAPI(&d.old.stored, d.old.rec.API, findOld, "", d.m.opt.Options)
	if err != nil {
		return total, nil, err
	}
	d.st.noteGone(before, served, d.p.now)
	for g := range d.old.Deployments {
		was, err := servedAPI(&d.old.stored, d.old.rec.API, findOld, g, d.m.opt.Options)
		if err != nil {
			return total, nil, err
		}
		is, err := servedAPI(&d.st, d.api, d.find, g, d.m.opt.Options)
		if err != nil {
			return total, nil, err
		}
		total.join(impactOf(was, is, EndUndeployed))
	}
	return total, served, nil
}
