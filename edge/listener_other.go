//go:build !linux

package edge

// tuneSocket leaves a listening socket as it is: only Linux has all the options, and
// only there is sluice built for very many clients.
func tuneSocket(uintptr) error { return nil }
