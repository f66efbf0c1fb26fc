//go:build !linux

package load

import (
	"errors"
	"os/exec"
)

// PinSelf is for Linux only.
func PinSelf(...int) error { return errors.New("binding to a CPU needs Linux") }

// StartPinned starts cmd; binding it to a CPU needs Linux.
func StartPinned(cmd *exec.Cmd, cpu int) error {
	if cpu >= 0 {
		return errors.New("binding to a CPU needs Linux")
	}
	return cmd.Start()
}
