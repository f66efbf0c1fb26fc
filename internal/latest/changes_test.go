package latest

import (
	"fmt"
	"testing"
)

func TestChanges(t *testing.T) {
	var c Changes[string]
	shown := func(rev uint64) string {
		list, ok := c.Since(rev)
		return fmt.Sprint(list, ok)
	}
	if got := shown(0); got != "[] true" {
		t.Errorf("of nothing: %s", got)
	}
	c.Note(Change[string]{3, "a", "a0"})
	c.Note(Change[string]{5, "b", "b0"})
	c.Note(Change[string]{6, "a", "a1"})
	for rev, want := range map[uint64]string{
		0: "[{6 a a0} {5 b b0}] true", 2: "[{6 a a0} {5 b b0}] true", 3: "[{5 b b0} {6 a a1}] true", 5: "[{6 a a1}] true", 6: "[] true", 9: "[] true",
	} {
		if got := shown(rev); got != want {
			t.Errorf("since %d: %s, want %s", rev, got, want)
		}
	}
	for i := range uint64(Kept - 2) {
		c.Note(Change[string]{7 + i, "c", ""})
	}
	if c.Len() != Kept || c.Floor() != 3 || shown(2) != "[] false" || shown(3) == "[] false" {
		t.Errorf("%d changes since %d", c.Len(), c.Floor())
	}
	c.Forget(4000)
	if got := shown(3999) + shown(4000); got != "[] false[] true" {
		t.Errorf("forgotten: %s", got)
	}
}
