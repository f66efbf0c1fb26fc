package doc

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1500": 1500, "64KiB": 64 * KiB, "8 MiB": 8 * MiB, "2GiB": 2 * GiB, "1TiB": TiB,
		"5MB": 5e6, "10kB": 1e4, "7B": 7} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1.5MiB", "1mib", "MiB", "9223372036854775808", "9000000TiB", "1 2KiB", "1KiBB", "0x10"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "1m30s": 90 * time.Second, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour,
		"250ms": 250 * time.Millisecond, "1.5h": 90 * time.Minute} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-5s", "+5s", "d", "1.5d", "-1d", "1d-1h", "106752d", "99999999h", "1d5", "1 s", "1h1d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 15 * time.Minute: "15m", time.Hour: "1h", 48 * time.Hour: "2d", 90 * time.Second: "1m30s",
		36 * time.Hour: "36h", time.Hour + time.Second: "1h0m1s", 100 * time.Millisecond: "100ms"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%d is written %q, want %q", d, got, want)
		}
	}
}

func TestRatios(t *testing.T) {
	for text, want := range map[string]Ratio{"20%": 0.2, "0.2": 0.2, "0": 0, "150%": 1.5, "12.5%": 0.125} {
		if got, err := ParseRatio(text); err != nil || got != want {
			t.Errorf("%s = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "-1", "NaN", "Inf", "1/2"} {
		if got, err := ParseRatio(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestSetTextReadsOneText(t *testing.T) {
	type all struct {
		S string
		B bool
		I int
		D time.Duration
		Z Bytes
		L []string
	}
	var a all
	v := reflect.ValueOf(&a).Elem()
	for i, text := range []string{"a,b", "true", "-7", "2d", "1KiB", " x, y ,"} {
		if err := SetText(v.Field(i), text); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(all{"a,b", true, -7, 48 * time.Hour, KiB, []string{"x", "y"}}, a); diff != "" {
		t.Error(diff)
	}
	for i, text := range []string{1: "yes", 2: "1.5", 3: "2", 4: "x"} {
		if text == "" {
			continue
		}
		if err := SetText(v.Field(i), text); err == nil {
			t.Errorf("field %d took %q", i, text)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"linger", "heartbeat", "age", "addr"}
	for name, want := range map[string]string{"lingr": "linger", "LINGER": "linger", "hearbeats": "heartbeat", "lnigre": "linger", "agee": "age",
		"adr": "addr", "x": "", "loners": "", "aqqr": "", "heartbeatzzz": ""} {
		if got := Nearest(name, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
