package catalog

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/doc"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ids(s *Snapshot) []string {
	var out []string
	for _, a := range s.APIs() {
		out = append(out, a.ID())
	}
	return out
}

func TestDirReadsDefinitionFilesOnly(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "b.yaml", one("name: b", "context: /b")+"---\n"+one("name: c", "context: /c"))
	put(t, dir, "a.json", `{"apiVersion":"sluice/v1","kind":"API","metadata":{"name":"a"},"spec":{"context":"/a","version":"1"}}`)
	put(t, dir, "d.YML", one("name: d", "context: /d"))
	put(t, dir, "notes.txt", "not a definition")
	put(t, dir, ".hidden.yaml", "not a definition")
	if err := os.Mkdir(filepath.Join(dir, "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := OpenDir(dir, defaults())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@1", "b@1", "c@1", "d@1"}, ids(st.Snapshot())); diff != "" || st.Snapshot().Revision() != 1 {
		t.Errorf("%s revision %d", diff, st.Snapshot().Revision())
	}
	if _, err := OpenDir(filepath.Join(dir, "none"), defaults()); err == nil {
		t.Error("a folder that is not there opens")
	}
	if st, err := OpenDir(t.TempDir(), defaults()); err != nil || len(st.Snapshot().APIs()) != 0 {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestReloadSharesWhatDidNotChangeAndTellsWhatDid(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.yaml", one("", ""))
	put(t, dir, "b.yaml", one("name: b", "context: /b"))
	put(t, dir, "c.yaml", one("name: c", "context: /c"))
	st, err := OpenDir(dir, defaults())
	if err != nil {
		t.Fatal(err)
	}
	before := st.Snapshot()
	put(t, dir, "a.yaml", "# a comment, other quotes, other order\n"+strings.Replace(one("", ""), "'1'", `"1"`, 1))
	put(t, dir, "b.yaml", strings.Replace(one("name: b", "context: /b"), "http://h", "http://other", 1))
	put(t, dir, "d.yaml", one("name: d", "context: /d"))
	if err := os.Remove(filepath.Join(dir, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	d, err := st.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"d@1"}, {"c@1"}, {"b@1"}}, [][]string{d.Added, d.Removed, d.Changed}); diff != "" {
		t.Error(diff)
	}
	after := st.Snapshot()
	if after.API("a", "1") != before.API("a", "1") || after.Revision() != 2 {
		t.Error("the unchanged API is another one")
	}
	if before.API("c", "1") == nil || before.API("b", "1").Spec.Endpoint != "http://h" {
		t.Error("the earlier snapshot changed")
	}
	if d, err := st.Reload(t.Context()); err != nil || !d.Empty() {
		t.Errorf("nothing changed, told %+v, %v", d, err)
	}
}

// What definitions need is made before anybody can act on them, and not at all for wrong ones.
func TestReloadAfterPreparesBeforeItShows(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.yaml", one("", ""))
	st, err := OpenDir(dir, defaults())
	if err != nil {
		t.Fatal(err)
	}
	var prepared []string
	prepare := func(next *Snapshot) {
		for _, api := range next.APIs() {
			prepared = append(prepared, api.ID())
		}
		if st.Snapshot().API("b", "1") != nil {
			t.Error("the new definition was seen before it was prepared")
		}
	}
	put(t, dir, "b.yaml", one("name: b", "context: /b"))
	if d, err := st.ReloadAfter(t.Context(), prepare); err != nil || len(d.Added) != 1 || st.Snapshot().API("b", "1") == nil {
		t.Errorf("%+v, %v", d, err)
	}
	put(t, dir, "c.yaml", one("name: c", "stat: 1"))
	if _, err := st.ReloadAfter(t.Context(), prepare); err == nil {
		t.Error("a wrong definition was read")
	}
	if diff := cmp.Diff([]string{"a@1", "b@1"}, prepared); diff != "" {
		t.Error(diff)
	}
}

// C10: a half-written file, a wrong one, an unreadable one, an empty mount: the last good snapshot stays and every error is told.
func TestReloadKeepsTheLastGoodSnapshot(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.yaml", one("", ""))
	st, err := OpenDir(dir, defaults())
	if err != nil {
		t.Fatal(err)
	}
	good := st.Snapshot()
	a := filepath.Join(dir, "a.yaml")
	for name, c := range map[string]struct{ text, want string }{
		"half-written":   {one("", "")[:60], a + ":4:"},
		"wrong":          {one("tags: [B]", "stat: 1"), a + ":3:28: /metadata/tags/0: must be 1 to 32 lower-case letters, digits or dashes\n" + a + ":5:3: /spec/stat: unknown key; did you mean \"state\"?"},
		"cut to zero":    {"", a + ": has no definition in it; remove the file to remove its APIs"},
		"only a comment": {"# soon\n---\n", a + ": has no definition in it"},
	} {
		put(t, dir, "a.yaml", c.text)
		_, err := st.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || st.Snapshot() != good {
			t.Errorf("%s: %v, kept %v", name, err, st.Snapshot() == good)
		}
	}
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "has no definition files any more; keeping the 1 APIs") || st.Snapshot() != good {
		t.Errorf("emptied: %v", err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), a); err == nil {
		if _, err := st.Reload(t.Context()); err == nil || st.Snapshot() != good {
			t.Errorf("dangling link: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Reload(ctx); err == nil || st.Snapshot() != good {
		t.Errorf("ended context: %v", err)
	}
}

func TestFileThatIsTooLarge(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxFileBytes + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := OpenDir(dir, defaults()); err == nil || !strings.Contains(err.Error(), "is larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestReplaceKeepsTheLastGoodSnapshot(t *testing.T) {
	st, err := NewStatic(defaults(), Source{"a.yaml", []byte(one("", ""))})
	if err != nil {
		t.Fatal(err)
	}
	good := st.Snapshot()
	if _, err := st.Replace(Source{"a.yaml", []byte("nonsense")}); err == nil || st.Snapshot() != good {
		t.Errorf("got %v", err)
	}
}

func TestWatchYieldsTheCurrentThenTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := NewStatic(defaults())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ch := st.Watch(ctx)
		if s := <-ch; s.Revision() != 1 {
			t.Errorf("first is revision %d", s.Revision())
		}
		for range 5 {
			if _, err := st.Replace(Source{"a.yaml", []byte(one("", ""))}); err != nil {
				t.Fatal(err)
			}
		}
		if s := <-ch; s.Revision() != 6 || s != st.Snapshot() {
			t.Errorf("a slow reader got revision %d", s.Revision())
		}
		synctest.Wait()
		select {
		case s := <-ch:
			t.Errorf("revision %d came again", s.Revision())
		default:
		}
		cancel()
		synctest.Wait()
		if _, open := <-ch; open {
			t.Error("still open after its context ended")
		}
		if _, err := st.Replace(); err != nil {
			t.Fatal(err)
		}
	})
}

// One request sees one snapshot: readers during reloads always see a whole one.
func TestSnapshotsAreWholeDuringChanges(t *testing.T) {
	text := func(n string) []Source {
		return []Source{{"a.yaml", []byte(one("displayName: v"+n, ""))}, {"b.yaml", []byte(one("name: b, displayName: v"+n, "context: /b"))}}
	}
	st, err := NewStatic(defaults(), text("0")...)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
				s := st.Snapshot()
				a, errA := s.Match("/a/1/t", "")
				b, errB := s.Match("/b/1/t", "")
				if errA != nil || errB != nil || a.API.Metadata.DisplayName != b.API.Metadata.DisplayName {
					t.Errorf("mixed snapshot: %v %v", errA, errB)
					return
				}
			}
		})
	}
	for i := range 30 {
		if _, err := st.Replace(text(string(rune('0' + i%10)))...); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestZeroSnapshotAnswers(t *testing.T) {
	var s Snapshot
	if _, err := s.Match("/a/1/t", ""); err == nil {
		t.Error("matches")
	}
	if s.API("a", "1") != nil || len(s.APIs()) != 0 || len(s.AlwaysOn()) != 0 || s.Revision() != 0 {
		t.Error("is not empty")
	}
	var b board
	if b.Snapshot().Revision() != 0 {
		t.Error("a store that has read nothing shows something")
	}
}

func TestErrorsOfAFolderNameFileLineAndColumn(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.yaml", one("", "stat: 1"))
	put(t, dir, "b.json", "{")
	_, err := OpenDir(dir, defaults())
	errs, _ := err.(doc.Errors)
	if len(errs) != 2 || errs[0].File != filepath.Join(dir, "a.yaml") || errs[0].Line != 5 || errs[1].File != filepath.Join(dir, "b.json") || errs[1].Column != 2 {
		t.Errorf("got %v", err)
	}
}
