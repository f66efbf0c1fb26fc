package access

import (
	"regexp"
	"strings"
	"testing"
)

func TestKeyFormat(t *testing.T) {
	form := regexp.MustCompile(`^slk_[a-z2-7]{12}_[a-z2-7]{59}$`)
	seen := map[string]bool{}
	for range 100 {
		id := NewID()
		text := MakeKey(APIKeySecret, id)
		if !form.MatchString(text) || seen[text] || seen[id] {
			t.Fatalf("key %q", text)
		}
		seen[text], seen[id] = true, true
		if got, ok := ParseKey(APIKeySecret, text); !ok || got != id {
			t.Fatalf("%q parsed as %q, %t", text, got, ok)
		}
		if _, ok := ParseKey(ClientSecret, text); ok {
			t.Fatal("a key is a client secret")
		}
	}
	text := MakeKey(APIKeySecret, NewID())
	for i := range text { // whatever one character is mistyped, no look-up is made
		for _, c := range "ab2_A=" {
			if wrong := text[:i] + string(c) + text[i+1:]; wrong != text {
				if _, ok := ParseKey(APIKeySecret, wrong); ok {
					t.Errorf("%q is taken for a key", wrong)
				}
			}
		}
	}
	for _, s := range []string{"", "slk_", text + "a", text[1:], strings.ToUpper(text), strings.Repeat("a", len(text)), strings.Repeat("_", len(text))} {
		if _, ok := ParseKey(APIKeySecret, s); ok {
			t.Errorf("%q is taken for a key", s)
		}
	}
}

func TestKeyMatches(t *testing.T) {
	text, pepper := MakeKey(APIKeySecret, NewID()), []byte("pepper")
	plain, peppered := &Key{}, &Key{}
	plain.Hash, plain.HashAlg = HashKey(text, nil)
	peppered.Hash, peppered.HashAlg = HashKey(text, pepper)
	if plain.HashAlg != HashSHA256 || peppered.HashAlg != HashHMAC || plain.Hash == peppered.Hash || len(plain.Hash) != 64 {
		t.Fatalf("%+v, %+v", plain, peppered)
	}
	other := MakeKey(APIKeySecret, NewID())
	for _, c := range []struct {
		name   string
		key    *Key
		text   string
		pepper []byte
		want   bool
	}{
		{"plain", plain, text, nil, true},
		{"plain, from before there was a pepper", plain, text, pepper, true},
		{"peppered", peppered, text, pepper, true},
		{"another pepper", peppered, text, []byte("salt"), false},
		{"no pepper any more", peppered, text, nil, false},
		{"another text", plain, other, nil, false},
		{"an unknown key", nil, text, nil, false},
		{"a key without a hash", &Key{}, text, nil, false},
	} {
		if got := c.key.Matches(c.text, c.pepper); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	app := &Application{}
	if app.SecretMatches(text) || (*Application)(nil).SecretMatches(text) {
		t.Error("an application without a secret has one")
	}
	app.SecretHash, _ = HashKey(text, nil)
	if !app.SecretMatches(text) || app.SecretMatches(other) {
		t.Error("client secret")
	}
}
