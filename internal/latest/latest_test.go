package latest

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v Value[int]
		if got := *v.Get(); got != 0 {
			t.Fatalf("before the first: %d", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		slow, quick := v.Watch(ctx), v.Watch(t.Context())
		if a, b := *<-slow, *<-quick; a != 0 || b != 0 {
			t.Fatalf("at once: %d, %d", a, b)
		}
		for n := 1; n <= 3; n++ {
			v.Set(&n)
			if got := *<-quick; got != n || *v.Get() != n {
				t.Errorf("after Set(%d): %d", n, got)
			}
		}
		if got := *<-slow; got != 3 {
			t.Errorf("who was slow gets %d, want the newest", got)
		}
		cancel()
		synctest.Wait()
		if _, open := <-slow; open {
			t.Error("the watch goes on after its context ended")
		}
		n := 4
		v.Set(&n)
		if got := *<-quick; got != 4 {
			t.Errorf("the other watch gets %d", got)
		}
	})
}
