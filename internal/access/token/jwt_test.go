package token

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/access"
	"sluice/internal/problem"
)

// The token battery: T2–T9, T11, T17 of the bad-input table, and what is right beside each. Exact: "" is taken.
func TestTokenBattery(t *testing.T) {
	r := newRig(t)
	r.settle()
	k := testKeys()
	now := r.clock.now().Unix()
	ec := func(header map[string]any, claims any) string { return sign(t, "ES256", k.ec, header, claims) }
	e := map[string]any{"kid": "e"}
	good := r.token(nil)
	parts := strings.Split(good, ".")
	body := func(format string, args ...any) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"client_id":"client",%s}`, issA, aud, fmt.Sprintf(format, args...))
	}
	long := func(n int) string { // a good token of exactly n bytes
		for pad := 0; ; pad++ {
			if text := r.token(map[string]any{"pad": strings.Repeat("p", pad)}); len(text) >= n {
				return text
			}
			if pad == 0 {
				pad = (n-len(good))*3/4 - 40
			}
		}
	}
	deep := func(n int) string {
		return body(`"exp":%d,"deep":%s1%s`, now+60, strings.Repeat("[", n), strings.Repeat("]", n))
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":1`, i)
		}
		return body(`"exp":%d%s`, now+60, b.String())
	}
	const bad, old = problem.InvalidToken, problem.ExpiredToken
	for _, c := range []struct {
		name, text string
		want       problem.Kind
		event      string
	}{
		{"good ES256", good, "", ""},
		{"good RS256", sign(t, "RS256", k.rsa, map[string]any{"kid": "r"}, r.claimsOf(nil)), "", ""},
		{"good PS256, same key id", sign(t, "PS256", k.rsa, map[string]any{"kid": "r"}, r.claimsOf(nil)), "", ""},
		{"good EdDSA", sign(t, "EdDSA", k.ed, map[string]any{"kid": "d"}, r.claimsOf(nil)), "", ""},
		{"good HS256 of its issuer", sign(t, "HS256", hmacSecret, nil, r.claimsOf(map[string]any{"iss": issH})), "", ""},
		{"no kid, one key of the algorithm", ec(nil, r.claimsOf(nil)), "", ""},
		{"typ JWT", ec(map[string]any{"kid": "e", "typ": "JWT"}, r.claimsOf(nil)), "", ""},
		{"typ at+jwt", ec(map[string]any{"kid": "e", "typ": "application/AT+JWT"}, r.claimsOf(nil)), "", ""},
		{"typ of something else", ec(map[string]any{"kid": "e", "typ": "logout+jwt"}, r.claimsOf(nil)), bad, eventHeader},
		{"typ not a text", ec(map[string]any{"kid": "e", "typ": 1}, r.claimsOf(nil)), bad, eventHeader},
		{"typ required, absent", sign(t, "ES256", k.ec2, e, r.claimsOf(map[string]any{"iss": issB})), bad, eventHeader},
		{"typ required, there", sign(t, "ES256", k.ec2, map[string]any{"kid": "e", "typ": "at+jwt"}, r.claimsOf(map[string]any{"iss": issB})), "", ""},
		{"T2 alg none", sign(t, "none", nil, nil, r.claimsOf(nil)), bad, eventAlg},
		{"T2 alg None", sign(t, "None", nil, e, r.claimsOf(nil)), bad, eventAlg},
		{"T2 alg nOnE with a signature", signText(t, "ES256", k.ec, `{"alg":"nOnE","kid":"e"}`, body(`"exp":%d`, now+60)), bad, eventAlg},
		{"T2 empty signature", parts[0] + "." + parts[1] + ".", bad, eventAlg},
		{"T2 no alg", signText(t, "ES256", k.ec, `{"kid":"e"}`, body(`"exp":%d`, now+60)), bad, eventAlg},
		{"T2 alg not a text", signText(t, "ES256", k.ec, `{"alg":["ES256"],"kid":"e"}`, body(`"exp":%d`, now+60)), bad, eventAlg},
		{"T3 HS256 with the RSA key as secret", sign(t, "HS256", k.rsa.N.Bytes(), map[string]any{"kid": "r"}, r.claimsOf(nil)), bad, eventAlg},
		{"T3 HS256 with another secret", sign(t, "HS256", []byte("x"), nil, r.claimsOf(map[string]any{"iss": issH})), bad, eventIssuer},
		{"T3 ES256 for the issuer of a secret", sign(t, "ES256", k.ec, e, r.claimsOf(map[string]any{"iss": issH})), bad, eventAlg},
		{"T3 RS256 header, EC signature", signText(t, "ES256", k.ec, `{"alg":"RS256","kid":"e"}`, body(`"exp":%d`, now+60)), bad, eventHeader},
		{"T3 key id of another algorithm", sign(t, "RS256", k.rsa, e, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid is a path", ec(map[string]any{"kid": "../../dev/null"}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid is SQL", ec(map[string]any{"kid": "' OR 1=1 --"}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid of 128 bytes", ec(map[string]any{"kid": strings.Repeat("e", 128)}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid of 129 bytes", ec(map[string]any{"kid": strings.Repeat("e", 129)}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid of 1 MB", ec(map[string]any{"kid": strings.Repeat("e", 1<<20)}, r.claimsOf(nil)), bad, ""},
		{"T4 kid empty", ec(map[string]any{"kid": ""}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid with a line break", ec(map[string]any{"kid": "e\n"}, r.claimsOf(nil)), bad, eventHeader},
		{"T4 kid a number", ec(map[string]any{"kid": 1}, r.claimsOf(nil)), bad, eventHeader},
		{"T5 crit", ec(map[string]any{"kid": "e", "crit": []string{"exp"}}, r.claimsOf(nil)), bad, eventHeader},
		{"T5 jku, x5u, jwk are not looked at", ec(map[string]any{"kid": "e", "jku": r.b.URL, "x5u": r.b.URL, "jwk": jwk(t, k.ec2, "e", nil)}, r.claimsOf(nil)), "", ""},
		{"T5 signed by its own jwk", sign(t, "ES256", k.ec2, map[string]any{"kid": "e", "jwk": jwk(t, k.ec2, "e", nil)}, r.claimsOf(nil)), bad, eventIssuer},
		{"T6 8,192 bytes", long(8192), "", ""},
		{"T6 8,193 bytes", long(8192) + "A", bad, ""},
		{"T6 100,000 dots", strings.Repeat(".", 100_000), bad, ""},
		{"T6 one dot", parts[0] + "." + parts[1], bad, ""},
		{"T6 three dots", good + ".x", bad, ""},
		{"T6 spaces", " " + good, bad, ""},
		{"T6 padding", parts[0] + "=." + parts[1] + "." + parts[2], bad, ""},
		{"T6 line break in the header", parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2], bad, ""},
		{"T6 other alphabet", strings.ReplaceAll(good, "_", "/"), map[bool]problem.Kind{true: bad}[strings.Contains(good, "_")], map[bool]string{true: eventIssuer}[strings.Contains(parts[2], "_") && !strings.Contains(parts[0]+parts[1], "_")]},
		{"T7 exp past", ec(e, r.claimsOf(map[string]any{"exp": now - 1})), old, ""},
		{"T7 exp now", ec(e, r.claimsOf(map[string]any{"exp": now})), old, ""},
		{"T7 exp in a second", ec(e, r.claimsOf(map[string]any{"exp": now + 1})), "", ""},
		{"T7 exp in half a second", ec(e, body(`"exp":%d.5`, now)), old, ""},
		{"T7 exp 0", ec(e, r.claimsOf(map[string]any{"exp": 0})), old, ""},
		{"T7 exp past, wrong signature", parts[0] + "." + b64([]byte(body(`"exp":%d`, now-1))) + "." + parts[2], bad, eventIssuer},
		{"T7 exp past, wrong aud", ec(e, r.claimsOf(map[string]any{"exp": now - 1, "aud": "x"})), bad, eventIssuer},
		{"T7 exp past, nbf ahead", ec(e, r.claimsOf(map[string]any{"exp": now - 100, "nbf": now + 100})), bad, ""},
		{"T7 nbf 30 s ahead", ec(e, r.claimsOf(map[string]any{"nbf": now + 30})), "", ""},
		{"T7 nbf 31 s ahead", ec(e, r.claimsOf(map[string]any{"nbf": now + 31})), bad, ""},
		{"T7 iat 30 s ahead", ec(e, r.claimsOf(map[string]any{"iat": now + 30})), "", ""},
		{"T7 iat 31 s ahead", ec(e, r.claimsOf(map[string]any{"iat": now + 31})), bad, ""},
		{"T7 exp missing", ec(e, r.claimsOf(map[string]any{"exp": nil})), bad, ""},
		{"T7 exp a text", ec(e, r.claimsOf(map[string]any{"exp": fmt.Sprint(now + 60)})), bad, ""},
		{"T7 exp null", ec(e, body(`"exp":null`)), bad, ""},
		{"T7 exp 1e400", ec(e, body(`"exp":1e400`)), bad, ""},
		{"T7 exp negative", ec(e, body(`"exp":-1`)), bad, ""},
		{"T7 exp 2^53", ec(e, body(`"exp":9007199254740992`)), bad, ""},
		{"T7 exp in 30 days", ec(e, r.claimsOf(map[string]any{"exp": now + 30*86400})), "", ""},
		{"T7 exp in 30 days and a second", ec(e, r.claimsOf(map[string]any{"exp": now + 30*86400 + 1})), bad, ""},
		{"T7 nbf a text", ec(e, r.claimsOf(map[string]any{"nbf": "now"})), bad, ""},
		{"T8 aud wrong", ec(e, r.claimsOf(map[string]any{"aud": "x"})), bad, eventIssuer},
		{"T8 aud missing", ec(e, r.claimsOf(map[string]any{"aud": nil})), bad, ""},
		{"T8 aud empty", ec(e, r.claimsOf(map[string]any{"aud": []string{}})), bad, ""},
		{"T8 aud one of several", ec(e, r.claimsOf(map[string]any{"aud": []string{"x", "other"}})), "", ""},
		{"T8 aud holds a number", ec(e, r.claimsOf(map[string]any{"aud": []any{aud, 1}})), bad, ""},
		{"T8 iss unknown", ec(e, r.claimsOf(map[string]any{"iss": "https://c.example"})), bad, eventIssuer},
		{"T8 iss with a slash more", ec(e, r.claimsOf(map[string]any{"iss": issA + "/"})), bad, eventIssuer},
		{"T8 iss missing", ec(e, r.claimsOf(map[string]any{"iss": nil})), bad, eventIssuer},
		{"T8 iss a list", ec(e, r.claimsOf(map[string]any{"iss": []string{issA}})), bad, eventIssuer},
		{"T8 same kid of another issuer", sign(t, "ES256", k.ec2, e, r.claimsOf(nil)), bad, eventIssuer},
		{"T8 our key, foreign iss", sign(t, "ES256", k.ec, map[string]any{"kid": "e", "typ": "at+jwt"}, r.claimsOf(map[string]any{"iss": issB})), bad, eventIssuer},
		{"T17 exp twice", ec(e, body(`"exp":%d,"exp":%d`, now-60, now+60)), bad, eventDuplicate},
		{"T17 exp and EXP", ec(e, body(`"exp":%d,"EXP":%d`, now-60, now+60)), bad, eventDuplicate},
		{"T17 iss and ISS", ec(e, body(`"exp":%d,"ISS":"x"`, now+60)), bad, eventDuplicate},
		{"T17 folded like the Kelvin sign", ec(e, body(`"exp":%d,"k":1,"\u212a":2`, now+60)), bad, eventDuplicate},
		{"T17 escaped twice", ec(e, body(`"exp":%d,"e\u0078p":%d`, now+60, now+60)), bad, eventDuplicate},
		{"T17 twice, far down", ec(e, body(`"exp":%d,"x":[{"y":{"a":1,"A":2}}]`, now+60)), bad, eventDuplicate},
		{"T17 alg twice", signText(t, "ES256", k.ec, `{"alg":"none","alg":"ES256","kid":"e"}`, body(`"exp":%d`, now+60)), bad, eventDuplicate},
		{"64 members", ec(e, members(60)), "", ""},
		{"65 members", ec(e, members(61)), bad, ""},
		{"depth 8", ec(e, deep(7)), "", ""},
		{"depth 9", ec(e, deep(8)), bad, ""},
		{"claims a list", ec(e, `[1]`), bad, ""},
		{"claims and more", ec(e, body(`"exp":%d`, now+60)+`{}`), bad, ""},
		{"claims no JSON", ec(e, `{"iss":`), bad, ""},
		{"claims null", ec(e, `null`), bad, ""},
		{"client_id a number", ec(e, r.claimsOf(map[string]any{"client_id": 7})), bad, ""},
		{"100 scopes", ec(e, r.claimsOf(map[string]any{"scope": strings.Repeat("s ", 100)})), "", ""},
		{"101 scopes", ec(e, r.claimsOf(map[string]any{"scope": strings.Repeat("s ", 101)})), bad, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := r.verify(Credential{Kind: access.Token, Value: c.text})
			if kindOf(err) != c.want {
				t.Fatalf("answered %q (%v), want %q", kindOf(err), err, c.want)
			}
			if event, _ := CauseOf(err); event != c.event {
				t.Errorf("event %q, want %q", event, c.event)
			}
			if (p == nil) != (c.want != "") {
				t.Errorf("principal %+v", p)
			}
		})
	}
	if n := r.b.fetches.Load(); n > 1 {
		t.Errorf("issuer B was asked %d times", n)
	}
}

// All that is wrong with a token, or a key, is told in the same bytes.
func TestRefusalsHaveEqualBytes(t *testing.T) {
	r := newRig(t)
	r.settle()
	var want string
	for _, c := range []Credential{
		{Kind: access.Token, Value: "x"}, {Kind: access.Token, Value: r.token(map[string]any{"aud": "x"})},
		{Kind: access.Token, Value: r.token(map[string]any{"iss": "https://c.example"})}, {Kind: access.APIKey, Value: "x"},
		{Kind: access.APIKey, Value: access.MakeKey(access.APIKeySecret, access.NewID())},
	} {
		_, err := r.verify(c)
		got := fmt.Sprint(string(problem.From(err, "id").JSON()))
		if want == "" {
			want = got
		}
		if got != want || !strings.Contains(got, "invalid-token") {
			t.Errorf("%s: %s, want %s", c.Value, got, want)
		}
	}
}

// Each option of the library is needed, whatever our own walk finds before: without it the token beside it is taken.
func TestEachParserOptionIsNeeded(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	k := testKeys()
	c := ExternalIssuer{Issuer: issA, Audiences: []string{aud}, Algorithms: []string{"ES256"}}
	all := parserOptions(c, func() time.Time { return now })
	at := now.Unix()
	token := func(alg string, key any, more map[string]any) string {
		m := map[string]any{"iss": issA, "aud": aud, "exp": at + 60}
		for k, v := range more {
			if m[k] = v; v == nil {
				delete(m, k)
			}
		}
		return sign(t, alg, key, nil, m)
	}
	plain := token("ES256", k.ec, nil)
	loose := func() string { // the last letter of a part holds bits that mean nothing
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		at := strings.IndexByte(letters, plain[len(plain)-1])
		return plain[:len(plain)-1] + string(letters[at|1])
	}()
	for n, bad := range []string{
		0: token("RS256", k.rsa, nil),
		1: token("ES256", k.ec, map[string]any{"iss": issB}),
		2: token("ES256", k.ec, map[string]any{"aud": "x"}),
		3: token("ES256", k.ec, map[string]any{"exp": nil}),
		4: token("ES256", k.ec, map[string]any{"iat": at + 100}),
		5: "", // the clock
		6: "", // the leeway
		7: loose,
	} {
		key := func(tk *jwt.Token) (any, error) {
			if tk.Method.Alg() == "RS256" {
				return &k.rsa.PublicKey, nil
			}
			return &k.ec.PublicKey, nil
		}
		parse := func(o []jwt.ParserOption, text string) error {
			_, err := jwt.NewParser(o...).Parse(text, key)
			return err
		}
		less := slices.Delete(slices.Clone(all), n, n+1)
		if err := parse(all, plain); err != nil {
			t.Fatal(err)
		}
		switch n {
		case 5: // with the real clock, which is far from now
			if parse(less, token("ES256", k.ec, map[string]any{"exp": now.Add(-time.Minute).Unix()})) != nil && parse(less, plain) == nil {
				t.Error("the clock is not used")
			}
			ended := token("ES256", k.ec, map[string]any{"exp": int64(4_000_000_000), "nbf": int64(3_900_000_000)})
			future := parserOptions(c, func() time.Time { return time.Unix(3_950_000_000, 0) })
			if parse(future, ended) != nil || parse(slices.Delete(slices.Clone(future), n, n+1), ended) == nil {
				t.Error("the clock is not used")
			}
		case 6:
			early := token("ES256", k.ec, map[string]any{"nbf": at + 30})
			if parse(all, early) != nil || parse(less, early) == nil {
				t.Error("the leeway is not used")
			}
		default:
			if err := parse(all, bad); err == nil {
				t.Errorf("option %d: taken", n)
			}
			if err := parse(less, bad); err != nil {
				t.Errorf("option %d is not what refuses: %v", n, err)
			}
		}
	}
	if len(all) != 8 {
		t.Errorf("%d options, 8 of them tried", len(all))
	}
}

func TestPrincipalOfAToken(t *testing.T) {
	r := newRig(t)
	now := time.Unix(r.clock.now().Unix(), 0)
	p, err := r.verify(Credential{Kind: access.Token, Value: r.token(nil)})
	if err != nil {
		t.Fatal(err)
	}
	want := access.Principal{Kind: access.Token, App: r.app(), Issuer: issA, Subject: "user", TokenID: "1", Scopes: []string{"x", "y"}, Issued: now,
		Expires: now.Add(10 * time.Minute)}
	if got, w := mustJSON(t, p), mustJSON(t, want); got != w {
		t.Errorf("got  %s\nwant %s", got, w)
	}
	for name, c := range map[string]struct {
		claims map[string]any
		app    string
	}{
		"azp":                              {map[string]any{"client_id": nil, "azp": "client"}, r.app()},
		"client_id wins":                   {map[string]any{"client_id": "other", "azp": "client"}, ""},
		"claim of the settings":            {map[string]any{"client_id": nil, "app": "client"}, r.app()},
		"none":                             {map[string]any{"client_id": nil}, ""},
		"client of an issuer not ours":     {map[string]any{"client_id": "client2"}, ""},
		"an application's id is no client": {map[string]any{"client_id": r.app()}, ""},
	} {
		p, err := r.verify(Credential{Kind: access.Token, Value: r.token(c.claims)})
		if err != nil || p.App != c.app {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	p, err = r.verify(Credential{Kind: access.Token, Value: r.token(map[string]any{"scope": nil, "scp": []string{"a", "b"}})})
	if err != nil || !slices.Equal(p.Scopes, []string{"a", "b"}) {
		t.Errorf("scp: %+v, %v", p, err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What was verified is still judged at each use: its end, its revocation, its application, its issuer's keys.
func TestVerifiedTokensAreJudgedAtEachUse(t *testing.T) {
	r := newRig(t)
	r.settle() // what is verified while the keys come is verified again
	text := r.token(nil)
	if k := r.kind(text); k != "" {
		t.Fatal(k)
	}
	c := Credential{Kind: access.Token, Value: text}
	if !r.v.Cached(c) || r.v.Cached(Credential{Kind: access.Token, Value: text + "x"}) {
		t.Error("what is remembered is not that token")
	}
	r.recs.Applications[0].Clients = nil
	r.index()
	if p, err := r.verify(c); err != nil || p.App != "" {
		t.Errorf("without its application: %+v, %v", p, err)
	}
	r.recs.Revocations = []*access.Revocation{{Kind: access.RevokeToken, Value: issA + " 1", Before: r.clock.now().Add(time.Second)}}
	r.index()
	if k := r.kind(text); k != problem.InvalidToken {
		t.Errorf("revoked: %q", k)
	}
	r.recs.Revocations = nil
	r.index()
	r.clock.advance(4*time.Minute + 59*time.Second)
	if !r.v.Cached(c) {
		t.Error("forgotten within 5 minutes")
	}
	r.clock.advance(time.Second)
	if r.v.Cached(c) {
		t.Error("remembered beyond 5 minutes")
	}
	if k := r.kind(text); k != "" {
		t.Errorf("verified again: %q", k)
	}
	r.clock.advance(4*time.Minute + 59*time.Second)
	if k := r.kind(text); k != "" {
		t.Errorf("a second before its end: %q", k)
	}
	r.clock.advance(500 * time.Millisecond)
	if k := r.kind(text); k != problem.ExpiredToken {
		t.Errorf("half a second before its end: %q", k)
	}
	bad := r.token(map[string]any{"aud": "x"})
	if r.kind(bad) == "" || r.v.Cached(Credential{Kind: access.Token, Value: bad}) {
		t.Error("a failure was remembered")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Unix(1000, 0)
	i := &issuer{}
	e := &verified{issuer: i, until: now.Add(verifiedFor), since: now}
	sum := func(n int) (out [32]byte) {
		binary.BigEndian.PutUint32(out[:], uint32(n))
		return out
	}
	for n := range 3 * mostVerified / 2 {
		c.add(sum(n), e, now)
		if size := c.size(); size > mostVerified {
			t.Fatalf("%d entries", size)
		}
	}
	if c.get(sum(3*mostVerified/2-1), now) != e || c.get(sum(0), now) != nil {
		t.Error("the newest is gone, or the oldest is there")
	}
	c.add(sumOf("x"), e, now.Add(verifiedFor))
	c.add(sumOf("y"), e, now.Add(2*verifiedFor))
	if size := c.size(); size != 2 {
		t.Errorf("%d entries after ten minutes", size)
	}
}

func TestCauseOfOtherErrors(t *testing.T) {
	if event, why := CauseOf(errors.New("x")); event != "" || why != "" {
		t.Error(event, why)
	}
}

// FuzzJWT: whatever is sent, nothing but what the issuer signed is taken, and nothing panics.
func FuzzJWT(f *testing.F) {
	r := newRig(f)
	r.settle()
	good := r.token(nil)
	parts := strings.Split(good, ".")
	for _, s := range []string{good, "", "..", parts[0] + "." + parts[1] + ".", strings.Repeat("A", 8193), parts[1] + "." + parts[0] + "." + parts[2]} {
		f.Add(s, []byte(`{"alg":"ES256","kid":"e"}`), []byte(`{"exp":1}`))
	}
	f.Add("", []byte(`{"alg":"none"}`), []byte(`{"iss":"`+issA+`","exp":2000000000}`))
	f.Fuzz(func(t *testing.T, text string, head, body []byte) {
		for _, s := range []string{text, b64(head) + "." + b64(body) + "." + parts[2], b64(head) + "." + b64(body) + "."} {
			p, err := r.v.Verify(t.Context(), r.snap, Credential{Kind: access.Token, Value: s})
			if (p == nil) == (err == nil) {
				t.Fatalf("%q: %+v, %v", s, p, err)
			}
			if err == nil && s != good {
				t.Fatalf("taken: %q", s)
			}
			if err != nil {
				switch k := problem.KindOf(err); k {
				case problem.InvalidToken, problem.MissingToken, problem.ExpiredToken:
				default:
					t.Fatalf("%q: %v", s, k)
				}
			}
		}
		// The walk takes nothing that encoding/json refuses, and agrees with it on what there is.
		if m, err := walk(body); err == nil {
			var std map[string]any
			if err := json.Unmarshal(body, &std); err != nil || len(std) != len(m) {
				t.Fatalf("walk takes %q, encoding/json says %v", body, err)
			}
		}
	})
}
