package admin

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/auth"
	"sluice/internal/doc"
	"sluice/internal/problem"
)

// ValidateAPI implements ServerInterface.
func (s *Server) ValidateAPI(c echo.Context) error {
	src, err := source(c)
	if err != nil {
		return err
	}
	warnings, err := s.catalog.Validate(src)
	var wrong doc.Errors
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	out := Verdict{Valid: err == nil, Errors: findingsOf(wrong, "error"), Warnings: findingsOf(warnings, "warning")}
	return answer(c, http.StatusOK, out)
}

// applied is what happened to one object of a bundle.
type applied struct {
	ID      string           `json:"id"`
	Kind    string           `json:"kind,omitempty"` // "" = API
	Result  string           `json:"result"`
	Rev     uint64           `json:"rev,omitempty"`
	Diff    []catalog.Change `json:"diff,omitempty"`
	Impact  *catalog.Impact  `json:"impact,omitempty"`
	Problem *Problem         `json:"problem,omitempty"`
}

// Apply implements ServerInterface.
func (s *Server) Apply(c echo.Context, params ApplyParams) error {
	src, err := source(c)
	if err != nil {
		return err
	}
	if err := s.mayApply(callerOf(c), src); err != nil {
		return err
	}
	run, err := s.newApply(c, params, src)
	if err != nil {
		return err
	}
	if err := run.all(); err != nil {
		return err
	}
	out := struct {
		DryRun  bool           `json:"dryRun"`
		Results []applied      `json:"results"`
		Counts  map[string]int `json:"counts"`
		Edges   *EdgesReached  `json:"edges,omitempty"`
	}{DryRun: params.DryRun, Results: run.results, Counts: map[string]int{}}
	for _, a := range out.Results {
		out.Counts[a.Result]++
	}
	status := http.StatusOK
	if out.Edges = s.missed(c, run.w, run.apis...); out.Edges != nil {
		status = http.StatusAccepted
	}
	return answer(c, status, out)
}

// applyRun is one bundle being applied.
type applyRun struct {
	applier
	params  ApplyParams
	src     catalog.Source
	w       catalog.Write
	opt     catalog.ApplyOptions
	results []applied
}

// newApply reads and judges a bundle: what is wrong with a document is told before anything is written.
func (s *Server) newApply(c echo.Context, params ApplyParams, src catalog.Source) (*applyRun, error) {
	run := &applyRun{applier: applier{s: s, c: c, set: params.Set, dryRun: params.DryRun, force: params.Force}, params: params, src: src, results: []applied{}}
	var err error
	if run.bundle, err = s.readAccess(src); err != nil {
		return nil, err
	}
	run.w = s.write(c, precondition{}, params.DryRun)
	run.w.Plans = run.bundle.planNames()
	run.opt = catalog.ApplyOptions{Set: params.Set, Prune: params.Prune, Force: params.Force, Others: slices.Collect(maps.Keys(accessKinds))}
	if err := s.catalog.CheckApply(run.w, run.opt, src); err != nil {
		return nil, err
	}
	return run, run.check()
}

// all applies the whole bundle: plans, what is pruned, APIs, applications, subscriptions.
func (run *applyRun) all() error {
	for _, p := range run.bundle.plans {
		out, err := run.plan(p)
		if err != nil {
			return err
		}
		run.add(kindPlan, out)
	}
	if run.opt.Prune {
		for _, out := range run.prune() {
			run.add(out.kind, out.outcome)
		}
	}
	results, err := run.s.catalog.Apply(run.ctx(), run.w, run.opt, run.src)
	if err != nil {
		return err
	}
	for _, a := range results {
		run.apis = append(run.apis, a.ID)
		run.results = append(run.results, run.s.appliedOf(run.c, a))
	}
	for _, w := range run.bundle.applications {
		out, err := run.application(w)
		if err != nil {
			return err
		}
		run.add(kindApplication, out)
	}
	for _, w := range run.bundle.subscriptions {
		out, err := run.subscription(w)
		if err != nil {
			return err
		}
		run.add(kindSubscription, out)
	}
	return nil
}

// add notes what happened to one object.
func (run *applyRun) add(kind string, o outcome) {
	a := applied{ID: o.id, Kind: kind, Result: o.result, Rev: o.rev, Diff: o.diff}
	if o.err != nil {
		a.Problem = run.s.problemIn(run.c, o.err)
	}
	run.results = append(run.results, a)
}

// problemIn is the problem of one object of a bundle.
func (s *Server) problemIn(c echo.Context, err error) *Problem {
	p, kind, _ := problemOf(err, c.Response().Header().Get(echo.HeaderXRequestID))
	s.logFailure(c, err, p.Status, kind, p.Instance)
	return &p
}

func (s *Server) appliedOf(c echo.Context, a catalog.Applied) applied {
	out := applied{ID: a.ID, Result: a.Outcome, Diff: a.Result.Diff}
	if a.Result.Record != nil {
		out.Rev = a.Result.Record.Rev
	}
	if a.Result.Changed {
		out.Impact = &a.Result.Impact
	}
	if a.Err != nil {
		out.Problem = s.problemIn(c, a.Err)
	}
	return out
}

// mayApply checks that a bundle changes no state unless the caller is a publisher, and nothing that the caller does not see.
func (s *Server) mayApply(p auth.Principal, src catalog.Source) error {
	docs, err := doc.Parse(src.Name, src.Data)
	if err != nil {
		return nil // the catalog tells what is wrong with it
	}
	if err := mayApplyAccess(p, docs); err != nil {
		return err
	}
	for _, d := range docs {
		if _, other := accessKinds[textAt(d, "/kind")]; other {
			continue
		}
		name, spec := textAt(d, "/metadata/name"), d.Root.Get("spec")
		held := catalog.StateCreated
		r, err := s.catalog.Get(name + "@" + textAt(d, "/spec/version"))
		if err == nil {
			held = r.API.Spec.State
			if !manages(p, r) {
				return problem.NotFound
			}
		}
		if spec == nil || spec.Get("state") == nil || spec.Get("state").Kind == doc.Null || p.Has(auth.RolePublisher) {
			continue
		}
		if asked := spec.Get("state").Text; State(asked).Valid() && asked != string(held) {
			return publisherOnly()
		}
	}
	return nil
}

// textAt is the text at a pointer, "" if there is none.
func textAt(d *doc.Document, pointer string) string {
	n := d.Root
	for key := range strings.SplitSeq(pointer[1:], "/") {
		if n = n.Get(key); n == nil {
			return ""
		}
	}
	return n.Text
}

// ExportAll implements ServerInterface.
func (s *Server) ExportAll(c echo.Context, params ExportAllParams) error {
	kinds := params.Kinds
	if len(kinds) == 0 {
		kinds = []ExportAllParamsKinds{catalog.KindAPI}
	}
	var out []byte
	for _, part := range []struct {
		kind  ExportAllParamsKinds
		files func(echo.Context, string) ([][]byte, error)
	}{{kindPlan, s.planFiles}, {catalog.KindAPI, s.apiFiles}, {kindApplication, s.applicationFiles}, {kindSubscription, s.subscriptionFiles}} {
		if !slices.Contains(kinds, part.kind) {
			continue
		}
		files, err := part.files(c, params.Label)
		if err != nil {
			return err
		}
		for _, text := range files {
			out = append(append(out, "---\n"...), text...)
		}
	}
	return c.Blob(http.StatusOK, mediaYAML, out)
}

// apiFiles are the APIs that the caller manages, as files that apply takes.
func (s *Server) apiFiles(c echo.Context, label string) ([][]byte, error) {
	p := callerOf(c)
	if !p.Has(auth.RoleCreator) && !p.Has(auth.RolePublisher) {
		return nil, nil
	}
	var out [][]byte
	for _, r := range s.catalog.List() {
		if !manages(p, r) || !matchesLabel(r.API.Metadata.Labels, label) {
			continue
		}
		text, err := definitionFile(r)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// planFiles are the plans. They have no labels.
func (s *Server) planFiles(_ echo.Context, label string) ([][]byte, error) {
	var out [][]byte
	for _, p := range s.access.Snapshot().Records().Plans {
		text, err := fileOf(planOf(p))
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	if label != "" {
		return nil, nil
	}
	return out, nil
}

// applicationFiles are the applications that the caller may change.
func (s *Server) applicationFiles(c echo.Context, label string) ([][]byte, error) {
	var out [][]byte
	for _, a := range s.access.Snapshot().Records().Applications {
		if !owns(callerOf(c), a) || !matchesLabel(a.Labels, label) {
			continue
		}
		text, err := fileOf(applicationOf(a))
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// subscriptionFiles are the subscriptions of those applications, without their ids.
func (s *Server) subscriptionFiles(c echo.Context, label string) ([][]byte, error) {
	snap := s.access.Snapshot()
	var out [][]byte
	for _, g := range snap.Records().Grants {
		a := snap.Application(g.Application)
		if a == nil || !owns(callerOf(c), a) || !matchesLabel(a.Labels, label) {
			continue
		}
		d := s.subscriptionOf(g)
		d.Metadata = SubscriptionMetadata{}
		text, err := fileOf(d)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// fileOf is a definition as YAML.
func fileOf(v any) ([]byte, error) {
	n, err := doc.NodeOf(v)
	if err != nil {
		return nil, err
	}
	return doc.WriteYAML(n)
}

// definitionFile is an API as a file that apply takes: without what the server owns.
func definitionFile(r *catalog.Record) ([]byte, error) {
	d, err := doc.ParseJSON("", r.Definition)
	if err != nil {
		return nil, err
	}
	bare := *d.Root
	bare.Fields = slices.DeleteFunc(slices.Clone(bare.Fields), func(f doc.Field) bool { return f.Key == "status" })
	return doc.WriteYAML(&bare)
}
