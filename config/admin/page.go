package admin

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"sluice/internal/problem"
)

const defaultLimit = 50

// cursor is where a page ends: the sort key of its last entry and its id, which makes it unique. Entries that come and go in between
// neither hide nor repeat others.
type cursor struct{ key, id string }

func (k cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(k.key + "\x00" + k.id))
}

func parseCursor(text string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	key, id, ok := strings.Cut(string(raw), "\x00")
	if err != nil || !ok {
		return cursor{}, &problem.Error{Kind: problem.InvalidQuery,
			Errors: []problem.Part{{Parameter: "cursor", Reason: "is not what the page before told"}}}
	}
	return cursor{key, id}, nil
}

// paginate sorts items by key, descending if down, and returns the page that follows the cursor.
func paginate[T any](items []T, key func(T) cursor, down bool, limit int, after string) (page []T, next string, err error) {
	order := func(a, b cursor) int {
		c := strings.Compare(a.key, b.key)
		if down {
			c = -c
		}
		return cmp.Or(c, strings.Compare(a.id, b.id))
	}
	slices.SortFunc(items, func(a, b T) int { return order(key(a), key(b)) })
	start := 0
	if after != "" {
		at, err := parseCursor(after)
		if err != nil {
			return nil, "", err
		}
		start, _ = slices.BinarySearchFunc(items, at, func(item T, at cursor) int {
			if order(key(item), at) <= 0 {
				return -1
			}
			return 1
		})
	}
	if limit == 0 {
		limit = defaultLimit
	}
	end := min(start+limit, len(items))
	if end < len(items) {
		next = key(items[end-1]).String()
	}
	return items[start:end], next, nil
}
