package ingest

import (
	"strings"
	"testing"
)

// cutAndWait drops the upstream's connections and waits for the next one.
func (r *rig) cutAndWait(path string) {
	r.t.Helper()
	opens := r.status(path).Opens
	r.up.drop()
	r.until("connected again", func() bool { return r.status(path).Opens > opens })
}

func (r *rig) lastIDs() string {
	var ids []string
	for _, q := range r.up.requests() {
		ids = append(ids, "["+q.Header.Get("Last-Event-ID")+"]")
	}
	return strings.Join(ids, "")
}

func TestResumeIsProvenByOverlap(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "b", "c")
	r.wantTexts(f, "a b c")
	r.up.drop()
	p.add("d", "e")
	r.wantTexts(f, "a b c d e")
	r.cutAndWait("/ticks")
	p.add("f")
	r.wantTexts(f, "a b c d e f")
	if got := r.lastIDs(); got != "[][2][4]" {
		t.Errorf("presented %s", got)
	}
	if st := r.status("/ticks"); st.Resume != "proven" || st.Markers != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestResumeAfterRestart(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "b", "c")
	r.wantTexts(f, "a b c")
	epoch := r.status("/ticks").Epoch
	r.stop()
	p.add("d")
	r.run()
	r.wantTexts(f, "a b c d")
	st := r.status("/ticks")
	if st.Resume != "proven" || st.Epoch <= epoch {
		t.Errorf("status %+v, epoch before %d", st, epoch)
	}
}

func TestReplayOfTooMuchIsDropped(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	p.back = 1000
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "a", "b", "c")
	r.wantTexts(f, "a a b c")
	r.up.drop()
	p.add("d")
	r.wantTexts(f, "a a b c d")
	p.add("d", "d")
	r.wantTexts(f, "a a b c d d d") // invariant 5: repeats after the seam are events
}

func TestIgnoredIDIsMarkedOncePerSeam(t *testing.T) {
	r, p, f := storedTwo(t, true, false)
	for _, step := range []struct{ add, want string }{
		{"c", "a b <upstream-ignored-id> c"},
		{"d", "a b <upstream-ignored-id> c <upstream-ignored-id> d"},
	} {
		r.cutAndWait("/ticks")
		p.add(step.add)
		r.wantTexts(f, step.want)
	}
	r.cutAndWait("/ticks")
	r.cutAndWait("/ticks")
	p.add("e")
	r.wantTexts(f, "a b <upstream-ignored-id> c <upstream-ignored-id> d <upstream-ignored-id> e")
	if st := r.status("/ticks"); st.Resume != "unproven" || st.Markers != 3 {
		t.Errorf("status %+v", st)
	}
}

func TestNoIDsAreMarkedOncePerSeam(t *testing.T) {
	r, p, f := storedTwo(t, false, false)
	r.cutAndWait("/ticks")
	r.cutAndWait("/ticks")
	p.add("c", "d")
	r.wantTexts(f, "a b <upstream-no-id> c d")
	if got := r.lastIDs(); got != "[][][]" {
		t.Errorf("presented %s", got)
	}
	// The marker is the first event of its commit.
	for _, m := range r.stored(f) {
		if m.Gap && (m.Link == 0 || m.Seq == 0) {
			t.Errorf("marker %+v", m)
		}
	}
}

func TestUpstreamThatRefusesOlderIDs(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	p.refuse = 3
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "b", "c")
	r.wantTexts(f, "a b c")
	r.cutAndWait("/ticks")
	p.add("d")
	r.wantTexts(f, "a b c d") // the newest id was presented in the end, and 4 follows 3
	if got := r.lastIDs(); got != "[][2][3]" {
		t.Errorf("presented %s", got)
	}
}

func TestTrustPresentsTheNewestID(t *testing.T) {
	r := newRig(t)
	r.define("  upstream: {resume: trust}\n" + ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	f := feedOf("/ticks")
	r.wantState("/ticks", "up")
	p.add("a", "b")
	r.wantTexts(f, "a b")
	r.up.drop()
	p.add("c")
	r.wantTexts(f, "a b c")
	if got := r.lastIDs(); got != "[][2]" {
		t.Errorf("presented %s", got)
	}
}

func TestChangedBackendIsMarked(t *testing.T) {
	r, p, f := storedTwo(t, true, true)
	r.define("  topics:\n    - {name: /ticks, security: none, backend: /v2/ticks}\n")
	r.until("other path", func() bool {
		q := r.up.requests()
		return q[len(q)-1].URL.Path == "/v2/ticks"
	})
	r.wantState("/ticks", "up")
	p.add("c")
	r.wantTexts(f, "a b <upstream-changed> c")
	r.cutAndWait("/ticks") // ids of the old path are not presented to the new one
	if got := r.lastIDs(); got != "[][][3]" {
		t.Errorf("presented %s", got)
	}
	r.stop()
	// The change is known after a restart too.
	r.define(ticksOnly)
	r.run()
	r.wantState("/ticks", "up")
	p.add("d")
	r.wantTexts(f, "a b <upstream-changed> c <upstream-changed> d")
	if got := r.lastIDs(); got != "[][][3][]" {
		t.Errorf("presented %s", got)
	}
	r.stop()
	r.run()
	r.wantState("/ticks", "up")
	if got := r.lastIDs(); got != "[][][3][][4]" {
		t.Errorf("presented %s after a restart", got)
	}
}

func TestOtherChangesLeaveTheConnection(t *testing.T) {
	r := newRig(t)
	r.define(ticksOnly)
	p := newTape(r.up, true, true)
	r.run()
	r.wantState("/ticks", "up")
	r.define("  topics:\n    - {name: /ticks, security: none, description: new}\n    - {name: /more, security: none}\n")
	r.wantState("/more", "up")
	p.add("a")
	r.wantTexts(feedOf("/ticks"), "a")
	if st := r.status("/ticks"); st.Opens != 1 {
		t.Errorf("opened %d times", st.Opens)
	}
	r.define("  topics:\n    - {name: /more, security: none}\n")
	r.until("removed topic is closed", func() bool { return len(r.s.Feeds()) == 1 })
}

func TestIdleClosedFeedIsMarked(t *testing.T) {
	for _, c := range []struct {
		name string
		ids  bool
		want string
	}{
		{"without ids", false, "a b <idle-closed> d"},
		{"with ids it resumes", true, "a b c d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.define("  topics:\n    - {name: '/q/{s}', security: none, linger: 0s}\n")
			p := newTape(r.up, c.ids, true)
			r.run()
			e := r.edge("e1")
			e.open("/q/A")
			r.wantState("/q/A", "up")
			p.add("a", "b")
			f := feedOf("/q/A")
			r.wantTexts(f, "a b")
			e.list()
			r.until("closed", func() bool { return len(r.s.Feeds()) == 0 })
			p.add("c")
			e.open("/q/A")
			r.wantState("/q/A", "up")
			p.add("d")
			r.wantTexts(f, c.want)
		})
	}
}
