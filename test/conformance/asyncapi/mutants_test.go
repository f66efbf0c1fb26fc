package asyncapi

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice/config/asyncapi"
	"sluice/internal/doc"
)

// mutant is a document with one mistake, or one change that is none.
type mutant struct {
	base   string // version or fixture
	change string // pointer, what was done
	text   string
}

// TestMutantsGetTheOfficialVerdict compares the shape table with the official schemas over thousands of documents.
func TestMutantsGetTheOfficialVerdict(t *testing.T) {
	var all []mutant
	for _, v := range asyncapi.Versions() {
		file := "full-2.6.0.yaml"
		if v >= "3" {
			file = "full-3.0.0.yaml"
		}
		base := cutTo(t, v, read(t, fixtures+"foreign/"+file))
		all = append(all, mutant{v, "as it is", string(asJSON(t, base))})
		all = append(all, mutate(t, v, base)...)
	}
	for _, name := range []string{"wso2-2.0.0.json", "wso2-3.0.0.yaml", "small-2.0.0.yaml", "small-2.4.0.yaml"} {
		base := read(t, fixtures+"foreign/"+name)
		all = append(all, mutate(t, name, base)...)
	}
	if len(all) < 5000 {
		t.Fatalf("%d mutants", len(all))
	}
	texts := make([]string, len(all))
	for i, m := range all {
		texts[i] = m.text
	}
	known, shown := disagreements(t), map[string]bool{}
	refused, differ := 0, 0
	for i, v := range official(t, "schema", texts) {
		ours := asyncapi.CheckShape("", []byte(all[i].text))
		if len(v.Errors) > 0 {
			refused++
		}
		if ours.Failed() == (len(v.Errors) > 0) {
			continue
		}
		differ++
		if slices.Contains(known, all[i].change) {
			shown[all[i].change] = true
			continue
		}
		t.Errorf("%s %s\n  official: %v\n  ours:     %v", all[i].base, all[i].change, v.Errors, ours)
	}
	for _, change := range known {
		if !shown[change] {
			t.Errorf("disagreements.txt lists %q, about which the verdicts agree: take it out", change)
		}
	}
	t.Logf("%d mutants, %d refused, %d verdicts differ", len(all), refused, differ)
}

// cutTo makes a document one of an older version, by taking out the fields that our table has not in that version. Where the table is
// wrong about one, the official schema says so.
func cutTo(t *testing.T, version string, root *doc.Node) *doc.Node {
	t.Helper()
	root = replaced(root, "/asyncapi", &doc.Node{Kind: doc.String, Text: version})
	for range 100 {
		report := asyncapi.CheckShape("", asJSON(t, root))
		i := slices.IndexFunc(report, func(f asyncapi.Finding) bool { return f.Code != asyncapi.CodeMissingField })
		if i < 0 && !report.Failed() {
			return root
		}
		if i < 0 {
			t.Fatalf("%s: %v", version, report)
		}
		at := report[i].Pointer
		if strings.HasSuffix(at, "/$ref") || report[i].Code == asyncapi.CodeInvalidValue {
			at = at[:strings.LastIndexByte(at, '/')] // an object that cannot be there
		}
		root = replaced(root, at, nil)
	}
	t.Fatalf("%s: no end", version)
	return nil
}

// replaced returns the tree with another value at a pointer, or without that field or element when it is nil.
func replaced(n *doc.Node, pointer string, value *doc.Node) *doc.Node {
	if pointer == "" {
		return value
	}
	part, rest, more := strings.Cut(pointer[1:], "/")
	if more {
		rest = "/" + rest
	}
	key := strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	out := *n
	out.Fields, out.Items = nil, nil
	for _, f := range n.Fields {
		if f.Key == key {
			if f.Value = replaced(f.Value, rest, value); f.Value == nil {
				continue
			}
		}
		out.Fields = append(out.Fields, f)
	}
	for i, item := range n.Items {
		if doc.Join("", i) == "/"+key {
			if item = replaced(item, rest, value); item == nil {
				continue
			}
		}
		out.Items = append(out.Items, item)
	}
	return &out
}

// mutate makes every change of every value of a document.
func mutate(t *testing.T, name string, root *doc.Node) []mutant {
	t.Helper()
	var out []mutant
	add := func(pointer, what string, changed *doc.Node) {
		out = append(out, mutant{name, pointer + " " + what, string(asJSON(t, changed))})
	}
	var walk func(pointer string, n *doc.Node)
	walk = func(pointer string, n *doc.Node) {
		if pointer != "" && pointer != "/asyncapi" {
			add(pointer, "dropped", replaced(root, pointer, nil))
			for _, other := range others(n) {
				add(pointer, "= "+string(asJSON(t, other))[:1], replaced(root, pointer, other))
			}
		}
		if n.Kind == doc.Map {
			more := *n
			more.Fields = append(slices.Clip(n.Fields), doc.Field{Key: "unknownField", Value: &doc.Node{Kind: doc.Number, Text: "1"}})
			add(pointer, "with an unknown field", replaced(root, pointer, &more))
		}
		for _, f := range n.Fields {
			if f.Key != "asyncapi" {
				walk(doc.Join(pointer, f.Key), f.Value)
			}
		}
		for i, item := range n.Items {
			walk(doc.Join(pointer, i), item)
		}
	}
	walk("", root)
	return out
}

// others are values in the place of n: of other types, and for a string one that is in no enumeration and has no format.
func others(n *doc.Node) []*doc.Node {
	all := []*doc.Node{{Kind: doc.Null}, {Kind: doc.Bool, Text: "true"}, {Kind: doc.Number, Text: "5"}, {Kind: doc.String, Text: "no { value"},
		{Kind: doc.List}, {Kind: doc.Map}}
	return slices.DeleteFunc(all, func(o *doc.Node) bool { return o.Kind == n.Kind && n.Kind != doc.String })
}

// disagreements are the lines of disagreements.txt.
func disagreements(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("disagreements.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}
