package load

import (
	"net/http"
	"testing"
)

func TestBodiesForOtherServers(t *testing.T) {
	data := []byte(`{"n":1,"p":"a+b"}`)
	for template, want := range map[string]string{
		"{{data}}": `{"n":1,"p":"a+b"}`,
		`{"channel":"c{{topic}}","data":{{data}}}`: `{"channel":"c7","data":{"n":1,"p":"a+b"}}`,
		`{"id":{{n}},"data":{{data|json}}}`:        `{"id":9,"data":"{\"n\":1,\"p\":\"a+b\"}"}`,
		"topic=t&data={{data|form}}":               "topic=t&data=%7B%22n%22%3A1%2C%22p%22%3A%22a%2Bb%22%7D",
	} {
		if got := string(fillBody(template, 7, 9, data)); got != want {
			t.Errorf("%s: %s", template, got)
		}
	}
}

func TestTargetsSpreadClients(t *testing.T) {
	c, err := Cell{URL: "http://127.0.0.1:8080/t/{topic}?x=%d", Topics: 3, Clients: 45_000, Header: http.Header{"B": {"2"}, "A": {"1"}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	tg, err := newTarget(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := "GET /t/2?x=2 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nA: 1\r\nAccept: text/event-stream\r\nB: 2\r\n"
	if got := string(tg.heads[2]); got != want {
		t.Errorf("request %q", got)
	}
	for client, want := range map[int]string{0: "127.0.0.1", 19_999: "127.0.0.1", 20_000: "127.0.0.2", 44_999: "127.0.0.3"} {
		if got := tg.sourceOf(client).String(); got != want {
			t.Errorf("client %d from %s, want %s", client, got, want)
		}
	}
	c.Clients = 20_000
	if tg, err = newTarget(t.Context(), c); err != nil || tg.sourceOf(5) != nil {
		t.Errorf("few clients need no address of their own: %v, %v", tg.sourceOf(5), err)
	}
}
