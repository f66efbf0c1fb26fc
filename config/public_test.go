package config

import (
	"reflect"
	"testing"
)

func TestPublicURLsNameTheirGroup(t *testing.T) {
	cfg, _, err := Load("", []string{"SLUICE_EDGE_PUBLIC_URLS=https://e.example.com/,eu=http://eu.example.com:8080/sse,https://e.example.com/a=b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []PublicURL{{"", "https://e.example.com"}, {"eu", "http://eu.example.com:8080/sse"}, {"", "https://e.example.com/a=b"}}
	if got := cfg.Edge.Public(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
