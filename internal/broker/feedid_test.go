package broker

import (
	"regexp"
	"strings"
	"testing"
)

func TestNewFeedID(t *testing.T) {
	long := "/" + strings.Repeat("a", 181)
	deep := "/" + strings.Repeat("a/", 12)
	for _, c := range []struct {
		name, api, version, path, query string
		wantAPI, wantKey                string
	}{
		{"plain", "market", "1.0.0", "/ticks", "", "market_v1_2e0_2e0", "ticks"},
		{"segments", "market", "1", "/quotes/ACME", "", "market_v1", "quotes.ACME"},
		{"upper case of the API is escaped", "Market", "v1", "/a", "", "_4darket_vv1", "a"},
		{"underscore and dot", "m", "1", "/a_b.c", "", "m_v1", "a_5fb_2ec"},
		{"decoded exactly once", "m", "1", "/%61%2561", "", "m_v1", "a_2561"},
		{"an encoded slash is no separator", "m", "1", "/a%2Fb", "", "m_v1", "a_2fb"},
		{"root", "m", "1", "/", "", "m_v1", "_"},
		{"trailing slash", "m", "1", "/a/", "", "m_v1", "a._"},
		{"empty segment inside", "m", "1", "/a//b", "", "m_v1", "a._.b"},
		{"query", "m", "1", "/s", "s=ACME", "m_v1", "s._qs_3dACME"},
		{"query is sorted by name, then value", "m", "1", "/s", "b=2&a=1&b=1", "m_v1", "s._qa_3d1_26b_3d1_26b_3d2"},
		{"an encoded ampersand stays inside its value", "m", "1", "/s", "a=1%26b", "m_v1", "s._qa_3d1_2526b"},
		{"bad escape stands for itself", "m", "1", "/100%", "", "m_v1", "100_25"},
		{"wildcards, space and control", "m", "1", "/*/>/ /%0d", "", "m_v1", "_2a._3e._20._0d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := NewFeedID(c.api, c.version, c.path, c.query)
			if f.API != c.wantAPI || f.Key != c.wantKey || f.Hashed() {
				t.Errorf("got %q %q hashed %t, want %q %q", f.API, f.Key, f.Hashed(), c.wantAPI, c.wantKey)
			}
		})
	}
	for name, path := range map[string]string{"long": long, "deep": deep} {
		f := NewFeedID("m", "1", path, "")
		if !f.Hashed() || len(f.Key) != 34 {
			t.Errorf("%s path: key %q, want a hash", name, f.Key)
		}
		if g := NewFeedID("m", "1", path, "x=1"); g == f {
			t.Errorf("%s path: the query does not change the hash", name)
		}
	}
	if a := NewFeedID(strings.Repeat("n", 70), "1", "/", "").API; len(a) != 34 || !strings.HasPrefix(a, "_h") {
		t.Errorf("long API name: token %q, want a hash", a)
	}
	if f := NewFeedID("m", "1", "/%61", "x=%31"); f != NewFeedID("m", "1", "/a", "x=1") {
		t.Error("two spellings of one resource are two feeds")
	}
}

// The map is injective: a canonical path and query come back from the key, and
// hashed keys are made of the canonical text.
func FuzzSubject(f *testing.F) {
	for _, s := range [][4]string{
		{"market", "1.0.0", "/quotes/ACME", "s=1"}, {"a", "b_v", "/%2e./*/>", "a=b&c=d"},
		{"", "", "", ""}, {"M", "v", "/a%2Fb//", "&&="}, {"ü", "_", "/%zz/%", "%26=%3d&x"},
		{"_q", "_h", "/_q/_h/_", "_"}, {"n", "1", "/" + strings.Repeat("x/", 20), "y"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	legal := regexp.MustCompile(`^[-_a-zA-Z0-9]+(\.[-_a-zA-Z0-9]+)*$`)
	f.Fuzz(func(t *testing.T, api, version, path, query string) {
		id := NewFeedID(api, version, path, query)
		if !legal.MatchString(id.String()) {
			t.Fatalf("%q is not a legal subject and KV key", id)
		}
		if strings.Contains(id.API, ".") || id.API != strings.ToLower(id.API) {
			t.Fatalf("API token %q", id.API)
		}
		if n := len("$KV.own." + id.String()); n >= 256 {
			t.Fatalf("subject of %d bytes", n)
		}
		if n := strings.Count("$KV.own."+id.String(), ".") + 1; n > 16 {
			t.Fatalf("subject of %d tokens", n)
		}
		canon := CanonicalPath(path, query)
		cp, cq, _ := strings.Cut(canon, "?")
		if again := NewFeedID(api, version, cp, cq); again != id {
			t.Fatalf("canonical %q: %v, want %v", canon, again, id)
		}
		if CanonicalPath(cp, cq) != canon {
			t.Fatalf("canonical form of %q is not stable", canon)
		}
		p, q, ok := id.Resource()
		if id.Hashed() {
			if ok {
				t.Fatalf("hashed key %q gave a resource", id.Key)
			}
			return
		}
		if !ok || p != cp || q != cq {
			t.Fatalf("key %q gave %q %q %t, want %q %q", id.Key, p, q, ok, cp, cq)
		}
	})
}

// APIs with different names or versions never share a token.
func TestAPITokenIsInjective(t *testing.T) {
	seen := map[string][2]string{}
	parts := []string{"", "a", "A", "_", "_v", "v", "a_vb", "b", "_h", strings.Repeat("x", 61), strings.Repeat("x", 62), strings.Repeat("_", 61)}
	for _, n := range parts {
		for _, v := range parts {
			tok := APIToken(n, v)
			if other, dup := seen[tok]; dup {
				t.Errorf("%q and %q share %q", other, [2]string{n, v}, tok)
			}
			seen[tok] = [2]string{n, v}
			if len(tok) > maxAPIBytes {
				t.Errorf("token %q is %d bytes", tok, len(tok))
			}
		}
	}
}
