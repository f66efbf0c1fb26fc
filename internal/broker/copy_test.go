package broker

import (
	"os"
	"path/filepath"
	"testing"
)

// A copy that was damaged is not used.
func TestDamagedCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := WriteCopy(dir, 1, 7, []Entry{{Key: "gate", Value: []byte(`{"n":1}`), Revision: 7}}); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadCopy(dir, 1); err != nil || len(got) != 1 || got[0].Revision != 7 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := ReadCopy(dir, 2); err == nil {
		t.Errorf("of another schema: %+v", got)
	}
	file := filepath.Join(dir, copyFile)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		bad := append([]byte(nil), text...)
		bad[i] ^= 0x40
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCopy(dir, 1); err == nil && (len(got) != 1 || string(got[0].Value) != `{"n":1}`) {
			t.Errorf("byte %d flipped: %+v", i, got)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("folder holds %v, %v", left, err)
	}
}
