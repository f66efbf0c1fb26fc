package badinput

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/access"
	"sluice/test/gateway"
)

// briefly is how long what is to end by itself counts.
const briefly = 4 * time.Second

// doors are a gateway's issuers, keys and tickets.
type doors struct {
	r       *rig
	issuers *keyServer
	keys    map[string]string // by name
	secrets map[string]string // client id and secret, by application
	token   string            // of the case
	brief   time.Time         // when what is brief has ended
	old     string            // a ticket that has ended by then
}

// newDoors writes the issuers into the gateway's settings.
func newDoors(r *rig) *doors {
	d := &doors{r: r, issuers: newKeyServer(r.t, r.fix.Issuers), keys: map[string]string{}, secrets: map[string]string{}}
	path := filepath.Join(r.gate.Dir, "sluice.yaml")
	settings, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	text := string(settings) + "auth:\n  issuers:\n"
	for _, name := range slices.Sorted(maps.Keys(r.fix.Issuers)) {
		text += fmt.Sprintf("    - {name: %s, issuer: %q, jwks: %q, audiences: [edge]}\n", name, issOf(name), d.issuers.url+"/"+name)
	}
	if len(r.fix.Issuers) > 0 {
		r.gate.Write("sluice.yaml", text)
	}
	return d
}

func issOf(issuer string) string { return "https://" + issuer + ".example" }

// open makes the keys, and what ends by itself while the cases run.
func (d *doors) open() {
	t := d.r.t
	t.Helper()
	d.brief = time.Now().Add(briefly)
	for _, name := range slices.Sorted(maps.Keys(d.r.fix.Keys)) {
		k := d.r.fix.Keys[name]
		path := "POST /api/v1/applications/" + k.Application
		d.keys[name] = d.make(path+"/keys", cmp.Or(k.Body, "{}"), "key")
		if d.secrets[k.Application] == "" {
			secret := d.make(path+"/secret", "", "clientSecret")
			id, _ := access.ParseKey(access.ClientSecret, secret)
			d.secrets[k.Application] = id + ":" + secret
		}
	}
	until(t, "all issuers showed their keys", func() bool { return d.issuers.all(1) })
	if _, there := d.r.fix.Issuers["a"]; !there {
		return
	}
	until(t, "a ticket is sold", func() bool {
		d.brief = time.Now().Add(briefly)
		token := mint(t, &Token{Claims: fmt.Sprintf(`"exp":%d`, d.brief.Unix())})
		d.old = d.buy(t, "ticket", `{"api":"paid","version":"1"}`, "Authorization", "Bearer "+token)
		return d.old != ""
	})
}

// make asks the management API for something and returns a field of its answer.
func (d *doors) make(request, body, field string) string {
	t := d.r.t
	t.Helper()
	a := d.r.ask(t, &Manage{Request: request, Body: body})
	var out map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil || a.status/100 != 2 {
		t.Fatalf("%s: %d %s", request, a.status, a.body)
	}
	text, _ := out[field].(string)
	return text
}

// prepare makes what a case needs before anything is looked at.
func (d *doors) prepare(t *testing.T, c Case) {
	t.Helper()
	if c.Send.Token != nil {
		k := *c.Send.Token
		k.Header, k.Claims, k.Beside = d.r.expand(k.Header), d.r.expand(k.Claims), d.r.expand(k.Beside)
		d.token = mint(t, &k)
	}
	if name := c.Send.Refetch; name != "" {
		until(t, "the keys of "+name+" were fetched again", func() bool {
			d.unknown(t, gateway.OneShot(), name, "poke")
			return d.issuers.count(name) > 1
		})
	}
}

// unknown sends a token of a key that an issuer does not have.
func (d *doors) unknown(t *testing.T, client *http.Client, issuer, kid string) (status int, problem string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.r.gate.URL("/paid/1/ticks"), nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+mint(t, &Token{Issuer: issuer, Header: fmt.Sprintf(`"kid":%q`, kid)}))
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	return resp.StatusCode, typeOf(resp.Body)
}

// typeOf reads the type of a problem.
func typeOf(body io.Reader) string {
	var p struct{ Type string }
	_ = json.NewDecoder(body).Decode(&p)
	return p.Type
}

// buy buys a ticket or cookie over https; "" is a refusal.
func (d *doors) buy(t *testing.T, verb, body, header, value string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+d.r.gate.Addrs["edge-https"]+"/oauth2/"+verb, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header, value)
	client := gateway.OneShot()
	client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	switch cookies := resp.Cookies(); {
	case resp.StatusCode == http.StatusNoContent && len(cookies) == 1:
		return cookies[0].Value
	case resp.StatusCode == http.StatusCreated:
		var out struct{ Ticket string }
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out.Ticket
	}
	return ""
}

// sold is a ticket or cookie for an API, and a topic of it if that is named.
func (d *doors) sold(verb string, of []string) string {
	want := map[string]string{"api": of[0], "version": "1"}
	if len(of) > 1 {
		want["topic"] = of[1]
	}
	body, _ := json.Marshal(want)
	text := d.buy(d.r.t, verb, string(body), "ApiKey", d.keys["one"])
	if text == "" {
		d.r.t.Fatalf("no %s for %v", verb, of)
	}
	return text
}

// expand fills in ${now+n} (seconds of the epoch), ${soon} (when what is brief has ended), ${token} (the case's), ${key:name}, ${keyid:name},
// ${off:name} (a key with another character), ${crc:name} (with another checksum), ${unknownkey}, ${brief:name} (a key, once it has ended),
// ${basic:app} and ${wrong:app} (client id and secret), ${sub:app} (id of the subscription), ${ticket:api:topic}, ${cookie:api},
// ${spent} (a ticket that was used), ${oldticket} (one that has ended) and ${issuers} (address of their keys).
func (d *doors) expand(part []string) string {
	t := d.r.t
	t.Helper()
	if after, ok := strings.CutPrefix(part[0], "now"); ok {
		n, _ := strconv.ParseInt(cmp.Or(after, "0"), 10, 64)
		return strconv.FormatInt(time.Now().Unix()+n, 10)
	}
	name := strings.Join(part[1:], ":")
	key := d.keys[name]
	switch part[0] {
	case "soon":
		return d.brief.UTC().Format(time.RFC3339Nano)
	case "token":
		return d.token
	case "issuers":
		return d.issuers.url
	case "key":
		return key
	case "keyid":
		id, _ := access.ParseKey(access.APIKeySecret, key)
		return id
	case "off":
		return swap(key, len(key)/2)
	case "crc":
		return swap(key, len(key)-1)
	case "unknownkey":
		return access.MakeKey(access.APIKeySecret, access.NewID())
	case "brief":
		<-time.After(time.Until(d.brief))
		return key
	case "basic", "wrong":
		pair := d.secrets[name]
		if part[0] == "wrong" {
			pair = swap(pair, len(pair)/2)
		}
		return base64.StdEncoding.EncodeToString([]byte(pair))
	case "sub":
		return d.subscription(name)
	case "ticket", "cookie":
		return d.sold(part[0], part[1:])
	case "spent":
		ticket := d.sold("ticket", []string{"paid"})
		resp, err := gateway.OneShot().Get(d.r.gate.URL("/paid/1/ticks?ticket=" + ticket))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("a ticket: %v, %v", resp, err)
		}
		resp.Body.Close()
		return ticket
	case "oldticket":
		<-time.After(time.Until(d.brief))
		return d.old
	}
	t.Fatalf("unknown mark %v", part)
	return ""
}

// swap puts another character into a text of base 32.
func swap(text string, at int) string {
	other := byte('a')
	if text[at] == other {
		other = 'b'
	}
	return text[:at] + string(other) + text[at+1:]
}

// subscription is the id of an application's only one.
func (d *doors) subscription(app string) string {
	t := d.r.t
	t.Helper()
	a := d.r.ask(t, &Manage{Request: "GET /api/v1/subscriptions?limit=200"})
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ Application string }
		}
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		if s.Spec.Application == app {
			return s.Metadata.Name
		}
	}
	t.Fatalf("no subscription of %s: %s", app, a.body)
	return ""
}

// signers are what tokens are signed with.
var signers = sync.OnceValue(func() (k struct {
	ec, other, next *ecdsa.PrivateKey
	rsa             *rsa.PrivateKey
}) {
	for _, to := range []**ecdsa.PrivateKey{&k.ec, &k.other, &k.next} {
		*to, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	return k
})

// mint makes a token. What it says of itself need not be true.
func mint(t testing.TB, k *Token) string {
	t.Helper()
	now := time.Now().Unix()
	var key any
	alg, kid := "ES256", "e"
	switch keys := signers(); cmp.Or(k.Sign, "ec") {
	case "ec":
		key = keys.ec
	case "other":
		key = keys.other
	case "new":
		key, kid = keys.next, "n"
	case "rsa":
		key, alg, kid = keys.rsa, "RS256", "r"
	case "public":
		der, err := x509.MarshalPKIXPublicKey(&keys.rsa.PublicKey)
		if err != nil {
			t.Error(err)
		}
		key, alg, kid = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "HS256", "r"
	case "none":
		alg = "none"
	default:
		t.Errorf("no key %s", k.Sign)
	}
	head := members(t, [][2]string{{"alg", quoted(alg)}, {"kid", quoted(kid)}}, k.Header)
	body := members(t, [][2]string{{"iss", quoted(issOf(cmp.Or(k.Issuer, "a")))}, {"aud", `"edge"`}, {"sub", `"user"`}, {"client_id", `"client"`},
		{"iat", strconv.FormatInt(now, 10)}, {"nbf", strconv.FormatInt(now, 10)}, {"exp", strconv.FormatInt(now+600, 10)}, {"jti", `"one"`}}, k.Claims)
	if k.Beside != "" {
		body = strings.TrimSuffix(body, "}") + "," + k.Beside + "}"
	}
	text := raw64(head) + "." + raw64(body)
	var sig []byte
	switch key := key.(type) {
	case nil:
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		sig = mac.Sum(nil)
	default:
		var err error
		if sig, err = jwt.GetSigningMethod(alg).Sign(text, key.(crypto.PrivateKey)); err != nil {
			t.Error(err)
		}
	}
	return text + "." + raw64(string(sig))
}

func quoted(s string) string { return `"` + s + `"` }

func raw64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// members is a JSON object of members, but for those in whose place others are given; one that is given as null is left out.
func members(t testing.TB, usual [][2]string, given string) string {
	t.Helper()
	instead := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte("{"+given+"}"), &instead); err != nil {
		t.Errorf("%s: %v", given, err)
	}
	var all []string
	for _, m := range usual {
		if _, there := instead[m[0]]; !there {
			all = append(all, quoted(m[0])+":"+m[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(instead)) {
		if string(instead[name]) != "null" {
			all = append(all, quoted(name)+":"+string(instead[name]))
		}
	}
	return "{" + strings.Join(all, ",") + "}"
}

// keyServer shows the keys of issuers: e and r of all, but b's e is another. What an issuer shows from the second time on is, by its word:
// down (status 500), html, empty ({}), huge (100 MB), turned (key n too), gone (key n in place of e); else the same.
type keyServer struct {
	url string

	mu      sync.Mutex
	then    map[string]string
	fetches map[string]int // guarded by mu
}

func newKeyServer(t *testing.T, then map[string]string) *keyServer {
	s := &keyServer{then: then, fetches: map[string]int{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// ServeHTTP implements http.Handler.
func (s *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.fetches[name]++
	how := ""
	if s.fetches[name] > 1 {
		how = s.then[name]
	}
	s.mu.Unlock()
	keys := signers()
	e, r2, n := point("e", keys.ec), map[string]any{"kid": "r", "kty": "RSA", "n": raw64(string(keys.rsa.N.Bytes())), "e": "AQAB"}, point("n", keys.next)
	if name == "b" {
		e = point("e", keys.other)
	}
	show := func(keys ...map[string]any) {
		text, _ := json.Marshal(map[string]any{"keys": keys})
		_, _ = w.Write(text)
	}
	switch how {
	case "down":
		w.WriteHeader(http.StatusInternalServerError)
	case "html":
		_, _ = io.WriteString(w, "<!doctype html><p>Sign in</p>")
	case "empty":
		_, _ = io.WriteString(w, "{}")
	case "huge":
		_, _ = io.WriteString(w, `{"keys":[`)
		for range 100 << 10 {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<10)); err != nil {
				return
			}
		}
	case "turned":
		show(e, r2, n)
	case "gone":
		show(r2, n)
	default:
		show(e, r2)
	}
}

func point(kid string, key *ecdsa.PrivateKey) map[string]any {
	raw, _ := key.PublicKey.Bytes()
	return map[string]any{"kid": kid, "kty": "EC", "crv": "P-256", "x": raw64(string(raw[1:33])), "y": raw64(string(raw[33:]))}
}

// count is how often an issuer was asked.
func (s *keyServer) count(issuer string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches[issuer]
}

// all tells whether every issuer was asked n times.
func (s *keyServer) all(n int) bool {
	for name := range s.then {
		if s.count(name) < n {
			return false
		}
	}
	return true
}
