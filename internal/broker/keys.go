package broker

import (
	"fmt"

	"github.com/nats-io/nkeys"
)

// NewUserKey makes the key of a broker user: the seed is what Login.File holds, the
// public half is what the servers' configuration names.
func NewUserKey() (seed, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", fmt.Errorf("broker: make a key: %w", err)
	}
	defer pair.Wipe()
	text, err := pair.Seed()
	if err != nil {
		return "", "", fmt.Errorf("broker: make a key: %w", err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		return "", "", fmt.Errorf("broker: make a key: %w", err)
	}
	return string(text), public, nil
}
