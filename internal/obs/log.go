package obs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Log formats of LogConfig.
const (
	FormatAuto = "auto" // text on a terminal, json elsewhere
	FormatText = "text"
	FormatJSON = "json"
)

// LogConfig says how the process log looks. The zero value is level info, format
// auto, standard error.
type LogConfig struct {
	Level  string   // debug, info, warn or error; "" = info
	Format string   // auto, text or json; "" = auto
	Out    *os.File // nil = standard error
	// Limiter, if set, bounds repeated warnings; see NewLimiter.
	Limiter *Limiter
}

// NewLogger makes the process log. An unknown level or format is an error that
// names the choices.
func NewLogger(c LogConfig) (*slog.Logger, error) {
	out := c.Out
	if out == nil {
		out = os.Stderr
	}
	level, err := parseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	var h slog.Handler
	switch format := c.Format; {
	case format == FormatText, (format == FormatAuto || format == "") && isTerminal(out):
		h = newTextHandler(out, level, isTerminal(out) && os.Getenv("NO_COLOR") == "")
	case format == FormatJSON, format == FormatAuto, format == "":
		h = slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	default:
		return nil, fmt.Errorf("log format %q: want auto, text or json", format)
	}
	if c.Limiter != nil {
		h = c.Limiter.Handler(h)
	}
	return slog.New(h), nil
}

func parseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level %q: want debug, info, warn or error", s)
}

// isTerminal reports whether w is a character device: a person reads it.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
