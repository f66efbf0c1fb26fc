//go:build !linux

package load

import (
	"context"
	"errors"
	"io"
)

var errRaw = errors.New("the raw loop needs Linux")

// RawLoop is for Linux only.
func RawLoop(context.Context, string, int, io.Writer) error { return errRaw }

// RawProcess is a raw loop in a process of its own.
type RawProcess struct {
	Addr string
	PID  int
}

// StartRaw is for Linux only.
func StartRaw(context.Context, ...string) (*RawProcess, error) { return nil, errRaw }

// Stop does nothing.
func (p *RawProcess) Stop() {}
