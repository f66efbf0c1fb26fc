package broker

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The last good copy of a bucket on disk, for a start without a broker.
const (
	copyFile     = "last-good.json.gz"
	maxCopyBytes = 1 << 30
)

// lastGood is what the file holds: the sum is of Entries' bytes.
type lastGood struct {
	Schema  int             `json:"schema"`
	Rev     uint64          `json:"rev"`
	SHA256  string          `json:"sha256"`
	Entries json.RawMessage `json:"entries"`
}

// copied is one entry of the file.
type copied struct {
	Key      string `json:"k"`
	Value    []byte `json:"v,omitempty"`
	Revision uint64 `json:"r"`
	Deleted  bool   `json:"d,omitempty"`
}

// WriteCopy puts entries into a file of dir, whole or not at all, readable by the owner only. Schema says how values are to be read, rev
// is the newest revision.
func WriteCopy(dir string, schema int, rev uint64, entries []Entry) error {
	all := make([]copied, len(entries))
	for i, e := range entries {
		all[i] = copied{e.Key, e.Value, e.Revision, e.Deleted}
	}
	list, err := json.Marshal(all)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(list)
	text, err := json.Marshal(lastGood{Schema: schema, Rev: rev, SHA256: hex.EncodeToString(sum[:]), Entries: list})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, copyFile+".*") // 0600
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = z.Write(text)
	err = errors.Join(err, z.Close(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, copyFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ReadCopy reads what WriteCopy wrote; no entries and no error if there is no file.
func ReadCopy(dir string, schema int) ([]Entry, error) {
	f, err := os.Open(filepath.Join(dir, copyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxCopyBytes))
	if err != nil {
		return nil, err
	}
	var kept lastGood
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	if kept.Schema != schema {
		return nil, fmt.Errorf("schema %d is not known to this release", kept.Schema)
	}
	sum := sha256.Sum256(bytes.TrimSpace(kept.Entries))
	if hex.EncodeToString(sum[:]) != kept.SHA256 {
		return nil, errors.New("does not have the sum it names")
	}
	var list []copied
	if err := json.Unmarshal(kept.Entries, &list); err != nil {
		return nil, err
	}
	out := make([]Entry, len(list))
	for i, c := range list {
		out[i] = Entry{Key: c.Key, Value: c.Value, Revision: c.Revision, Deleted: c.Deleted}
	}
	return out, nil
}
