package catalog

import (
	"slices"

	"sluice/internal/doc"
)

// Blank returns an API of which nothing is said yet: the defaults that a definition is decoded over. Durations that a definition leaves
// to the process hold a mark of this package; Definition leaves them out.
func Blank() *API {
	a := newAPI()
	a.APIVersion, a.Kind = APIVersion, KindAPI
	return a
}

// Examine tells everything that is wrong with an API that was made without a definition file, by itself: pointers lead into the
// resource, without positions. It normalises spec.context as reading a file does. What clashes with other APIs is told by whoever
// knows those.
func (a *API) Examine(opt Options) (errs, warnings doc.Errors) {
	c := checker{api: a, loops: opt.Loops, forbidden: opt.Forbidden}
	c.check()
	return c.errs, c.warns
}

// Definition returns the API as a definition: a tree in the order of the structs, without status and without what equals a default, so
// that reading it gives an equal API. Equal APIs have equal trees.
func (a *API) Definition() (*doc.Node, error) {
	bare := *a
	bare.APIVersion, bare.Kind, bare.Status = APIVersion, KindAPI, nil
	if bare.Metadata.DisplayName == bare.Metadata.Name {
		bare.Metadata.DisplayName = ""
	}
	if x := bare.AsyncAPI; x != nil && len(x.Info) == 0 && len(x.Schemas) == 0 {
		bare.AsyncAPI = nil
	}
	tree, err := doc.NodeOf(&bare)
	if err != nil {
		return nil, err
	}
	blank, err := doc.NodeOf(newAPI())
	if err != nil {
		return nil, err
	}
	if err := pruneTopics(tree.Get("spec").Get("topics")); err != nil {
		return nil, err
	}
	for _, key := range []string{"metadata", "spec"} {
		prune(tree.Get(key), blank.Get(key))
	}
	return tree, nil
}

// ReadDefinition reads one API out of a tree that Definition made, or another that is written like it. file and the tree's positions are
// used in errors. It decodes only: Examine judges.
func ReadDefinition(file string, tree *doc.Node) (*API, error) {
	a := Blank()
	if err := (&doc.Document{File: file, Root: tree}).Decode(a); err != nil {
		return nil, err
	}
	a.Status = nil
	return a, nil
}

// ReadSource reads and checks the definitions of one source as they are written: what they leave to a process's settings stays so. The
// error, a doc.Errors, has everything that is wrong.
func ReadSource(src Source, opt Options) (apis []*API, warnings doc.Errors, err error) {
	defs, errs := decode(src)
	unread := errs
	for _, def := range defs {
		if def.api.Spec.Topics == nil {
			def.api.Spec.Topics = []Topic{anyTopic()}
		}
		c := checker{d: def.doc, api: def.api, loops: opt.Loops}
		c.check()
		errs = append(errs, c.errs.Beside(unread)...)
		warnings = append(warnings, c.warns...)
		apis = append(apis, def.api)
	}
	errs = append(errs, checkBundle(defs)...)
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	return apis, warnings, nil
}

// pruneTopics takes defaults out of the elements of spec.topics, nil if there are none.
func pruneTopics(topics *doc.Node) error {
	if topics == nil {
		return nil
	}
	var t Topic
	var m Message
	t.SetDefaults()
	m.SetDefaults()
	blankTopic, err := doc.NodeOf(t)
	if err != nil {
		return err
	}
	blankMessage, err := doc.NodeOf(m)
	if err != nil {
		return err
	}
	for _, topic := range topics.Items {
		for _, key := range []string{"params", "retention", "messages"} {
			dropEmpty(topic, key)
		}
		if messages := topic.Get("messages"); messages != nil {
			for _, message := range messages.Items {
				prune(message, blankMessage, "name")
			}
		}
		if params := topic.Get("params"); params != nil {
			params.Fields = slices.DeleteFunc(params.Fields, func(f doc.Field) bool { return len(f.Value.Fields) == 0 })
			dropEmpty(topic, "params")
		}
		prune(topic, blankTopic, "name")
	}
	return nil
}

// prune removes the fields of n that say what their namesake in blank says, but for those in keep.
func prune(n, blank *doc.Node, keep ...string) {
	n.Fields = slices.DeleteFunc(n.Fields, func(f doc.Field) bool {
		same := blank.Get(f.Key)
		if slices.Contains(keep, f.Key) {
			return false
		}
		if same == nil {
			return f.Value.Kind == doc.Map && len(f.Value.Fields) == 0
		}
		if f.Value.Kind == doc.Map && same.Kind == doc.Map {
			prune(f.Value, same)
			return len(f.Value.Fields) == 0
		}
		return equalNodes(f.Value, same)
	})
}

func dropEmpty(n *doc.Node, key string) {
	n.Fields = slices.DeleteFunc(n.Fields, func(f doc.Field) bool {
		return f.Key == key && len(f.Value.Fields) == 0 && len(f.Value.Items) == 0
	})
}

func equalNodes(a, b *doc.Node) bool {
	if a.Kind != b.Kind || a.Text != b.Text || len(a.Items) != len(b.Items) || len(a.Fields) != len(b.Fields) {
		return false
	}
	for i := range a.Items {
		if !equalNodes(a.Items[i], b.Items[i]) {
			return false
		}
	}
	for i := range a.Fields {
		if a.Fields[i].Key != b.Fields[i].Key || !equalNodes(a.Fields[i].Value, b.Fields[i].Value) {
			return false
		}
	}
	return true
}
