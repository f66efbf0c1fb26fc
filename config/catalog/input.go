package catalog

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// decodeKinds are the slugs of a document that could not be read; while there is one, its meaning is not judged.
var decodeKinds = []string{doc.TypeTooLarge, doc.TypeInvalidJSON, doc.TypeInvalidYAML, doc.TypeTooDeep, doc.TypeDuplicateKey, doc.TypeUnknownField}

// asProblem makes one answer of all that is wrong: of one slug, or invalid-resource with the slug of each part.
func asProblem(errs doc.Errors) error {
	if len(errs) == 0 {
		return nil
	}
	if unread := slices.DeleteFunc(slices.Clone(errs), func(e *doc.Error) bool { return !slices.Contains(decodeKinds, e.Type) }); len(unread) > 0 {
		errs = unread
	}
	all := errs
	if listed, ok := errs.Err().(doc.Errors); ok { //nolint:errorlint // made a line above
		all = listed // sorted, and bounded
	}
	kind := problem.Kind(all[0].Type)
	e := &problem.Error{Err: all}
	for _, one := range all {
		if one.Type == "" {
			one.Type = doc.TypeInvalidValue
		}
		if problem.Kind(one.Type) != kind {
			kind = InvalidResource
		}
		e.Errors = append(e.Errors, problem.Part{Pointer: one.Pointer, Line: one.Line, Column: one.Column, Type: one.Type, Reason: one.Message})
	}
	for _, first := range decodeKinds { // of several that could not be read, the worst names the answer
		if kind == InvalidResource && slices.ContainsFunc(all, func(x *doc.Error) bool { return x.Type == first }) {
			kind = problem.Kind(first)
		}
	}
	e.Kind, e.Detail = kind, "The definition has "+count(len(all), "error")+"."
	if len(all) == 1 {
		e.Detail = strings.TrimPrefix(all[0].Pointer+" ", " ") + all[0].Message
	}
	return e
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// input is one definition as a caller gave it.
type input struct {
	definition
	unread             doc.Errors // wrong values that did not stop the decoder
	noState, noDefault bool       // absent, so that what is stored stays
	noTopics           bool
}

// read decodes exactly one definition.
func (m *Manager) read(src Source) (input, error) {
	list, err := m.readAll(src)
	if err != nil {
		return input{}, err
	}
	if len(list) != 1 {
		return input{}, &problem.Error{Kind: InvalidValue, Detail: "Exactly one definition is expected, not " + fmt.Sprint(len(list)) + "."}
	}
	return list[0], nil
}

// readAll decodes the definitions of a source. The error is about what could not be read at all.
func (m *Manager) readAll(src Source, others ...string) ([]input, error) {
	defs, errs := decode(src, others...)
	for _, e := range errs {
		if slices.Contains(decodeKinds, e.Type) {
			return nil, asProblem(errs)
		}
	}
	if len(defs) == 0 {
		return nil, asProblem(errs)
	}
	out := make([]input, len(defs))
	for i, def := range defs {
		spec := def.doc.Root.Get("spec")
		absent := func(key string) bool {
			if spec == nil {
				return true
			}
			n := spec.Get(key)
			return n == nil || n.Kind == doc.Null
		}
		out[i] = input{definition: def, unread: errs, noState: absent("state"), noDefault: absent("default"), noTopics: absent("topics")}
	}
	return out, nil
}

// examine judges one definition by itself. plans are there beside those that are stored.
func (m *Manager) examine(def definition, unread doc.Errors, plans []string) (warnings []*doc.Error, err error) {
	c := checker{d: def.doc, api: def.api, loops: m.opt.Loops}
	c.check()
	c.plans()
	m.offered(&c, plans)
	errs := append(slices.Clone(unread), c.errs.Beside(unread)...)
	for i, g := range def.api.Spec.EdgeGroups {
		if len(m.opt.Groups) > 0 && !slices.Contains(m.opt.Groups, g) {
			c.warn("unknown-group", doc.Join("/spec/edgeGroups", i), "no edge is known to be of group %s", g)
		}
	}
	return c.warns, asProblem(errs)
}

// plans asks for a plan where clients need a subscription: a published API with a secured topic.
func (c *checker) plans() {
	s := &c.api.Spec
	if s.State.Runs() && s.State != StatePrototyped && !c.api.Open() && len(s.Plans) == 0 {
		c.fail("not-publishable", "/spec/plans", "must name a plan in state %s while a topic needs a credential", s.State)
	}
}

// restricted refuses what only administrators may set. before is nil for a new API.
func restricted(w Write, before, api *API) error {
	if w.By.Admin {
		return nil
	}
	var had API
	if before != nil {
		had = *before
	}
	if api.Spec.Upstream.TLS.InsecureSkipVerify && !had.Spec.Upstream.TLS.InsecureSkipVerify {
		return forbidden("/spec/upstream/tls/insecureSkipVerify", "can be set by an administrator only")
	}
	if api.Metadata.Owner != w.By.Name && api.Metadata.Owner != had.Metadata.Owner {
		return forbidden("/metadata/owner", "can be somebody else for an administrator only")
	}
	return nil
}

func forbidden(pointer, reason string) error {
	return &problem.Error{Kind: Forbidden, Detail: pointer + " " + reason,
		Errors: []problem.Part{{Pointer: pointer, Type: string(Forbidden), Reason: reason}}}
}

// clashes finds what api claims that another API of s has. except is the token of what api takes the place of, "" = it is new.
func (s *seen) clashes(api *API, except string, by Actor) doc.Errors {
	return s.clashesOf(definition{api: api}, map[string]*API{except: nil}, by)
}

// clashesOf is clashes with other APIs in the place of those that instead names by token; nil takes one away.
func (s *seen) clashesOf(def definition, instead map[string]*API, by Actor) doc.Errors {
	defs := make([]definition, 0, len(s.apis)+1)
	secret := map[string]bool{}
	for token, e := range s.apis {
		api := e.rec.API
		if other, replaced := instead[token]; replaced {
			if api = other; api == nil {
				continue
			}
		}
		if api.Spec.Visibility == VisibilityPrivate && api.Metadata.Owner != by.Name && !by.Admin {
			secret[api.ID()] = true
		}
		defs = append(defs, definition{api: api})
	}
	errs := checkBundle(append(defs, def))
	for _, e := range errs {
		for id := range secret {
			if strings.Contains(e.Message, id) {
				e.Message = "is taken by another API"
			}
		}
	}
	return errs
}
