package broker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLagSignalsOnlyWhatIsLackedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLag(time.Now)
		signalled := func() bool {
			synctest.Wait()
			select {
			case <-l.Behind():
				return true
			default:
				return false
			}
		}
		l.Applied(5)
		l.heard(5)
		if began := time.Now(); !l.Fresh().Equal(began) {
			t.Errorf("fresh at %v, want %v", l.Fresh(), began)
		}
		time.Sleep(time.Second)
		told := time.Now()
		l.heard(7) // lacked, then it comes in time; newer ones are always on their way
		for rev := uint64(8); rev < 20; rev++ {
			time.Sleep(time.Second)
			l.Applied(rev - 1)
			l.heard(rev)
			if signalled() {
				t.Fatalf("signalled at %d though it keeps up", rev)
			}
		}
		if l.Fresh().Before(told) {
			t.Error("who keeps up is not fresh")
		}
		before := l.Fresh()
		time.Sleep(time.Second + 900*time.Millisecond) // since 19 was told
		if signalled() {
			t.Error("signalled too early")
		}
		time.Sleep(100 * time.Millisecond)
		if !signalled() {
			t.Error("not signalled after 2 s")
		}
		l.heard(19)
		time.Sleep(lagAllowed)
		if !signalled() {
			t.Error("not signalled again")
		}
		if !l.Fresh().Equal(before) {
			t.Error("fresh while behind")
		}
		l.Applied(20) // read anew
		l.heard(20)
		time.Sleep(time.Minute)
		if signalled() || !l.Fresh().After(before) {
			t.Error("behind after it was healed")
		}
	})
}

func TestRevisionsThatCannotBeReadAreRefused(t *testing.T) {
	for _, body := range []string{"", "{}", `{"v":2,"rev":{"a":1}}`, `{"v":1,"rev":{"a":-1}}`, `{"v":1,"rev":[]}`, `{"v":1,"node":"` + strings.Repeat("x", 1024) + `"}`} {
		if _, err := readRevisions([]byte(body)); !errors.Is(err, ErrForeign) {
			t.Errorf("%.30q: %v", body, err)
		}
	}
	if r, err := readRevisions([]byte(`{"v":1,"node":"n","rev":{"a":1}}`)); err != nil || r.Rev["a"] != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
