package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// firstName is the user that a new cluster begins with.
const firstName = "admin"

// ensureFirst makes the first administrator if there is no user at all, or a new password for it if that was asked for. Of several
// nodes that start at once, one makes it.
func (a *Accounts) ensureFirst(ctx context.Context) error {
	users, err := a.Users()
	if err != nil || len(users) > 0 && !a.reset {
		return err
	}
	r, _, err := a.user(firstName)
	if err != nil {
		return err
	}
	password, made := a.cfg.FirstPassword, false
	if password == "" {
		password, made = newPassword(), true
	}
	if r.rev == 0 {
		r.CreatedAt = a.now()
	}
	if err := a.set(ctx, &r, firstName, password, []Role{RoleAdmin}); err != nil {
		return err
	}
	r.First = made
	if made {
		if err := a.keepFirst(password); err != nil {
			return err
		}
	}
	err = a.put(ctx, userKey+firstName, r, r.rev)
	switch {
	case conflict(err) && !a.reset:
		a.dropFirst() // another node was faster: its password counts
		return nil
	case err != nil:
		return err
	}
	a.log.Info("first administrator made", "name", firstName, "reset", a.reset)
	a.reset = false
	if made {
		a.cfg.Announce(firstName, password)
	}
	return nil
}

// alphabet of passwords that are made up: no characters that look alike.
const alphabet = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// newPassword makes up a password of 20 characters, 115 bits.
func newPassword() string {
	out := make([]byte, 0, 20)
	for len(out) < 20 {
		for _, b := range random(32) {
			if int(b) < len(alphabet)*(256/len(alphabet)) && len(out) < 20 {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// keepFirst writes a password that was made up to its file, for who missed it on the screen.
func (a *Accounts) keepFirst(password string) error {
	if a.cfg.FirstFile == "" {
		return nil
	}
	if err := os.WriteFile(a.cfg.FirstFile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the password: %w", err)
	}
	return nil
}

// forgetFirst removes the file of the first password once it was changed.
func (a *Accounts) forgetFirst(name string) {
	a.mu.Lock()
	first := a.users[firstName].First
	a.mu.Unlock()
	if name == firstName && !first {
		a.dropFirst()
	}
}

func (a *Accounts) dropFirst() {
	if a.cfg.FirstFile == "" {
		return
	}
	if err := os.Remove(a.cfg.FirstFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("file of the first password not removed", "error", err)
	}
}
