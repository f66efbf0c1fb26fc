package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"time"
	"unicode"
)

// Bounds of one JSON part of a token.
const (
	mostMembers = 64 // of all objects of the part together
	mostDepth   = 8
)

var (
	errNotJSON   = errors.New("is no JSON object")
	errDuplicate = errors.New("has a member twice")
	errTooMuch   = errors.New("has too many members or is nested too deep")
)

// walk reads a JSON object as every reader must understand it: nothing repeated, at any depth, not even in another case, which readers
// resolve differently. Numbers are json.Number.
func walk(text []byte) (map[string]any, error) {
	w := walker{dec: json.NewDecoder(bytes.NewReader(text))}
	w.dec.UseNumber()
	v, err := w.value(1)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errNotJSON
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return object, nil
}

type walker struct {
	dec     *json.Decoder
	members int
}

func (w *walker) value(depth int) (any, error) {
	t, err := w.dec.Token()
	if err != nil {
		return nil, errNotJSON
	}
	d, ok := t.(json.Delim)
	switch {
	case !ok:
		return t, nil
	case depth > mostDepth:
		return nil, errTooMuch
	case d == '{':
		return w.object(depth)
	}
	return w.list(depth)
}

func (w *walker) object(depth int) (any, error) {
	out, seen := map[string]any{}, map[string]bool{}
	for w.dec.More() {
		t, err := w.dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		if w.members++; w.members > mostMembers {
			return nil, errTooMuch
		}
		if seen[folded(name)] {
			return nil, errDuplicate
		}
		seen[folded(name)] = true
		if out[name], err = w.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return out, w.end()
}

func (w *walker) list(depth int) (any, error) {
	out := []any{}
	for w.dec.More() {
		v, err := w.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, w.end()
}

func (w *walker) end() error {
	if _, err := w.dec.Token(); err != nil {
		return errNotJSON
	}
	return nil
}

// folded is the same for names that encoding/json takes for one another.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}

// numericDate reads a time from a member: ok is false if it is there and is no number of seconds from 0 to 2^53.
func numericDate(claims map[string]any, name string) (at time.Time, there, ok bool) {
	v, there := claims[name]
	if !there {
		return time.Time{}, false, true
	}
	n, isNumber := v.(json.Number)
	if !isNumber {
		return time.Time{}, true, false
	}
	f, err := n.Float64()
	if err != nil || !(f >= 0 && f < 1<<53) {
		return time.Time{}, true, false
	}
	return time.Unix(int64(math.Floor(f)), 0), true, true
}

// text reads a string from a member, "" if it is not there; ok is false if it is something else.
func text(claims map[string]any, name string) (s string, ok bool) {
	v, there := claims[name]
	if !there {
		return "", true
	}
	s, ok = v.(string)
	return s, ok
}

// texts reads a list of strings, or one string, from a member.
func texts(claims map[string]any, name string) (list []string, ok bool) {
	switch v := claims[name].(type) {
	case nil:
		_, there := claims[name]
		return nil, !there
	case string:
		return []string{v}, true
	case []any:
		for _, e := range v {
			s, isText := e.(string)
			if !isText {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}
