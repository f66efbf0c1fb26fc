package admin

import (
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/internal/problem"
)

// etag is how a revision is shown to clients.
func etag(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

// setETag tells the revision of what is answered.
func setETag(c echo.Context, rev uint64) { c.Response().Header().Set("ETag", etag(rev)) }

// precondition is what a client says a record must be at.
type precondition struct {
	given bool
	any   bool // whatever is there
	rev   uint64
}

// readIfMatch reads If-Match: one strong tag, or *. A tag that is none of ours matches nothing.
func readIfMatch(c echo.Context) (precondition, error) {
	text := strings.TrimSpace(c.Request().Header.Get("If-Match"))
	switch {
	case text == "":
		return precondition{}, nil
	case text == "*":
		return precondition{given: true, any: true}, nil
	case strings.Contains(text, ","):
		return precondition{}, &problem.Error{Kind: problem.InvalidHeader, Errors: []problem.Part{{Parameter: "If-Match", Reason: "must be one tag or *"}}}
	}
	rev, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 64)
	if err != nil || len(text) < 3 || text[0] != '"' || text[len(text)-1] != '"' || rev == 0 {
		return precondition{}, problem.VersionMismatch
	}
	return precondition{given: true, rev: rev}, nil
}

// needIfMatch is readIfMatch where it must be there.
func needIfMatch(c echo.Context) (precondition, error) {
	p, err := readIfMatch(c)
	if err == nil && !p.given {
		return p, &problem.Error{Kind: problem.PreconditionRequired, Detail: "Send If-Match with the ETag of what you read, or *."}
	}
	return p, err
}

// noneMatch tells whether the client has revision rev already.
func noneMatch(c echo.Context, rev uint64) bool {
	for tag := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == "*" || tag == etag(rev) {
			return true
		}
	}
	return false
}
