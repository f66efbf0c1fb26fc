//go:build !linux

package shard

import (
	"context"
	"net"
	"time"

	"sluice/fanout"
)

// Engine exists on Linux only.
type Engine struct{}

// New returns ErrUnsupported.
func New(Config) (*Engine, error) { return nil, ErrUnsupported }

// Run returns ErrUnsupported.
func (e *Engine) Run(context.Context) error { return ErrUnsupported }

// Adopt returns ErrUnsupported.
func (e *Engine) Adopt(net.Conn, fanout.Subscriber) error { return ErrUnsupported }

// Cut does nothing.
func (e *Engine) Cut(time.Duration, func(uint32) fanout.Reason) {}

// Tell does nothing.
func (e *Engine) Tell(func(uint32) []byte) {}

// Laggards offers nobody.
func (e *Engine) Laggards(*fanout.Cull) {}

// Drain does nothing.
func (e *Engine) Drain(context.Context, time.Duration) error { return nil }

// Count returns 0.
func (e *Engine) Count() int { return 0 }
