package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"sluice/internal/problem"
)

// Cost is what one password hash takes. The zero value is the default: 64 MiB, 3 rounds.
type Cost struct {
	KiB    uint32
	Rounds uint32
}

const (
	saltBytes   = 16
	keyBytes    = 32
	leastLetter = 12
	mostLetters = 256
	hashesAtOne = 4  // passwords that are hashed at the same time: 256 MiB
	hashesQueue = 16 // callers that may wait for that
)

// hasher hashes and checks passwords, few at a time: each takes memory and time on purpose.
type hasher struct {
	cost    Cost
	slots   chan struct{}
	waiting atomic.Int32
	dummy   string // a hash of nothing anybody knows, for names that do not exist
}

func newHasher(c Cost) *hasher {
	if c.KiB == 0 {
		c.KiB = 64 << 10
	}
	if c.Rounds == 0 {
		c.Rounds = 3
	}
	h := &hasher{cost: c, slots: make(chan struct{}, hashesAtOne)}
	h.dummy = h.encode(random(saltBytes), random(keyBytes))
	return h
}

// enter waits for a place to hash in; leave gives it back.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	if h.waiting.Add(1) > hashesAtOne+hashesQueue {
		h.waiting.Add(-1)
		return nil, &problem.Error{Kind: problem.Overloaded, Detail: "Too many sign-ins at once.", RetryAfter: time.Second}
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; h.waiting.Add(-1) }, nil
	case <-ctx.Done():
		h.waiting.Add(-1)
		return nil, ctx.Err()
	}
}

// hash makes the stored form of a password. The caller is between enter and leave.
func (h *hasher) hash(password string) string {
	salt := random(saltBytes)
	return h.encode(salt, argon2.IDKey([]byte(password), salt, h.cost.Rounds, h.cost.KiB, 1, keyBytes))
}

func (h *hasher) encode(salt, key []byte) string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, h.cost.KiB, h.cost.Rounds, b.EncodeToString(salt), b.EncodeToString(key))
}

// matches tells whether password is the one that stored was made from. The caller is between enter and leave.
func (h *hasher) matches(stored, password string) bool {
	var version, kib, rounds uint32
	var salt, key string
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &kib, &rounds); err != nil || kib > 1<<20 || rounds > 64 || rounds == 0 {
		return false
	}
	salt, key = parts[4], parts[5]
	s, errSalt := base64.RawStdEncoding.DecodeString(salt)
	want, errKey := base64.RawStdEncoding.DecodeString(key)
	if errSalt != nil || errKey != nil || len(want) != keyBytes {
		return false
	}
	return subtle.ConstantTimeCompare(want, argon2.IDKey([]byte(password), s, rounds, kib, 1, keyBytes)) == 1
}

// common are the passwords that are tried first everywhere and long enough to pass otherwise.
var common = []string{"123456789012", "1234567890123", "administrator", "passwordpassword", "password1234", "password12345", "adminadminadmin",
	"qwertyuiop12", "letmeinletmein", "changemechangeme", "changeme1234", "sluicesluice"}

// CheckPassword tells what is wrong with a new password of the user named, nil if nothing is.
func CheckPassword(name, password string) error {
	n := utf8.RuneCountInString(password)
	lower := strings.ToLower(password)
	why := ""
	switch {
	case n < leastLetter:
		why = fmt.Sprintf("must have at least %d characters", leastLetter)
	case n > mostLetters:
		why = fmt.Sprintf("must have at most %d characters", mostLetters)
	case slices.Contains(common, lower) || strings.Count(password, password[:1]) == len(password):
		why = "is one of the first that are guessed"
	case lower == strings.ToLower(name):
		why = "must not be the name"
	default:
		return nil
	}
	return &problem.Error{Kind: problem.WeakPassword, Errors: []problem.Part{{Pointer: "/password", Type: string(problem.WeakPassword), Reason: why}}}
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
