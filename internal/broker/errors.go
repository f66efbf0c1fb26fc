package broker

import "fmt"

// Error names the feed and both sequences.
func (e *FencedError) Error() string {
	return fmt.Sprintf("feed %s: fenced: last sequence is %d, expected %d", e.Feed, e.Actual, e.Expected)
}
