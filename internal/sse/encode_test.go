package sse

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

// joinLines is data with every line end a \n.
func joinLines(data string) string {
	return strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
}

// normalType is what AppendBody documents for a type, said another way.
func normalType(typ string) string {
	if typ == "" {
		return "message"
	}
	typ = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, refDecode("\xef\xbb\xbf"+typ))
	if strings.HasPrefix(typ, "gateway.") {
		typ = "upstream." + typ
	}
	cut := ""
	for _, r := range typ {
		if len(cut)+len(string(r)) > 255 {
			break
		}
		cut += string(r)
	}
	return cut
}

func TestAppendBody(t *testing.T) {
	for _, c := range []struct{ name, typ, data, want string }{
		{"plain", "", "x", "data: x\n"},
		{"a type", "quote", "x", "event: quote\ndata: x\n"},
		{"the type message is left out", "message", "x", "data: x\n"},
		{"no data is one empty line", "", "", "data:\n"},
		{"lines", "", "a\nb\n\nc", "data: a\ndata: b\ndata:\ndata: c\n"},
		{"a line end last", "", "a\n", "data: a\ndata:\n"},
		{"CRLF is one line end", "", "a\r\nb", "data: a\ndata: b\n"},
		{"CR is a line end", "", "a\rb\r", "data: a\ndata: b\ndata:\n"},
		{"LF CR are two", "", "a\n\rb", "data: a\ndata:\ndata: b\n"},
		{"CR CR LF are two", "", "a\r\r\nb", "data: a\ndata:\ndata: b\n"},
		{"a CR in data injects no field", "", "x\rid: 7\r\rdata: y", "data: x\ndata: id: 7\ndata:\ndata: data: y\n"},
		{"a leading space is kept", " t", " x", "event:  t\ndata:  x\n"},
		{"a NUL in data is kept", "", "a\x00b", "data: a\x00b\n"},
		{"line ends in a type are replaced", "a\r\nid: 7\n\n", "x", "event: a\uFFFD\uFFFDid: 7\uFFFD\uFFFD\ndata: x\n"},
		{"controls in a type are replaced", "a\x00\tb\x7f\u0085", "x", "event: a\uFFFD\uFFFDb\uFFFD\uFFFD\ndata: x\n"},
		{"ill-formed bytes in a type are replaced", "a\xe2\x82b\xff", "x", "event: a\uFFFDb\uFFFD\ndata: x\n"},
		{"letters of any script in a type", "prix€", "x", "event: prix€\ndata: x\n"},
		{"a gateway name is moved", "gateway.gap", "x", "event: upstream.gateway.gap\ndata: x\n"},
		{"the bare prefix is moved", "gateway.", "x", "event: upstream.gateway.\ndata: x\n"},
		{"only the prefix counts", "gateway", "x", "event: gateway\ndata: x\n"},
		{"case counts", "Gateway.gap", "x", "event: Gateway.gap\ndata: x\n"},
		{"a long type is cut", strings.Repeat("t", 300), "x", "event: " + strings.Repeat("t", 255) + "\ndata: x\n"},
		{"at a character", strings.Repeat("€", 86), "x", "event: " + strings.Repeat("€", 85) + "\ndata: x\n"},
		{"with its prefix", "gateway." + strings.Repeat("t", 255), "x", "event: upstream.gateway." + strings.Repeat("t", 238) + "\ndata: x\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(AppendBody([]byte("before|"), []byte(c.typ), []byte(c.data)))
			if got != "before|"+c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err := ValidBody([]byte(c.want)); err != nil {
				t.Errorf("ValidBody: %v", err)
			}
		})
	}
}

func TestAppendFrame(t *testing.T) {
	for _, c := range []struct{ name, body, id, want string }{
		{"the id is last", "event: t\ndata: x\n", "hobz-9z", "event: t\ndata: x\nid: hobz-9z\n\n"},
		{"no id", "data: x\n", "", "data: x\n\n"},
		{"a bookmark", "", "0-9z", "id: 0-9z\n\n"},
		{"an id with a line end is left out", "data: x\n", "1\nretry: 0", "data: x\n\n"},
		{"an id with a capital is left out", "data: x\n", "A-1", "data: x\n\n"},
		{"an id with a NUL is left out", "data: x\n", "1\x00", "data: x\n\n"},
		{"a body without its line end is closed", "data: x", "1-1", "data: x\nid: 1-1\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(AppendFrame([]byte("|"), []byte(c.body), []byte(c.id))); got != "|"+c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAppendControl(t *testing.T) {
	got := string(AppendControl(nil, "gateway.gap", []byte(`{"reason":"expired"}`), "1-2"))
	if want := "event: gateway.gap\ndata: {\"reason\":\"expired\"}\nid: 1-2\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = string(AppendControl(nil, "gateway.end\r\nid: 3", []byte("{\n \"a\":\r\n1}"), ""))
	if want := "event: gateway.endid:3\ndata: {  \"a\":  1}\n\n"; got != want {
		t.Errorf("hostile parts: got %q, want %q", got, want)
	}
	body := AppendControlBody([]byte("a\n"), "gateway.gap", []byte(`{}`))
	if want := "a\nevent: gateway.gap\ndata: {}\n"; string(body) != want {
		t.Errorf("body: got %q, want %q", body, want)
	}
	if err := ValidBody(body[2:]); err != nil {
		t.Errorf("ValidBody: %v", err)
	}
	if got := string(AppendRetry(nil, 3174)); got != "retry: 3174\n" {
		t.Errorf("retry: got %q", got)
	}
}

func TestValidBodyRefuses(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"empty", "", ErrBodyEnd},
		{"no line end", "data: x", ErrBodyEnd},
		{"only an event", "event: t\n", ErrBodyData},
		{"a carriage return", "data: x\r\n", ErrBodyCR},
		{"a blank line", "data: x\n\n", ErrBodyField},
		{"a blank line within", "data: x\n\ndata: y\n", ErrBodyField},
		{"a blank line first", "\ndata: x\n", ErrBodyField},
		{"an id", "data: x\nid: 1\n", ErrBodyField},
		{"a retry", "retry: 1\ndata: x\n", ErrBodyField},
		{"a comment", ": x\ndata: x\n", ErrBodyField},
		{"an event behind data", "data: x\nevent: t\n", ErrBodyField},
		{"two events", "event: t\nevent: u\ndata: x\n", ErrBodyField},
		{"data without a colon", "data\n", ErrBodyField},
		{"data without a space", "data:x\n", ErrBodyField},
		{"event without a space", "event:t\ndata: x\n", ErrBodyField},
		{"a longer name", "datas: x\n", ErrBodyField},
		{"JSON", "{\"a\":1}\n", ErrBodyField},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := ValidBody([]byte(c.body)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// BenchmarkAppendBody guards the cost and allocations of encoding an event for the store and for clients.
func BenchmarkAppendBody(b *testing.B) {
	typ := []byte("quote")
	line := []byte(strings.Repeat("0123456789", 20))
	b.Run("line", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = AppendBody(dst[:0], typ, line)
		}
	})
	b.Run("lines", func(b *testing.B) {
		b.ReportAllocs()
		lines := []byte(strings.Repeat("0123456789\n", 20))
		var dst []byte
		for b.Loop() {
			dst = AppendBody(dst[:0], typ, lines)
		}
	})
	b.Run("frame", func(b *testing.B) {
		b.ReportAllocs()
		body, id := AppendBody(nil, typ, line), []byte("hobziadz4n-hof9r8qmzg")
		var dst []byte
		for b.Loop() {
			dst = AppendFrame(dst[:0], body, id)
		}
	})
	b.Run("valid", func(b *testing.B) {
		b.ReportAllocs()
		body := AppendBody(nil, typ, line)
		for b.Loop() {
			if err := ValidBody(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
