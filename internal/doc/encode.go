package doc

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Marshal writes v as compact JSON that Decode reads back: durations, sizes and shares as text, map keys sorted, fields with
// omitempty left out when zero. Equal values give equal bytes.
func Marshal(v any) ([]byte, error) {
	return appendJSON(nil, reflect.ValueOf(v), 0)
}

func appendJSON(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("value is nested more than %d deep", maxDepth)
	}
	if !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		return append(b, "null"...), nil
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return appendString(b, FormatDuration(x))
	case json.Marshaler:
		text, err := x.MarshalJSON()
		return append(b, text...), err
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return nil, err
		}
		return appendString(b, string(text))
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return appendJSON(b, v.Elem(), depth)
	case reflect.Struct:
		return appendStruct(b, v, depth)
	case reflect.Slice, reflect.Array:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendJSON(b, v.Index(i), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case reflect.Map:
		return appendMap(b, v, depth)
	case reflect.String:
		return appendString(b, v.String())
	}
	text, err := json.Marshal(v.Interface())
	return append(b, text...), err
}

// Omitter is a struct that leaves fields out of what Marshal writes, beside those with omitempty.
type Omitter interface {
	// OmitField tells whether the field with that key is left out.
	OmitField(key string) bool
}

func appendStruct(b []byte, v reflect.Value, depth int) ([]byte, error) {
	b = append(b, '{')
	first := true
	omits, _ := v.Interface().(Omitter)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := Key(f)
		if key == "" || strings.HasSuffix(f.Tag.Get("json"), ",omitempty") && isEmpty(v.Field(i)) ||
			omits != nil && omits.OmitField(key) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		var err error
		if b, err = appendString(b, key); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), v.Field(i), depth+1); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return append(b, '}'), nil
}

func appendMap(b []byte, v reflect.Value, depth int) ([]byte, error) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, k.String()); err != nil {
			return nil, err
		}
		if b, err = appendJSON(append(b, ':'), v.MapIndex(k), depth+1); err != nil {
			return nil, fmt.Errorf("%s: %w", k.String(), err)
		}
	}
	return append(b, '}'), nil
}

// isEmpty is what omitempty leaves out: zero values and empty lists and maps.
func isEmpty(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

func appendString(b []byte, s string) ([]byte, error) {
	text, err := json.Marshal(s)
	return append(b, text...), err
}
