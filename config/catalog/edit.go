package catalog

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// Create adds an API in state CREATED, or PROTOTYPED or PUBLISHED if it asks for that. src holds one definition. Without owner the
// actor is.
//
// invalid-json, invalid-yaml, unknown-field, duplicate-key, too-deep (400), document-too-large (413); the slugs of the rules such
// as invalid-name, invalid-context, invalid-topic (422), NotPublishable (422, the whole list), InvalidResource if several differ (then
// Errors have a Type each); TopicConflict, VersionConflict, ContextConflict, ContextDiffers (409); Forbidden for what only
// administrators may set.
func (m *Manager) Create(ctx context.Context, w Write, src Source) (Result, error) {
	in, err := m.read(src)
	if err != nil {
		return Result{}, err
	}
	return m.change(ctx, w, func(p *plan) error { return m.createFrom(p, in, false) })
}

// createFrom adds the API of a definition.
func (m *Manager) createFrom(p *plan, in input, applied bool) error {
	api := *in.api
	if api.Spec.Topics == nil {
		api.Spec.Topics = []Topic{anyTopic()}
	}
	if api.Metadata.Owner == "" {
		api.Metadata.Owner = p.by.By.Name
	}
	d := m.create(p, &api)
	d.applied = applied
	if err := d.examine(definition{&api, in.doc}, in.unread); err != nil {
		return err
	}
	if err := restricted(p.by, nil, &api); err != nil {
		return err
	}
	if p.by.Expect > 0 {
		return noSuchAPI(api.ID())
	}
	if p.seen.apis[d.token] != nil {
		return versionTaken(&api, "/spec/version")
	}
	if err := d.alone(in.doc); err != nil {
		return err
	}
	want := api.Spec.State
	api.Spec.State = StateCreated
	d.log(HistoryEntry{Action: "create", To: StateCreated})
	if want != StateCreated {
		if err := d.moveTo(want); err != nil {
			return err
		}
	}
	return d.finish(true)
}

func versionTaken(api *API, pointer string) error {
	return &problem.Error{Kind: VersionConflict, Detail: "The API " + clip(api.ID()) + " exists already.",
		Errors: []problem.Part{{Pointer: pointer, Type: string(VersionConflict), Reason: "exists already"}}}
}

// Update puts the definition in the place of the working copy. Absent state, default and topics stay; another state makes the one
// transition that leads there. Of a live API with deploy: auto the change is served at once.
//
// As Create; InvalidValue for another name, version or context; TransitionNotAllowed, APIRetired (409); RevisionLimit.
func (m *Manager) Update(ctx context.Context, w Write, id string, src Source) (Result, error) {
	in, err := m.read(src)
	if err != nil {
		return Result{}, err
	}
	return m.change(ctx, w, func(p *plan) error { return m.updateFrom(p, id, in, false) })
}

// updateFrom puts a definition in the place of an API's working copy.
func (m *Manager) updateFrom(p *plan, id string, in input, applied bool) error {
	d, err := m.edit(p, id)
	if err != nil {
		return err
	}
	d.applied = applied
	before, api := d.old.rec.API, *in.api
	if in.noTopics {
		api.Spec.Topics = before.Spec.Topics
	}
	if in.noDefault {
		api.Spec.Default = before.Spec.Default
	}
	if in.noState {
		api.Spec.State = before.Spec.State
	}
	if api.Metadata.Owner == "" {
		api.Metadata.Owner = before.Metadata.Owner
	}
	return d.become(&api, in.doc, in.unread, HistoryEntry{Action: "update"})
}

// become makes api the working copy, with all that follows from it.
func (d *draft) become(api *API, from *doc.Document, unread doc.Errors, h HistoryEntry) error {
	before := d.old.rec.API
	if err := d.examine(definition{api, from}, unread); err != nil {
		return err
	}
	if err := immutable(before, api, from); err != nil {
		return err
	}
	if err := restricted(d.p.by, before, api); err != nil {
		return err
	}
	want := api.Spec.State
	d.api = api
	d.api.Spec.State = before.Spec.State
	text, err := definitionOf(d.api)
	if err != nil {
		return err
	}
	edited, moved := !bytes.Equal(text, d.old.stored.Definition), api.Spec.Default != before.Spec.Default
	if before.Spec.State == StateRetired && (edited || moved || want != StateRetired) {
		return readOnly()
	}
	if api.Spec.Default || before.Spec.Default {
		if err := d.alone(from); err != nil {
			return err
		}
	}
	if edited && want == before.Spec.State && want.Runs() && api.Spec.Deploy == DeployAuto {
		if err := d.serve(); err != nil {
			return err
		}
		if h.Revision == 0 {
			h.Revision = d.p.result.Revision
		}
	}
	if edited || moved {
		d.log(h)
	}
	if want != before.Spec.State {
		if err := d.moveTo(want); err != nil {
			return err
		}
	}
	return d.finish(true)
}

func readOnly() error {
	return &problem.Error{Kind: APIRetired, Detail: "A retired API is read-only."}
}

// immutable refuses another name, version or context.
func immutable(before, api *API, from *doc.Document) error {
	var errs doc.Errors
	for _, f := range []struct{ pointer, old, now string }{
		{"/metadata/name", before.Name(), api.Name()}, {"/spec/version", before.Version(), api.Version()},
		{"/spec/context", before.Spec.Context, api.Spec.Context},
	} {
		if f.old != f.now {
			errs = append(errs, from.Errorf(f.pointer, "cannot be changed; it is %s", clip(f.old)))
		}
	}
	return asProblem(errs)
}

// Delete removes an API with its revisions. APILive (409) unless it is CREATED, PROTOTYPED or RETIRED, or force is set by an
// administrator; HasSubscriptions (409) unless Write.Cascade is set.
func (m *Manager) Delete(ctx context.Context, w Write, id string, force bool) (Result, error) {
	return m.change(ctx, w, func(p *plan) error { return m.deleteFrom(p, id, force) })
}

func (m *Manager) deleteFrom(p *plan, id string, force bool) error {
	d, err := m.edit(p, id)
	if err != nil {
		return err
	}
	state := d.st.State
	if live := state == StatePublished || state == StateBlocked || state == StateDeprecated; live && !(force && p.by.By.Admin) {
		return &problem.Error{Kind: APILive, Detail: "An API in state " + string(state) + " cannot be deleted; retire it first."}
	}
	if err := m.unsubscribed(p, d.api); err != nil {
		return err
	}
	p.gated = true
	p.remove(apiPrefix + d.token)
	for _, r := range d.st.Revisions {
		p.remove(revisionKey(d.token, r.N))
	}
	served, err := servedAPI(&d.st, d.api, d.find, "", m.opt.Options)
	if err != nil && !errors.Is(err, errRevisionMissing) {
		return err
	}
	p.result.Impact.join(impactOf(served, nil, EndAPIDeleted))
	old, err := shownOf(d.api)
	if err != nil {
		return err
	}
	p.result.Record, p.result.Changed = d.old.rec, true
	p.result.Diff = []Change{{Op: "remove", Pointer: "", Old: old}}
	p.gone = []*API{d.api}
	return nil
}

// SetTopics puts a list of topics in the place of all. src holds the list. As Update.
func (m *Manager) SetTopics(ctx context.Context, w Write, id string, src Source) (Result, error) {
	topics, at, err := readTopics(src, true)
	if err != nil {
		return Result{}, err
	}
	return m.changeTopics(ctx, w, id, at, func([]Topic) ([]Topic, error) { return topics, nil })
}

// AddTopic adds one topic at the end. src holds it. As Update; TopicConflict if the name is there.
func (m *Manager) AddTopic(ctx context.Context, w Write, id string, src Source) (Result, error) {
	topics, _, err := readTopics(src, false)
	if err != nil {
		return Result{}, err
	}
	return m.changeTopics(ctx, w, id, nil, func(have []Topic) ([]Topic, error) { return append(have, topics...), nil })
}

// DeleteTopic removes the topic of that name. NotFound; NotPublishable if a live API would have none.
func (m *Manager) DeleteTopic(ctx context.Context, w Write, id, name string) (Result, error) {
	return m.changeTopics(ctx, w, id, nil, func(have []Topic) ([]Topic, error) {
		i := slices.IndexFunc(have, func(t Topic) bool { return t.Name == name })
		if i < 0 {
			return nil, &problem.Error{Kind: problem.NotFound, Detail: "The API has no topic " + clip(name) + "."}
		}
		return slices.Delete(have, i, i+1), nil
	})
}

// changeTopics changes the list of topics; f gets a copy. at has positions of errors, if any.
func (m *Manager) changeTopics(ctx context.Context, w Write, id string, at *doc.Document, f func([]Topic) ([]Topic, error)) (Result, error) {
	return m.change(ctx, w, func(p *plan) error {
		d, err := m.edit(p, id)
		if err != nil {
			return err
		}
		api := *d.api
		if api.Spec.Topics, err = f(slices.Clone(api.Spec.Topics)); err != nil {
			return err
		}
		return d.become(&api, at, nil, HistoryEntry{Action: "update"})
	})
}

// readTopics reads a list of topics, or one of them. The document has the list at /spec/topics.
func readTopics(src Source, list bool) ([]Topic, *doc.Document, error) {
	docs, err := doc.Parse(src.Name, src.Data)
	if err == nil && len(docs) != 1 {
		err = doc.Errors{{File: src.Name, Type: doc.TypeInvalidValue, Message: "must be exactly one document"}}
	}
	if err != nil {
		return nil, nil, asProblem(join(nil, err))
	}
	root := docs[0].Root
	if !list {
		root = &doc.Node{Kind: doc.List, Line: root.Line, Column: root.Column, Items: []*doc.Node{root}}
	}
	wrap := func(key string, n *doc.Node) *doc.Node {
		return &doc.Node{Kind: doc.Map, Line: 1, Column: 1, Fields: []doc.Field{{Key: key, Line: 1, Column: 1, Value: n}}}
	}
	docs[0].Root = wrap("spec", wrap("topics", root)) // what was wrong with its text is told by Decode
	var into struct {
		Spec struct {
			Topics []Topic `json:"topics"`
		} `json:"spec"`
	}
	if err := docs[0].Decode(&into); err != nil {
		return nil, nil, asProblem(join(nil, err))
	}
	if into.Spec.Topics == nil {
		into.Spec.Topics = []Topic{}
	}
	return into.Spec.Topics, docs[0], nil
}
