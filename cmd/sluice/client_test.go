package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/doc"
)

// A token goes to the server that was named, and to no other.
func TestRedirectsAreRefused(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	s := newShell(t, server.URL)
	s.env["SLUICE_TOKEN"] = "secret"
	s.fails(exitFailed, "the server redirects to "+other.URL, "whoami")
}

// Whatever answers in the place of the server cannot do more than be shown.
func TestStrangeAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"no JSON":             {200, "<html>", "no JSON"},
		"no problem document": {502, "<html>bad gateway", "502 Bad Gateway"},
		"a terminal's escape": {404, `{"title":"Not \u001b[31mfound","status":404,"errors":[{"detail":"a\u0007b","pointer":"/x"}]}`, "Not ?[31mfound\n/x: a?b"},
		"another shape":       {200, `[1]`, "not understood"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			s := newShell(t, server.URL)
			args := []string{"whoami"}
			if name == "no JSON" {
				args = append(args, "-o", "yaml")
			}
			s.fails(exitFailed, c.want, args...)
		})
	}
}

func TestSetField(t *testing.T) {
	for _, c := range []struct{ path, value, want string }{
		{"transports", "https", `"transports":["https"]`},
		{"spec.transports", "http, https", `"transports":["http","https"]`},
		{"client.retry", "90s", `"client":{"retry":"1m30s"}`},
		{"upstream.maxEvent", "64KiB", `"upstream":{"maxEvent":"64KiB"}`},
		{"default", "true", `"default":true`},
		{"limits.maxFeeds", "7", `"limits":{"maxFeeds":7}`},
		{"upstream.headers.X-From", "sluice", `"upstream":{"headers":{"X-From":"sluice"}}`},
		{"metadata.labels.team", "rates", `"labels":{"team":"rates"}`},
		{"context", "", `"spec":{"version":"1"}`},
		{"transport", "http", `did you mean "transports"?`},
		{"context.x", "1", "has no fields"},
		{"client", "x", "cannot be set from one text"},
		{"default", "maybe", "is not true or false"},
	} {
		d, err := doc.ParseJSON("", []byte(`{"metadata":{"name":"a"},"spec":{"context":"/a","version":"1"}}`))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := setField(d.Root, c.path, c.value); err != nil {
			got = err.Error()
		} else if text, err := doc.WriteJSON(d.Root); err != nil {
			got = err.Error()
		} else {
			got = strings.Join(strings.Fields(string(text)), "")
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s=%s: %s, want %s", c.path, c.value, got, c.want)
		}
	}
}

// The place of a mistake in a bundle is the place in the file that it came from.
func TestBundlePlaces(t *testing.T) {
	s := newShell(t, "")
	s.file("d/1.yaml", "a: 1\nb: 2")
	s.file("d/2.json", `{"c": 3}`)
	s.file("d/3.yml", "---\nd: 4\n")
	b, err := readBundle(env{stdin: strings.NewReader("e: 5\n")}, []string{filepath.Join(s.dir, "d"), "-"})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := doc.ParseYAML("", b.text)
	if err != nil || len(docs) != 4 {
		t.Fatalf("%d documents, %v\n%s", len(docs), err, b.text)
	}
	p := &serverError{}
	for i, d := range docs {
		last := d.Root.Fields[len(d.Root.Fields)-1]
		p.Errors = append(p.Errors, finding{Line: last.Line, Column: last.Column, Detail: string(rune('a' + i))})
	}
	b.locate(p)
	want := []string{"1.yaml:2:1: a", "2.json:2:3: b", "3.yml:2:1: c", "-:1:1: d"}
	for i, f := range p.Errors {
		if got := f.text(""); !strings.HasSuffix(got, want[i]) {
			t.Errorf("%q, want %q", got, want[i])
		}
	}
}
