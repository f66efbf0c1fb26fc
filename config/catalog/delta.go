package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/doc"
)

// Differences tells what changed from one JSON document to another; an empty one stands for a map without keys.
func Differences(from, to []byte) ([]Change, error) { return diffOf(from, to) }

// diffOf compares two definitions. Topics are compared by name, other lists as a whole.
func diffOf(from, to []byte) ([]Change, error) {
	a, err := generic(from)
	if err != nil {
		return nil, err
	}
	b, err := generic(to)
	if err != nil {
		return nil, err
	}
	out := []Change{}
	compareValues(&out, "", a, b)
	return out, nil
}

func generic(text []byte) (any, error) {
	if len(text) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

func compareValues(out *[]Change, at string, a, b any) {
	if at == "/spec/topics" {
		a, b = byName(a), byName(b)
	}
	x, xMap := a.(map[string]any)
	y, yMap := b.(map[string]any)
	if !xMap || !yMap {
		if !reflect.DeepEqual(a, b) {
			*out = append(*out, Change{Op: "replace", Pointer: at, Old: raw(a), New: raw(b)})
		}
		return
	}
	keys := make([]string, 0, len(x)+len(y))
	for k := range x {
		keys = append(keys, k)
	}
	for k := range y {
		if _, both := x[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		p := doc.Join(at, k)
		old, had := x[k]
		now, has := y[k]
		switch {
		case !had:
			*out = append(*out, Change{Op: "add", Pointer: p, New: raw(now)})
		case !has:
			*out = append(*out, Change{Op: "remove", Pointer: p, Old: raw(old)})
		default:
			compareValues(out, p, old, now)
		}
	}
}

// byName makes a map of a list of topics.
func byName(v any) any {
	list, ok := v.([]any)
	if !ok {
		return map[string]any{}
	}
	out := map[string]any{}
	for i, item := range list {
		t, ok := item.(map[string]any)
		name, named := t["name"].(string)
		if !ok || !named {
			name = fmt.Sprint(i)
		}
		out[name] = item
	}
	return out
}

func raw(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil // made from JSON a moment ago: cannot happen
	}
	return text
}

// impactOf tells what going from one served API to the other does; nil = not served. gone is the reason when after is nil.
func impactOf(before, after *API, gone EndReason) Impact {
	i := Impact{StreamsEnded: []Ended{}, FeedsReconnected: []string{}}
	if before == nil || !before.Spec.State.Served() {
		return i
	}
	for n := range before.Spec.Topics {
		t := &before.Spec.Topics[n]
		i.add(t, before, after, gone)
	}
	return i
}

func (i *Impact) add(t *Topic, before, after *API, gone EndReason) {
	end := func(r EndReason) { i.StreamsEnded = append(i.StreamsEnded, Ended{Topic: t.Name, Reason: r}) }
	if after == nil {
		end(gone)
		return
	}
	switch after.Spec.State {
	case StateBlocked:
		end(EndAPIBlocked)
		return
	case StateCreated:
		end(EndAPIUnpublished)
		return
	case StateRetired:
		end(EndAPIRetired)
		return
	}
	is := after.Topic(t.Name)
	switch {
	case is == nil:
		end(EndTopicDeleted)
		return
	case is.Security != SecurityNone && t.Security == SecurityNone:
		end(EndAccessChanged)
		return
	}
	for _, tr := range before.Spec.Transports {
		if !after.Allows(tr) {
			i.StreamsEnded = append(i.StreamsEnded, Ended{Topic: t.Name, Reason: EndTransportClosed, Transport: tr})
		}
	}
	if before.Spec.Endpoint != after.Spec.Endpoint || t.Backend != is.Backend || !reflect.DeepEqual(before.Spec.Upstream, after.Spec.Upstream) {
		i.FeedsReconnected = append(i.FeedsReconnected, t.Name)
	}
}

// join adds what another group sees.
func (i *Impact) join(more Impact) {
	i.StreamsEnded = append(i.StreamsEnded, more.StreamsEnded...)
	i.FeedsReconnected = append(i.FeedsReconnected, more.FeedsReconnected...)
	slices.SortFunc(i.StreamsEnded, func(a, b Ended) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(string(a.Transport), string(b.Transport)))
	})
	slices.Sort(i.FeedsReconnected)
	i.StreamsEnded, i.FeedsReconnected = slices.Compact(i.StreamsEnded), slices.Compact(i.FeedsReconnected)
}
