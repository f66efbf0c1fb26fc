package doc

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaulter is implemented by pointers to structs that have defaults. Decode calls SetDefaults on every element of a list or map
// that it makes, before decoding into it; values the caller passed in are the caller's to fill.
type Defaulter interface{ SetDefaults() }

// Unmarshaler is implemented by pointers to types with more than one written form. UnmarshalDoc gets a non-null node; it decodes
// with s.Decode and reports with s.Errorf.
type Unmarshaler interface{ UnmarshalDoc(s Scope, n *Node) }

// Decode fills into, a pointer to a struct, from the document. Fields are found by their json tag; those the document does not
// name, or sets to null, keep their value. On error into is partly filled: the error, an Errors, has everything that is wrong.
func (d *Document) Decode(into any) error {
	errs := slices.Clone(d.problems)
	s := Scope{file: d.File, errs: &errs}
	s.Decode(d.Root, into)
	return errs.Err()
}

// Scope is a place in a document while it is decoded.
type Scope struct {
	file    string
	pointer string
	errs    *Errors
}

// Errorf reports that n is wrong here.
func (s Scope) Errorf(n *Node, format string, args ...any) {
	s.report(n.Line, n.Column, TypeInvalidValue, "", format, args...)
}

func (s Scope) report(line, column int, kind, hint, format string, args ...any) {
	*s.errs = append(*s.errs, &Error{File: s.file, Line: line, Column: column, Pointer: s.pointer, Type: kind,
		Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (s Scope) in(key any) Scope {
	s.pointer = Join(s.pointer, key)
	return s
}

// Decode fills into, a non-nil pointer, from n and reports what is wrong.
func (s Scope) Decode(n *Node, into any) { s.value(n, reflect.ValueOf(into).Elem()) }

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	bytesType    = reflect.TypeFor[Bytes]()
	ratioType    = reflect.TypeFor[Ratio]()
)

func (s Scope) value(n *Node, v reflect.Value) {
	if n.Kind == Null {
		return
	}
	if u, ok := v.Addr().Interface().(Unmarshaler); ok {
		u.UnmarshalDoc(s, n)
		return
	}
	if isText(v) {
		s.text(n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		s.fields(n, v)
	case reflect.Slice:
		s.list(n, v)
	case reflect.Map:
		s.mapping(n, v)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		s.value(n, v.Elem())
	case reflect.Interface:
		v.Set(reflect.ValueOf(s.any(n)))
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Text)
		if n.Kind != Bool || err != nil {
			s.wrong(n, "true or false")
			return
		}
		v.SetBool(b)
	case reflect.String:
		if n.Kind == Bool || n.Kind == Number && !n.Plain {
			s.report(n.Line, n.Column, TypeInvalidValue, "put it in quotes", "must be a string, not %s", n.Kind)
			return
		}
		if n.Kind != String && n.Kind != Number {
			s.wrong(n, "a string")
			return
		}
		v.SetString(n.Text)
	default:
		s.number(n, v)
	}
}

// isText tells whether v has one textual form that setText reads.
func isText(v reflect.Value) bool {
	if v.Type() == durationType || v.Type() == prefixType {
		return true
	}
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func (s Scope) text(n *Node, v reflect.Value) {
	want := "a string"
	switch v.Type() {
	case durationType:
		want = "a duration such as 30s"
	case bytesType:
		want = "a size such as 64KiB"
	case ratioType:
		want = "a share such as 20%"
	}
	if n.Kind != String && n.Kind != Number {
		s.wrong(n, want)
		return
	}
	if err := setText(v, n.Text); err != nil {
		s.Errorf(n, "%v", err)
	}
}

func setText(v reflect.Value, text string) error {
	switch v.Type() {
	case durationType:
		d, err := ParseDuration(text)
		if err == nil {
			v.SetInt(int64(d))
		}
		return err
	case prefixType:
		p, err := ParsePrefix(text)
		if err == nil {
			v.Set(reflect.ValueOf(p))
		}
		return err
	}
	return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
}

func (s Scope) wrong(n *Node, want string) { s.Errorf(n, "must be %s, not %s", want, n.Kind) }

func (s Scope) number(n *Node, v reflect.Value) {
	if n.Kind != Number {
		s.wrong(n, "a number")
		return
	}
	switch {
	case v.CanInt():
		i, err := strconv.ParseInt(strings.ReplaceAll(n.Text, "_", ""), 10, v.Type().Bits())
		if err != nil {
			s.Errorf(n, "%s is not a whole number in range", quote(n.Text))
			return
		}
		v.SetInt(i)
	case v.CanFloat():
		f, err := strconv.ParseFloat(n.Text, 64)
		if err != nil {
			s.Errorf(n, "%s is not a number", quote(n.Text))
			return
		}
		v.SetFloat(f)
	default:
		panic("doc: no way to decode into " + v.Type().String())
	}
}

func (s Scope) fields(n *Node, v reflect.Value) {
	if n.Kind != Map {
		s.wrong(n, "a map")
		return
	}
	for _, f := range n.Fields {
		i := fieldByKey(v.Type(), f.Key)
		if i < 0 {
			s.in(f.Key).report(f.Line, f.Column, TypeUnknownField, didYouMean(f.Key, Keys(v.Type())), "unknown key")
			continue
		}
		s.in(f.Key).value(f.Value, v.Field(i))
	}
}

func (s Scope) list(n *Node, v reflect.Value) {
	if n.Kind != List {
		s.wrong(n, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Items))
	for i, item := range n.Items {
		e := fresh(v.Type().Elem()).Elem()
		if item.Kind == Null {
			s.in(i).Errorf(item, "is empty")
		}
		s.in(i).value(item, e)
		out = reflect.Append(out, e)
	}
	v.Set(out)
}

func (s Scope) mapping(n *Node, v reflect.Value) {
	if n.Kind != Map {
		s.wrong(n, "a map")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Fields))
	for _, f := range n.Fields {
		e := fresh(v.Type().Elem()).Elem()
		s.in(f.Key).value(f.Value, e)
		out.SetMapIndex(reflect.ValueOf(f.Key).Convert(v.Type().Key()), e)
	}
	v.Set(out)
}

// fresh returns a pointer to a new value of type t, with its defaults.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return p
}

// any is the free form of n: nil, bool, int64, float64, string, []any or map[string]any.
func (s Scope) any(n *Node) any {
	switch n.Kind {
	case Bool:
		return strings.EqualFold(n.Text, "true")
	case Number:
		if i, err := strconv.ParseInt(n.Text, 0, 64); err == nil {
			return i
		}
		f, err := strconv.ParseFloat(n.Text, 64)
		if err != nil || math.IsInf(f, 0) {
			s.Errorf(n, "%s is not a number in range", quote(n.Text))
		}
		return f
	case String:
		return n.Text
	case List:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = s.in(i).any(item)
		}
		return out
	case Map:
		out := make(map[string]any, len(n.Fields))
		for _, f := range n.Fields {
			out[f.Key] = s.in(f.Key).any(f.Value)
		}
		return out
	}
	return nil
}

// Keys returns the keys that a struct type takes, in the order of its fields.
func Keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if k := Key(t.Field(i)); k != "" {
			out = append(out, k)
		}
	}
	return out
}

// Key returns the key of a struct field, "" when documents cannot name it.
func Key(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if !f.IsExported() || name == "-" {
		return ""
	}
	return name
}

func fieldByKey(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if key != "" && Key(t.Field(i)) == key {
			return i
		}
	}
	return -1
}
