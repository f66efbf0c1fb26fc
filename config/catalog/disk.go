package catalog

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sluice/internal/broker"
)

// The last good copy of the bucket, for a start without a broker.
const (
	copyFile     = "last-good.json.gz"
	maxCopyBytes = 1 << 30
	copyShare    = 50 // writing it takes at most one part of so many of the time
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

// writeCopy puts entries into a file of dir, whole or not at all.
func writeCopy(dir string, rev uint64, entries []copied) error {
	list, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(list)
	text, err := json.Marshal(lastGood{Schema: schemaNow, Rev: rev, SHA256: hex.EncodeToString(sum[:]), Entries: list})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, copyFile+".*")
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

// readCopy reads what writeCopy wrote; no entries and no error if there is no file.
func readCopy(dir string) ([]broker.Entry, error) {
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
	if kept.Schema != schemaNow {
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
	out := make([]broker.Entry, len(list))
	for i, c := range list {
		out[i] = broker.Entry{Key: c.Key, Value: c.Value, Revision: c.Revision, Deleted: c.Deleted}
	}
	return out, nil
}

// keepCopies shows the last good copy if the broker takes long to answer, then writes it a while after each change, longer if that takes
// long, and once more when ctx ends.
func (m *Manager) keepCopies(ctx context.Context) {
	if m.opt.Dir == "" {
		return
	}
	late := time.NewTimer(diskAfter)
	defer late.Stop()
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	var next time.Time
	for {
		select {
		case <-late.C:
			m.showCopy()
		case <-tick.C:
			began := time.Now()
			if began.Before(next) {
				continue
			}
			m.saveCopy()
			next = time.Now().Add(copyShare * time.Since(began))
		case <-ctx.Done():
			m.saveCopy()
			return
		}
	}
}

func (m *Manager) saveCopy() {
	m.mu.Lock()
	rev := m.seen.rev
	if rev == m.copied || !m.loaded {
		m.mu.Unlock()
		return
	}
	m.copied = rev
	list := make([]copied, 0, len(m.seen.entries))
	for _, e := range m.seen.entries {
		list = append(list, copied{e.Key, e.Value, e.Revision, e.Deleted})
	}
	m.mu.Unlock()
	if err := writeCopy(m.opt.Dir, rev, list); err != nil {
		m.log.Warn("catalog: last good copy not written", "error", err)
	}
}

// loadCopy takes what an earlier life of the node left as what is known, without showing it yet.
func (m *Manager) loadCopy() {
	if m.opt.Dir == "" {
		return
	}
	entries, err := readCopy(m.opt.Dir)
	if err != nil {
		m.log.Warn("catalog: last good copy not read", "error", err)
		return
	}
	m.seen.take(entries, m.refuse)
	m.copied, m.floor = m.seen.rev, m.seen.rev
}

// showCopy shows the last good copy if the broker has not answered yet.
func (m *Manager) showCopy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded || m.seen.rev == 0 {
		return
	}
	m.log.Warn("catalog: no broker yet, serving the last good copy", "apis", len(m.seen.apis), "rev", m.seen.rev)
	m.rebuild()
}
