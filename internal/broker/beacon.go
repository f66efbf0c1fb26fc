package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

const (
	maxBeaconBytes = 1024
	maxBeaconWhy   = 80
)

// States lists every upstream state that a beacon may carry.
func States() []string {
	return []string{StateOpening, StateUp, StateBackoff, StateError, StateMissing, StateAuth, StateEnded,
		StateRedirectLoop, StateBlocked, StateBadContentType, StateEncoded, StateTLS, StateStalled,
		StateBackpressure, StateDegraded, StateClosed}
}

// EncodeBeacon returns the text of b for Bus.Publish on FeedID.BeaconSubject; V is set
// and Why cut to 80 bytes.
func EncodeBeacon(b Beacon) []byte {
	b.V = 1
	if len(b.Why) > maxBeaconWhy {
		cut := maxBeaconWhy
		for cut > 0 && !utf8.RuneStart(b.Why[cut]) {
			cut--
		}
		b.Why = b.Why[:cut]
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic("broker: a beacon holds only numbers and strings: " + err.Error())
	}
	return text
}

// DecodeBeacon reads a beacon; it refuses unknown versions and states, long text and
// places that cannot be.
func DecodeBeacon(text []byte) (Beacon, error) {
	var b Beacon
	if len(text) > maxBeaconBytes {
		return b, fmt.Errorf("beacon of %d bytes: %w", len(text), ErrForeign)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return Beacon{}, fmt.Errorf("beacon: %w: %w", ErrForeign, err)
	}
	if b.V != 1 || !slices.Contains(States(), b.State) || len(b.Why) > 2*maxBeaconWhy || b.Micros < 0 ||
		b.Seq == 0 && b.Micros != 0 {
		return Beacon{}, fmt.Errorf("beacon: %w: version %d, state %q", ErrForeign, b.V, b.State)
	}
	return b, nil
}
