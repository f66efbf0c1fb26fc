package doc

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameTree compares what trees say, not where it stands.
var sameTree = []cmp.Option{cmpopts.IgnoreFields(Node{}, "Line", "Column", "Plain"), cmpopts.IgnoreFields(Field{}, "Line", "Column"), cmpopts.EquateEmpty()}

// bothWays writes a tree in both forms and reads it back.
func bothWays(t rapid.TB, n *Node) {
	t.Helper()
	asJSON, err := WriteJSON(n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	d, err := ParseJSON("", asJSON)
	if err != nil {
		t.Fatalf("%v in\n%s", err, asJSON)
	}
	if diff := cmp.Diff(n, d.Root, sameTree...); diff != "" {
		t.Fatalf("JSON\n%s: %s", asJSON, diff)
	}
	asYAML, err := WriteYAML(n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	docs, err := ParseYAML("", asYAML)
	if err != nil || len(docs) != 1 || len(docs[0].Problems()) > 0 {
		t.Fatalf("%v in\n%s", err, asYAML)
	}
	if diff := cmp.Diff(n, docs[0].Root, sameTree...); diff != "" {
		t.Fatalf("YAML\n%s: %s", asYAML, diff)
	}
	if strings.Contains(string(asYAML), "\r") || strings.Contains(string(asJSON), "\r") {
		t.Fatalf("a line ends with CR")
	}
}

func TestWrittenTreesAreReadBack(t *testing.T) {
	root := &Node{Kind: Map}
	for _, s := range []string{"", " ", "a", "true", "Yes", "n", "null", "~", "1", "1.0", "0x1F", "1e3", ".inf", "2026-01-01", "a: b", "a #b", "# a",
		"- a", "-", "?", "[a]", "{a}", "*a", "&a", "!a", "|", ">", "'", `"`, `\`, "a\nb", "a\nb\n", "\na", "a\n\nb", " a\nb", "a \nb", "a\tb", "\t",
		"é", "☃", "😀", "\u0085", "\u2028", "\ufeff", "\x00", "\x7f", "%", "@a", "`a`", "<<", "=", "---", "...", "--- a", "a:", ":a", "/quotes/{symbol}",
		"$ref", "#/components/x", "1.0.0", "^[A-Z]{1,8}$", strings.Repeat("long ", 60), strings.Repeat("x", 200)} {
		n := &Node{Kind: String, Text: s}
		root.Fields = append(root.Fields, Field{Key: s, Value: n})
		bothWays(t, n2(n))
	}
	for _, s := range []string{"0", "-1", "1.5", "1e+21", "9223372036854775807", "-2.5e-7"} {
		root.Fields = append(root.Fields, Field{Key: "n" + s, Value: &Node{Kind: Number, Text: s}})
	}
	root.Fields = append(root.Fields, Field{Key: "t", Value: &Node{Kind: Bool, Text: "true"}}, Field{Key: "z", Value: &Node{Kind: Null, Text: "null"}},
		Field{Key: "e", Value: &Node{Kind: Map}}, Field{Key: "l", Value: &Node{Kind: List}})
	bothWays(t, root)
}

// n2 puts a value where it has neighbours.
func n2(n *Node) *Node {
	return &Node{Kind: Map, Fields: []Field{{Key: "l", Value: &Node{Kind: List, Items: []*Node{n, {Kind: List, Items: []*Node{n}}, {Kind: Map, Fields: []Field{{Key: "k", Value: n}}}}}}}}
}

func TestGeneratedTreesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { bothWays(t, n2(genNode(t, 3))) })
}

func genNode(t *rapid.T, depth int) *Node {
	most := 5
	if depth == 0 {
		most = 3
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return &Node{Kind: Null, Text: "null"}
	case 1:
		return &Node{Kind: Number, Text: rapid.StringMatching(`-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?`).Draw(t, "number")}
	case 2:
		return &Node{Kind: String, Text: rapid.StringMatching("[ -~\n\té☃]{0,20}").Draw(t, "line")}
	case 3:
		return &Node{Kind: String, Text: rapid.String().Draw(t, "text")}
	case 4:
		out := &Node{Kind: List}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			out.Items = append(out.Items, genNode(t, depth-1))
		}
		return out
	}
	out := &Node{Kind: Map}
	for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching("[ -~\n]{0,6}"), 0, 3, rapid.ID[string]).Draw(t, "keys") {
		out.Fields = append(out.Fields, Field{Key: key, Value: genNode(t, depth-1)})
	}
	return out
}

func TestWriteJSONRefusesWhatIsNoJSON(t *testing.T) {
	for _, n := range []*Node{{Kind: Number, Text: "0x10"}, {Kind: Bool, Text: "True"}} {
		if text, err := WriteJSON(n); err == nil {
			t.Errorf("writes %s", text)
		}
	}
}
