package main

import (
	"context"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
)

// A verb without anything to drain ends with its terminal, unless it was told to outlive it.
func TestUntilSignal(t *testing.T) {
	for _, c := range []struct {
		name  string
		sent  os.Signal
		nohup bool
		ends  bool
	}{
		{"interrupt", os.Interrupt, false, true},
		{"SIGTERM under nohup", syscall.SIGTERM, true, true},
		{"hangup", syscall.SIGHUP, false, true},
		{"hangup under nohup", syscall.SIGHUP, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 1)
				ctx, stop := untilSignal(context.Background(), env{signals: signals, nohup: c.nohup})
				defer stop()
				signals <- c.sent
				synctest.Wait()
				if ended := ctx.Err() != nil; ended != c.ends {
					t.Errorf("ended: %v", ended)
				}
			})
		})
	}
}
