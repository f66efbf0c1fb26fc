package obs

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// textHandler writes one line per record for people: time of day, level, message,
// key=value. Values with blanks, quotes or control bytes are quoted, so a line
// stays one line whatever a client sent.
type textHandler struct {
	mu    *sync.Mutex // guards out
	out   io.Writer
	level slog.Level
	color bool
	pre   string // attributes of WithAttrs, encoded
	group string // "a.b." of WithGroup
}

func newTextHandler(out io.Writer, level slog.Level, color bool) *textHandler {
	return &textHandler{mu: new(sync.Mutex), out: out, level: level, color: color}
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = r.Time.AppendFormat(b, "15:04:05.000 ")
	}
	b = h.appendLevel(b, r.Level)
	b = append(b, ' ')
	b = appendText(b, r.Message, false)
	b = append(b, h.pre...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return true
	})
	b = append(b, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(b)
	return err
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	b := []byte(h.pre)
	for _, a := range attrs {
		b = appendAttr(b, h.group, a)
	}
	c.pre = string(b)
	return &c
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.group = h.group + name + "."
	return &c
}

func (h *textHandler) appendLevel(b []byte, l slog.Level) []byte {
	name, code := "DEBUG", "90"
	switch {
	case l >= slog.LevelError:
		name, code = "ERROR", "31"
	case l >= slog.LevelWarn:
		name, code = "WARN ", "33"
	case l >= slog.LevelInfo:
		name, code = "INFO ", "32"
	}
	if !h.color {
		return append(b, name...)
	}
	b = append(b, "\x1b["...)
	b = append(b, code...)
	b = append(b, 'm')
	b = append(b, name...)
	return append(b, "\x1b[0m"...)
}

func appendAttr(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, g := range v.Group() {
			b = appendAttr(b, group, g)
		}
		return b
	}
	b = append(b, ' ')
	b = append(b, group...)
	b = append(b, a.Key...)
	b = append(b, '=')
	if v.Kind() == slog.KindTime {
		return v.Time().AppendFormat(b, time.RFC3339)
	}
	return appendText(b, v.String(), true)
}

// appendText appends s, quoted if it holds anything but plain printable text.
func appendText(b []byte, s string, value bool) []byte {
	plain := !value || s != ""
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = c > ' ' && c < 0x7f && c != '"' && c != '=' || !value && c == ' '
	}
	if plain && !strings.Contains(s, "\x1b") {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}
