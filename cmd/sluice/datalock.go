package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockName is the file in the data folder whose lock says that the folder is in use. It stays when the process has ended:
// if it were removed, two processes could each lock a file of that name.
const lockName = "lock"

// errLocked is what lockFile returns when another process has the lock.
var errLocked = errors.New("locked by another process")

// dataLock keeps a data folder to this process. The system lets the lock go when the process ends, however it ends; what the
// file says is for people only.
type dataLock struct{ file *os.File }

// lockData takes the folder, which is made if it is not there.
func lockData(dir string) (*dataLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	switch err := lockFile(f); {
	case errors.Is(err, errLocked):
		defer f.Close()
		return nil, fmt.Errorf("data folder %s is in use by %s: end that one first, or give this one a folder of its own with --data",
			dir, holder(f))
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("data folder %s cannot be locked: %w", dir, err)
	}
	l := &dataLock{f}
	if err := l.sign(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		l.release()
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return l, nil
}

// sign makes text all that the file holds.
func (l *dataLock) sign(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// holder names the process that has the lock, as far as the file tells.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if pid, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

// release lets the folder go.
func (l *dataLock) release() {
	_ = l.sign("")     // nobody is misled by an old number; the lock alone counts
	_ = l.file.Close() // which unlocks it
}

// buildData keeps the data folder to this process, if it stores anything there: two brokers would each spoil what the other
// wrote. It answers 71, as a listener's address that is taken does: another process holds what is needed, which may pass, and
// a service manager that gives up at 78 goes on trying.
func (p *process) buildData(context.Context) error {
	if len(p.cfg.Broker.URLs) > 0 && !p.cfg.Edge.HTTPS.DevTLS {
		return nil
	}
	lock, err := lockData(p.cfg.Data)
	if err != nil {
		return withCode(exitOS, err)
	}
	p.lock = lock
	return nil
}
