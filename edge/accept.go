package edge

import (
	"net/http"
	"strconv"
	"strings"
)

// accepts reads the Accept header: whether an event stream may be the answer, and
// whether the client spelled out text/event-stream, which makes it an SSE request.
// The most specific range decides, so "text/event-stream;q=0, */*" refuses.
func accepts(h http.Header) (ok, sse bool) {
	values := h["Accept"]
	best := -1 // how specific the deciding range is
	empty := true
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			mediaRange, params, _ := strings.Cut(part, ";")
			mediaRange = strings.ToLower(strings.TrimSpace(mediaRange))
			if mediaRange == "" {
				continue
			}
			empty = false
			specific := -1
			switch mediaRange {
			case "text/event-stream":
				specific = 2
			case "text/*":
				specific = 1
			case "*/*":
				specific = 0
			}
			if specific < 0 || specific < best {
				continue
			}
			wanted := quality(params) > 0
			if specific > best {
				ok = wanted
			} else {
				ok = ok || wanted
			}
			best = specific
			sse = sse || specific == 2 && wanted
		}
	}
	if empty {
		return true, false
	}
	return ok, sse && ok
}

// quality reads q out of a media range's parameters; what is not a number counts as
// 1, as nobody means "not at all" by it.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return 1
		}
		return q
	}
	return 1
}
