package doc

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes, written `1500`, `64KiB`, `8MiB`, `2GiB`, `1TiB` (powers of 1024) or `10kB`, `5MB`, `1GB`
// (powers of 1000). Never negative.
type Bytes int64

// Binary multiples of a byte.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

// Ratio is a share, written `20%` or `0.2`. Never negative; callers state their upper bound.
type Ratio float64

// byteUnits is ordered so that String finds the largest binary unit first.
var byteUnits = [...]struct {
	suffix string
	size   Bytes
}{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// ParseBytes reads a size as Bytes is written. Fractions, signs and overflow are errors.
func ParseBytes(s string) (Bytes, error) {
	number, unit := s, Bytes(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSuffix(rest, " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s is not a size such as 64KiB, 8MiB or 1500", quote(s))
	}
	if Bytes(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%s is too large", quote(s))
	}
	return Bytes(n) * unit, nil
}

// String writes b with the largest binary unit that divides it, so that ParseBytes reads it back exactly.
func (b Bytes) String() string {
	for _, u := range byteUnits[:4] {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText implements encoding.TextMarshaler with String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseBytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}

// ParseRatio reads a share as Ratio is written.
func ParseRatio(s string) (Ratio, error) {
	number, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, fmt.Errorf("%s is not a share such as 20%% or 0.2", quote(s))
	}
	if percent {
		f /= 100
	}
	return Ratio(f), nil
}

// String writes r as a percentage.
func (r Ratio) String() string {
	return strconv.FormatFloat(math.Round(float64(r)*1e8)/1e6, 'f', -1, 64) + "%"
}

// MarshalText implements encoding.TextMarshaler with String.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseRatio.
func (r *Ratio) UnmarshalText(text []byte) error {
	v, err := ParseRatio(string(text))
	if err == nil {
		*r = v
	}
	return err
}

// ParseDuration reads Go syntax (`1m30s`, `250ms`) or whole days first (`30d`, `1d12h`). A bare `0` is zero; any other
// number without a unit, a negative value and overflow are errors.
func ParseDuration(s string) (time.Duration, error) {
	bad := func() (time.Duration, error) {
		return 0, fmt.Errorf("%s is not a duration such as 250ms, 30s, 5m, 1h or 7d", quote(s))
	}
	var days time.Duration
	rest := s
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return bad()
		}
		if days, rest = time.Duration(n)*24*time.Hour, after; rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") || days > math.MaxInt64-d {
		return bad()
	}
	return days + d, nil
}

// FormatDuration writes d so that ParseDuration reads it back exactly, without needless zero parts: `15m`, not `15m0s`.
func FormatDuration(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// ParsePrefix reads a CIDR block, or a single address as a block of one. Host bits beyond the length are an error: who
// writes 10.1.2.3/8 meant something else.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a CIDR block such as 10.0.0.0/8 or an IP address", quote(s))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its length; write %s", quote(s), p.Masked())
	}
	return p, nil
}

// quote shows at most 64 bytes of outside text, so that no message grows with its input.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:61] + "..."
	}
	return strconv.Quote(s)
}
