package ingest

import "time"

// Clock is the wall clock: for stamps and dates. Waiting is package time's.
type Clock interface{ Now() time.Time }
