package catalog

import (
	"net/url"
	"strings"
	"testing"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

// FuzzCanonical: what is taken has one spelling that is taken again unchanged and means the same bytes, without any segment that a
// server could read as another path.
func FuzzCanonical(f *testing.F) {
	for _, p := range []string{"/", "/a", "/a/", "//", "/a/%41", "/%252e", "/%c3%a9", "/a;b", "/%2f", "/.%2e", "/a%24$", "/%", "*", "/a\\b", "/\x00"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, _, err := splitPath(path)
		if err != nil {
			if k := problem.KindOf(err); k != problem.InvalidPath && k != problem.URITooLong {
				t.Fatalf("%q: %v", path, err)
			}
			return
		}
		canonical := joinPath(segments)
		if len(canonical) > maxPathBytes {
			return // escapes made it longer than a request may be
		}
		again, trailing, err := splitPath(canonical)
		if err != nil || trailing || joinPath(again) != canonical || len(again) != len(segments) {
			t.Fatalf("%q becomes %q, which becomes %q, %v", path, canonical, joinPath(again), err)
		}
		for i, seg := range segments {
			if seg != again[i] || seg == "" || seg == "." || seg == ".." || strings.ContainsAny(seg, "/\\;\x00\r\n\x7f") {
				t.Fatalf("%q has segment %q", path, seg)
			}
		}
		// Another reader sees the same bytes.
		u, err := url.ParseRequestURI(canonical)
		if err != nil || len(segments) > 0 && u.Path != "/"+strings.Join(segments, "/") {
			t.Fatalf("net/url reads %q as %v, %v", canonical, u, err)
		}
	})
}

// FuzzMatch: no panic; one request means one feed, by whatever spelling; the upstream URL has the endpoint's origin, no dot segment, and
// only bytes that need no second reading.
func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"/m/1/ticks", "lang=de"}, {"/m/1/quotes/%41CME", "depth=7&lang=en"}, {"/m/1/need", "id=%26"}, {"/m/1/files/a/b", ""},
		{"/place/deep/", ""}, {"/m/1/a%24b", "x=%zz"}, {"/1/place/deep/d/x", ""}, {"/m/quotes/A/bid", "lang"}} {
		f.Add(s[0], s[1])
	}
	s := matchSnapshot(f)
	f.Fuzz(func(t *testing.T, path, query string) {
		r, err := s.Match(path, query)
		if err != nil {
			switch problem.KindOf(err) {
			case problem.InvalidPath, problem.URITooLong, problem.NoSuchAPI, problem.NoSuchTopic, problem.InvalidQuery:
				return
			}
			t.Fatalf("%q?%q: %v", path, query, err)
		}
		if len(r.Path) > maxPathBytes || len(r.FeedPath) > maxPathBytes {
			return
		}
		again, err := s.Match(r.Path, r.FeedQuery)
		if err != nil || again.Ref() != r.Ref() || again.Topic != r.Topic || again.Upstream != r.Upstream || again.Path != r.Path {
			t.Fatalf("%q?%q leads to %+v, its canonical form to %+v, %v", path, query, r, again, err)
		}
		if fr, err := s.Feed(r.Ref()); err != nil || fr.Upstream != r.Upstream {
			t.Fatalf("Feed(%+v) = %+v, %v", r.Ref(), fr, err)
		}
		u, err := url.Parse(r.Upstream)
		if err != nil || u.Scheme+"://"+u.Host != strings.TrimSuffix(strings.TrimSuffix(r.API.Spec.Endpoint, "/base/"), "/") || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q?%q reads %q: %v", path, query, r.Upstream, err)
		}
		for seg := range strings.SplitSeq(u.EscapedPath(), "/") {
			if un, _ := url.PathUnescape(seg); un == "." || un == ".." || strings.ContainsAny(un, "/\\;") {
				t.Fatalf("%q?%q reads %q", path, query, r.Upstream)
			}
		}
		if strings.ContainsFunc(r.Upstream, func(c rune) bool { return c <= ' ' || c > '~' }) {
			t.Fatalf("raw bytes in %q", r.Upstream)
		}
		if _, err := url.ParseQuery(u.RawQuery); err != nil {
			t.Fatalf("query of %q: %v", r.Upstream, err)
		}
	})
}

// FuzzAPI: no definition makes the catalog panic; an accepted one is read back from its canonical form as the same API, and each of its
// always-on feeds can be found again.
func FuzzAPI(f *testing.F) {
	f.Add([]byte(matchAPIs))
	f.Add([]byte(one("", "topics: [{name: '/{a}', backend: '/x?{a}=1'}]")))
	f.Add([]byte(one("tags: [a]", "upstream: {headers: {X-A: b}, auth: {type: basic, username: u, secret: s}}")))
	f.Add([]byte(one("", "cors: {origins: ['https://a.example']}")))
	f.Add([]byte(one("", "context: '/{version}/x'")))
	f.Fuzz(func(t *testing.T, text []byte) {
		st, err := NewStatic(defaults(), Source{"f.yaml", text})
		if err != nil {
			if errs, ok := err.(doc.Errors); !ok || len(errs) == 0 {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		s := st.Snapshot()
		for _, api := range s.APIs() {
			canonical, err := doc.Marshal(api)
			if err != nil {
				t.Fatal(err)
			}
			alone, err := NewStatic(defaults(), Source{"f.json", canonical})
			if err != nil {
				t.Fatalf("%s\nis not read back: %v", canonical, err)
			}
			if again, _ := doc.Marshal(alone.Snapshot().APIs()[0]); string(again) != string(canonical) {
				t.Fatalf("%s\nis read back as\n%s", canonical, again)
			}
		}
		for _, r := range s.AlwaysOn() {
			if again, err := s.Feed(r.Ref()); err != nil || again.Topic != r.Topic {
				t.Fatalf("always-on feed %+v: %v", r.Ref(), err)
			}
			if m, err := s.Match(r.API.BasePath()+strings.TrimSuffix(r.FeedPath, "/"), r.FeedQuery); err != nil || m.Ref() != r.Ref() {
				t.Fatalf("request for %+v: %+v, %v", r.Ref(), m, err)
			}
		}
	})
}
