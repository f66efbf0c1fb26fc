package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/access"
	"sluice/internal/access/token"
	"sluice/internal/broker/brokertest"
	"sluice/internal/problem"
)

func post(path, body string, lines ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n" + headerLines(lines) + "\r\n" + body
}

// Without control nothing is given, and the client is told when to come back; what control says is passed on as far as it makes sense.
func TestRelay(t *testing.T) {
	memory := brokertest.NewMemory(t)
	bus := memory.Bus()
	r := newRig(t, func(s *setup) { s.change = func(d *Deps) { d.Bus = bus } })
	a := r.raw(post("/oauth2/token", "grant_type=x"))
	if text := a.text(t); a.StatusCode != 503 || !strings.Contains(text, "/problems/control-unavailable") || a.Header.Get("Retry-After") == "" {
		t.Errorf("no control: %d %v %s", a.StatusCode, a.Header, text)
	}

	var heard token.Ask
	say := ""
	stop, err := memory.Peer().Bus().Serve(token.SubjectOAuth+"*", token.Group, func(_ string, body []byte, reply func([]byte) error) {
		heard = token.Ask{}
		if err := json.Unmarshal(body, &heard); err != nil {
			t.Error(err)
		}
		if err := reply([]byte(say)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, c := range []struct {
		say    string
		status int
		body   string
	}{
		{`{"v":1,"status":200,"header":{"Content-Type":"application/json","WWW-Authenticate":"Basic","Server":"x"},"body":"e30="}`, 200, `{}`},
		{`{"v":1,"problem":"not-subscribed"}`, 403, "/problems/not-subscribed"},
		{`{"v":1,"problem":"made-up"}`, 503, "/problems/control-unavailable"},
		{`{"v":2,"status":200}`, 503, "/problems/control-unavailable"},
		{`{"v":1,"status":99}`, 503, "/problems/control-unavailable"},
		{`{`, 503, "/problems/control-unavailable"},
	} {
		say = c.say
		a := r.raw(post("/oauth2/ticket", "x=1", "ApiKey: k1", "X-API-Key: k2", "Authorization: Bearer t", "Content-Type: a/b", "Origin: https://p.example", "Cookie: s=1"))
		text := a.text(t)
		if a.StatusCode != c.status || !strings.Contains(text, c.body) || a.Header.Get("Server") != "" {
			t.Errorf("%s: %d %v %s", c.say, a.StatusCode, a.Header, text)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("X-Request-Id") == "" || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", c.say, a.Header)
		}
	}
	if string(heard.Body) != "x=1" || !slices.Equal(heard.APIKey, []string{"k1", "k2"}) || !slices.Equal(heard.Authorization, []string{"Bearer t"}) ||
		heard.ContentType != "a/b" || heard.From.Origin != "https://p.example" || heard.From.TLS || heard.From.Base != "http://localhost" || !heard.From.IP.IsLoopback() {
		t.Errorf("control heard %+v", heard)
	}
	if a := r.raw("GET /oauth2/other HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 404 {
		t.Errorf("another path: %d", a.StatusCode)
	}
	if a := r.raw(post("/.well-known/jwks.json", "")); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("POST of keys: %d %v", a.StatusCode, a.Header)
	}
}

// What an API does not take is not sold for it. Who may read it is told what it takes; nobody else learns that.
func TestWhatIsNotTakenIsNotSold(t *testing.T) {
	p := newPeople()
	p.app("reader", "secure")
	p.app("stranger", "")
	p.app("both", "paid")
	r := newRig(t, withAccess(t, p, nil))
	for _, c := range []struct {
		app, api string
		what     access.Kind
		kind     problem.Kind
		detail   string
	}{
		{"reader", "secure", access.Ticket, problem.InvalidValue, "This API takes no tickets; it takes jwt, apiKey."},
		{"reader", "secure", access.Cookie, problem.InvalidValue, "This API takes no stream cookies; it takes jwt, apiKey."},
		{"stranger", "secure", access.Ticket, problem.NotSubscribed, ""},
		{"stranger", "paid", access.Ticket, problem.NotSubscribed, ""},
		{"both", "paid", access.Ticket, "", ""},
		{"both", "paid", access.Cookie, "", ""},
	} {
		buyer := Buyer{Principal: &access.Principal{Kind: access.APIKey, App: c.app, Key: keyID(c.app)}, Kind: c.what}
		err := MayBuy(p.Snapshot(), r.srv.catalog.Snapshot(), buyer, access.Bound{API: c.api, Version: "1"}, nil, time.Now())
		var told problem.Error
		if e := (*problem.Error)(nil); errors.As(err, &e) {
			told = *e
		}
		if told.Kind != c.kind || told.Detail != c.detail {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
