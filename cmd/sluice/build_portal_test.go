package main

import (
	"slices"
	"testing"

	"sluice/config/catalog"
	"sluice/internal/presence"
)

func TestOtherEdges(t *testing.T) {
	living := []presence.Edge{
		{Node: "self", Group: "default", Rev: 9, URLs: []string{"http://10.0.0.1:8080"}},
		{Node: "old", Group: "default", Rev: 3, URLs: []string{"http://10.0.0.2:8080", "https://events.example.com"}},
		{Node: "new", Group: "default", Rev: 7, URLs: []string{"http://10.0.0.3:8080", "https://events.example.com", "gopher://10.0.0.3", "http://u:p@10.0.0.3", "http://10.0.0.3/?q=1", "%"}},
		{Node: "everywhere", Group: "default", Rev: 9, URLs: []string{"http://[::]:8080", "http://0.0.0.0:8080", "http://"}},
		{Node: "leaving", Group: "default", Rev: 9, Draining: true, URLs: []string{"http://10.0.0.4:8080"}},
		{Node: "elsewhere", Group: "lab", Rev: 9, URLs: []string{"http://10.0.0.5:8080"}},
	}
	for name, c := range map[string]struct {
		transports []catalog.Transport
		groups     map[string]int
		want       []string
	}{
		"both":      {[]catalog.Transport{"http", "https"}, map[string]int{"default": 1}, []string{"http://10.0.0.3:8080", "http://10.0.0.2:8080", "https://events.example.com"}},
		"https":     {[]catalog.Transport{"https"}, map[string]int{"default": 2}, []string{"https://events.example.com"}},
		"lab":       {[]catalog.Transport{"http"}, map[string]int{"lab": 1}, []string{"http://10.0.0.5:8080"}},
		"no group":  {[]catalog.Transport{"http"}, nil, nil},
		"none such": {[]catalog.Transport{"http"}, map[string]int{"other": 1}, nil},
	} {
		a := &catalog.API{}
		a.Spec.Transports = c.transports
		var got []string
		for _, e := range otherEdges(a, c.groups, "self", living) {
			if e.Own {
				t.Errorf("%s: %s is not this process's", name, e.URL)
			}
			got = append(got, e.URL.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
