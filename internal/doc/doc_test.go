package doc

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name   string        `json:"name"`
	Wait   time.Duration `json:"wait,omitempty"`
	Labels []string      `json:"labels,omitempty"`
}

func (i *inner) SetDefaults() { i.Wait = time.Second }

type outer struct {
	Title   string            `json:"title,omitempty"`
	On      bool              `json:"on,omitempty"`
	Count   int               `json:"count,omitempty"`
	Size    Bytes             `json:"size,omitempty"`
	Share   Ratio             `json:"share,omitempty"`
	Net     []netip.Prefix    `json:"net,omitempty"`
	Inner   inner             `json:"inner"`
	List    []inner           `json:"list,omitempty"`
	ByName  map[string]inner  `json:"byName,omitempty"`
	Texts   map[string]string `json:"texts,omitempty"`
	Free    map[string]any    `json:"free,omitempty"`
	Pointer *inner            `json:"pointer,omitempty"`
	Hidden  string            `json:"-"`
}

// decodeAll parses and decodes all documents of a text; the errors of both, one per line.
func decodeAll(file, text string) (outer, string) {
	var out outer
	docs, err := Parse(file, []byte(text))
	var errs Errors
	if err != nil {
		errs = append(errs, err.(Errors)...)
	}
	for _, d := range docs {
		if err := d.Decode(&out); err != nil {
			errs = append(errs, err.(Errors)...)
		}
	}
	if len(errs) == 0 {
		return out, ""
	}
	return out, errs.Err().Error()
}

func TestYAMLAndJSONDecodeAlike(t *testing.T) {
	yaml := `
title: 1.0            # a plain scalar is a string where one is wanted
on: true
count: 1_000
size: 64KiB
share: 20%
net: [10.0.0.0/8, ::1]
inner: {name: 'é', wait: 1d12h}
list:
  - {name: a, wait: 0, labels: [x, y]}
  - name: b
byName: {k: {name: c}}
texts: {a~/b: v}
free: {n: 5, f: 1.5, s: text, l: [true, ~, {m: x}]}
pointer: {name: p}
`
	json := `{"title":"1.0","on":true,"count":1000,"size":65536,"share":0.2,"net":["10.0.0.0/8","::1/128"],` +
		`"inner":{"name":"\u00e9","wait":"36h"},"list":[{"name":"a","wait":"0s","labels":["x","y"]},{"name":"b"}],` +
		`"byName":{"k":{"name":"c"}},"texts":{"a~/b":"v"},"free":{"n":5,"f":1.5,"s":"text","l":[true,null,{"m":"x"}]},"pointer":{"name":"p"}}`
	want := outer{Title: "1.0", On: true, Count: 1000, Size: 64 * KiB, Share: 0.2,
		Net:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Inner:  inner{Name: "é", Wait: 36 * time.Hour},
		List:   []inner{{Name: "a", Labels: []string{"x", "y"}}, {Name: "b", Wait: time.Second}},
		ByName: map[string]inner{"k": {Name: "c", Wait: time.Second}}, Texts: map[string]string{"a~/b": "v"},
		Free:    map[string]any{"n": int64(5), "f": 1.5, "s": "text", "l": []any{true, nil, map[string]any{"m": "x"}}},
		Pointer: &inner{Name: "p", Wait: time.Second}}
	for file, text := range map[string]string{"a.yaml": yaml, "a.json": json, "b.yaml": json} {
		got, bad := decodeAll(file, text)
		if bad != "" {
			t.Errorf("%s: %s", file, bad)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestMarshalIsReadBack(t *testing.T) {
	want, bad := decodeAll("a.yaml", "title: x\nsize: 3MiB\nshare: 12.5%\nnet: [10.0.0.0/8]\ninner: {name: n, wait: 90s}\n"+
		"list: [{name: a, wait: 5ms, labels: [x]}]\ntexts: {b: '1', a: '2'}\nfree: {n: [1, {x: 1.5}]}\n")
	if bad != "" {
		t.Fatal(bad)
	}
	text, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const exact = `{"title":"x","size":"3MiB","share":"12.5%","net":["10.0.0.0/8"],"inner":{"name":"n","wait":"1m30s"},` +
		`"list":[{"name":"a","wait":"5ms","labels":["x"]}],"texts":{"a":"2","b":"1"},"free":{"n":[1,{"x":1.5}]}}`
	if string(text) != exact {
		t.Errorf("wrote\n%s\nwant\n%s", text, exact)
	}
	got, bad := decodeAll("a.json", string(text))
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || bad != "" {
		t.Errorf("%s%s", bad, diff)
	}
}

func TestErrorsTellPlacePointerAndHint(t *testing.T) {
	deepYAML := strings.Repeat("[", 80) + strings.Repeat("]", 80)
	var wide strings.Builder
	wide.WriteString("a: &a [" + strings.Repeat("x,", 999) + "x]\nb: &b [" + strings.Repeat("*a,", 999) + "*a]\n")
	cases := []struct{ name, file, text, want string }{
		{"unknown key, close", "a.yaml", "titel: x", `a.yaml:1:1: /titel: unknown key; did you mean "title"?`},
		{"unknown key, other case", "a.yaml", "inner: {Name: x}", `a.yaml:1:9: /inner/Name: unknown key; did you mean "name"?`},
		{"unknown key, far", "a.yaml", "inner:\n  other: x", `a.yaml:2:3: /inner/other: unknown key; known here: name, wait, labels`},
		{"hidden field", "a.yaml", "Hidden: x", `a.yaml:1:1: /Hidden: unknown key`},
		{"all at once", "a.yaml", "titel: x\non: maybe\ncount: many\nlist: [{nam: x}]",
			"a.yaml:1:1: /titel: unknown key; did you mean \"title\"?\na.yaml:2:5: /on: must be true or false, not a string\n" +
				"a.yaml:3:8: /count: must be a number, not a string\na.yaml:4:9: /list/0/nam: unknown key; did you mean \"name\"?"},
		{"duplicate key", "a.yaml", "title: x\ninner: {}\ntitle: y", `a.yaml:3:1: /title: is already set on line 1`},
		{"duplicate key beside others", "a.yaml", "title: x\ntitle: y\non: 1",
			"a.yaml:2:1: /title: is already set on line 1\na.yaml:3:5: /on: must be true or false, not a number"},
		{"duplicate quoted key", "a.yaml", "title: x\n\"title\": y", `a.yaml:2:1: /title: is already set on line 1`},
		{"merge key", "a.yaml", "inner: &i {name: x}\npointer: {<<: *i}", `a.yaml:2:11: /pointer: merge key "<<" is not allowed`},
		{"custom tag", "a.yaml", "title: !secret x", `a.yaml:1:8: /title: tag "!secret" is not allowed`},
		{"custom tag on a map", "a.yaml", "inner: !x {name: y}", `a.yaml:1:8: /inner: tag "!x" is not allowed`},
		{"binary tag", "a.yaml", "title: !!binary aGk=", `a.yaml:1:8: /title: tag "!!binary" is not allowed`},
		{"complex key", "a.yaml", "? [a]\n: b", `a.yaml:1:3: a key must be a string`},
		{"infinite number", "a.yaml", "free: {x: .inf}", `a.yaml:1:11: /free/x: ".inf" is not a finite decimal number`},
		{"syntax", "a.yaml", "title: x\n  on: [1,", "a.yaml:2:5: mapping values are not allowed in this context"},
		{"tab", "a.yaml", "inner:\n\tname: x", "a.yaml:2:1: found character that cannot start any token while scanning for the next token"},
		{"unknown anchor", "a.yaml", "title: *x", "a.yaml:1:8: unknown anchor 'x' referenced"},
		{"not UTF-8", "a.yaml", "title: x\nfree: {a: \"\xff\"}", "a.yaml:2:12: invalid leading UTF-8 octet (value: 255)"},
		{"syntax in the second document", "a.yaml", "titel: x\n---\na: [", "a.yaml:1:1: /titel: unknown key; did you mean \"title\"?\n" +
			"a.yaml:4:1: did not find expected node content while parsing a flow node"},
		{"too deep", "a.yaml", "free: {a: " + deepYAML + "}", "a.yaml:1:74: /free/a" + strings.Repeat("/0", 35) + "...: is nested more than 64 deep"},
		{"alias of itself", "a.yaml", "free: &x {a: *x}", "a.yaml:1:7: /free" + strings.Repeat("/a", 32) + ": is nested more than 64 deep"},
		{"alias bomb", "a.yaml", wide.String(), "a.yaml:1:1204: /b/198/598: the document has more than 200000 values"},
		{"list wanted", "a.yaml", "list: {name: x}", `a.yaml:1:7: /list: must be a list, not a map`},
		{"map wanted", "a.yaml", "inner: [x]", `a.yaml:1:8: /inner: must be a map, not a list`},
		{"root list", "a.yaml", "- x", `a.yaml:1:1: must be a map, not a list`},
		{"string map wanted", "a.yaml", "texts: x", `a.yaml:1:8: /texts: must be a map, not a string`},
		{"bool as string", "a.yaml", "title: true", `a.yaml:1:8: /title: must be a string, not a boolean; put it in quotes`},
		{"list as string", "a.yaml", "title: [x]", `a.yaml:1:8: /title: must be a string, not a list`},
		{"fraction as count", "a.yaml", "count: 1.5", `a.yaml:1:8: /count: "1.5" is not a whole number in range`},
		{"huge count", "a.yaml", "count: 99999999999999999999", `a.yaml:1:8: /count: "99999999999999999999" is not a whole number in range`},
		{"quoted count", "a.yaml", "count: '5'", `a.yaml:1:8: /count: must be a number, not a string`},
		{"duration without unit", "a.yaml", "inner: {wait: 5}", `a.yaml:1:15: /inner/wait: "5" is not a duration such as 250ms, 30s, 5m, 1h or 7d`},
		{"negative duration", "a.yaml", "inner: {wait: -5s}", `a.yaml:1:15: /inner/wait: "-5s" is not a duration such as 250ms, 30s, 5m, 1h or 7d`},
		{"list as duration", "a.yaml", "inner: {wait: []}", `a.yaml:1:15: /inner/wait: must be a duration such as 30s, not a list`},
		{"bad size", "a.yaml", "size: 64 kibibytes", `a.yaml:1:7: /size: "64 kibibytes" is not a size such as 64KiB, 8MiB or 1500`},
		{"bad share", "a.yaml", "share: -1%", `a.yaml:1:8: /share: "-1%" is not a share such as 20% or 0.2`},
		{"bad network", "a.yaml", "net: [10.0.0.0/8, 10.0.0.1/8]", `a.yaml:1:19: /net/1: "10.0.0.1/8" has bits set beyond its length; write 10.0.0.0/8`},
		{"empty list item", "a.yaml", "list:\n  -\n  - {name: x}", `a.yaml:2:4: /list/0: is empty`},
		{"pointer escapes", "a.yaml", "texts: {a~/b: []}", `a.yaml:1:15: /texts/a~0~1b: must be a string, not a list`},
		{"column counts characters", "a.yaml", "texts: {é: v, b: []}", `a.yaml:1:18: /texts/b: must be a string, not a list`},

		{"JSON: unknown key", "a.json", "{\"titel\":\n1}", `a.json:1:2: /titel: unknown key; did you mean "title"?`},
		{"JSON: number as string", "a.json", `{"title":1.0}`, `a.json:1:10: /title: must be a string, not a number; put it in quotes`},
		{"JSON: duplicate key", "a.json", "{\"on\":true,\n \"on\":false}", `a.json:2:2: /on: is already set on line 1`},
		{"JSON: duplicate by escape", "a.json", `{"on":true,"\u006fn":false}`, `a.json:1:12: /on: is already set on line 1`},
		{"JSON: trailing comma", "a.json", `{"on":true,}`, `a.json:1:12: unexpected '}' where a key in quotes was expected`},
		{"JSON: comma in list", "a.json", `{"list":[,]}`, `a.json:1:10: /list/0: unexpected ',' where a value was expected`},
		{"JSON: trailing bytes", "a.json", `{} x`, `a.json:1:4: unexpected text behind the document`},
		{"JSON: second document", "a.json", "{}\n{}", `a.json:2:1: unexpected text behind the document`},
		{"JSON: comment", "a.json", "{ // x\n}", `a.json:1:3: unexpected '/' where a key in quotes was expected`},
		{"JSON: single quotes", "a.json", `{'on':1}`, `a.json:1:2: unexpected '\'' where a key in quotes was expected`},
		{"JSON: cut", "a.json", `{"on":`, `a.json:1:7: /on: the document ends where a value was expected`},
		{"JSON: cut string", "a.json", `{"on`, `a.json:1:5: the document ends inside a string`},
		{"JSON: empty", "a.json", ``, `a.json:1:1: the document ends where a value was expected`},
		{"JSON: control byte", "a.json", "{\"title\":\"a\tb\"}", `a.json:1:12: /title: control character 0x09 in a string`},
		{"JSON: bad escape", "a.json", `{"title":"\x41"}`, `a.json:1:11: /title: invalid escape in a string`},
		{"JSON: lone surrogate", "a.json", `{"title":"\ud800"}`, `a.json:1:11: /title: invalid escape in a string`},
		{"JSON: not UTF-8", "a.json", "{\"title\":\"é\xff\"}", `a.json:1:12: /title: invalid UTF-8 in a string`},
		{"JSON: leading zero", "a.json", `{"count":01}`, `a.json:1:11: unexpected '1' where ',' or '}' was expected`},
		{"JSON: plus", "a.json", `{"count":+1}`, `a.json:1:10: /count: unexpected '+' where a value was expected`},
		{"JSON: bare point", "a.json", `{"share":1.}`, `a.json:1:12: /share: unexpected '}' where a digit was expected`},
		{"JSON: huge number", "a.json", `{"share":1e999}`, `a.json:1:10: /share: "1e999" is out of range`},
		{"JSON: NaN", "a.json", `{"share":NaN}`, `a.json:1:10: /share: unexpected 'N' where a value was expected`},
		{"JSON: too deep", "a.json", strings.Repeat("[", 100), "a.json:1:66: " + strings.Repeat("/0", 38) + "/...: is nested more than 64 deep"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, got := decodeAll(c.file, c.text); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestJSONTakesWhatTheStandardAllows(t *testing.T) {
	for text, want := range map[string]string{
		"\xef\xbb\xbf {\"title\" : \"\\ud83d\\ude00\\n\\/\" }\r\n":  "😀\n/",
		`{"title":"","free":{"x":-0.5e-3,"y":[],"z":{},"t":false}}`: "",
	} {
		got, bad := decodeAll("a.json", text)
		if bad != "" || got.Title != want {
			t.Errorf("%s: %q, %s", text, got.Title, bad)
		}
	}
}

func TestStreamsLeaveOutEmptyDocuments(t *testing.T) {
	docs, err := ParseYAML("a.yaml", []byte("# nothing\n---\n---\ntitle: a\n---\n# no\n...\n---\ntitle: b\n"))
	if err != nil || len(docs) != 2 || docs[1].Root.Line != 9 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	for _, text := range []string{"", "# only a comment\n", "---\n"} {
		if docs, err := ParseYAML("a.yaml", []byte(text)); err != nil || len(docs) != 0 {
			t.Errorf("%q: %d documents, %v", text, len(docs), err)
		}
	}
}

func TestErrorsAreCappedSortedAndFound(t *testing.T) {
	var b strings.Builder
	for i := range 150 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	docs, err := ParseYAML("a.yaml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	err = docs[0].Decode(&outer{})
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "a.yaml: 50 more errors are not shown" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	var one *Error
	if !errors.As(err, &one) || one.Pointer != "/k0" || one.Line != 1 || one.Type != TypeUnknownField {
		t.Errorf("first error %+v", one)
	}
}

func TestLookupFindsTheNearestNode(t *testing.T) {
	docs, err := ParseYAML("a.yaml", []byte("a:\n  - b: 1\n    c/d: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{"": "1:1", "/a": "2:3", "/a/0/b": "2:8", "/a/0/c~1d": "3:10", "/a/0/x/y": "2:5", "/a/7": "2:3", "/z": "1:1"} {
		e := docs[0].Errorf(pointer, "x")
		if got := fmt.Sprintf("%d:%d", e.Line, e.Column); got != want {
			t.Errorf("%q at %s, want %s", pointer, got, want)
		}
	}
	var none *Document
	if got := none.Errorf("/a", "x").Error(); got != "/a: x" {
		t.Errorf("without a document: %q", got)
	}
}
