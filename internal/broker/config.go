package broker

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Durability profiles: which faults lose stored events.
const (
	ProfileMemory  = "memory"  // R1 memory: a broker restart loses all
	ProfileProcess = "process" // R1 file, synced every second: power loss may cost one second, kill -9 nothing
	ProfilePower   = "power"   // R1 file, synced on every commit
	ProfileCluster = "cluster" // R3 file, synced on every append
)

// Config says which broker to use and how. Zero values mean the defaults.
type Config struct {
	// Dir is the folder in which the embedded broker keeps its store, made if absent.
	// Needed unless URLs or Dial is set or Durability is memory.
	Dir string
	// URLs of external brokers (nats://host:4222). Empty: the broker runs in this process.
	URLs []string
	// Name of this node in the broker's logs and of the embedded server. Default "sluice".
	Name string
	// Inbox is the first token of the subjects on which answers come, so that servers can
	// permit it per role. Default "_INBOX".
	Inbox string
	// Login and TLS are for URLs.
	Login Login
	TLS   TLS
	// Durability is the profile of streams whose StreamSpec names none. Default process.
	Durability string
	// MaxMemory and MaxStore bound what the embedded broker keeps. Default 1 GiB, 50 GiB.
	MaxMemory, MaxStore int64
	// MaxEvent bounds an event's body. Default 1 MiB; Node.MaxEvent tells the smaller
	// bound of an external broker with a small max_payload.
	MaxEvent int
	// CommitTimeout is how long a commit waits for the broker's word. Default 2s.
	CommitTimeout time.Duration
	// ReadTimeout is how long one try of a direct read waits; there are three. Default 1s.
	ReadTimeout time.Duration
	// Window is how many events of one commit may be on their way at once where the
	// profile is process. Default 256; 1 waits for each.
	Window int
	// LiveQueue is how many deliveries wait in one Live before feeds get dirty.
	// Default 16,384.
	LiveQueue int
	// Dial opens connections to a Server of this process in place of URLs. For tests
	// and for a server that is shared. Default none.
	Dial func() (net.Conn, error)
	// Now is the wall clock. Default time.Now.
	Now func() time.Time
}

const (
	maxPayload     = 2 << 20  // of the embedded broker; counts headers too
	headerReserve  = 64 << 10 // room that headers may take of a message
	defaultMaxBody = 1 << 20
)

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Name == "" {
		c.Name = "sluice"
	}
	if c.Inbox == "" {
		c.Inbox = "_INBOX"
	}
	if c.Durability == "" {
		c.Durability = ProfileProcess
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 1 << 30
	}
	if c.MaxStore == 0 {
		c.MaxStore = 50 << 30
	}
	def(&c.MaxEvent, defaultMaxBody)
	def(&c.Window, 256)
	def(&c.LiveQueue, 16384)
	if c.CommitTimeout == 0 {
		c.CommitTimeout = 2 * time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, c.check()
}

func (c Config) check() error {
	if !validProfile(c.Durability) {
		return fmt.Errorf("broker: unknown durability %q", c.Durability)
	}
	if c.embedded() && c.Dir == "" && c.Durability != ProfileMemory {
		return errors.New("broker: the embedded broker needs a data folder")
	}
	if c.Durability == ProfileCluster {
		if err := c.Honours(c.Durability); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	if c.MaxEvent < 1 || c.MaxEvent > maxPayload-headerReserve {
		return fmt.Errorf("broker: largest event %d is not within 1 and %d bytes", c.MaxEvent, maxPayload-headerReserve)
	}
	if c.Window < 1 || c.Window > 1024 || c.LiveQueue < 16 || c.CommitTimeout < 0 || c.ReadTimeout < 0 {
		return errors.New("broker: window, queue or time-out out of range")
	}
	return nil
}

func (c Config) embedded() bool { return len(c.URLs) == 0 && c.Dial == nil }

// Honours says why streams of a profile cannot be kept as that promises, as far as the
// settings tell; nil if they do not stand against it. The error is ErrUnfit.
func (c Config) Honours(profile string) error {
	switch {
	case !validProfile(profile):
		return fmt.Errorf("durability %q: %w: it is none of memory, process, power, cluster", profile, ErrUnfit)
	case c.Dial != nil || !c.embedded():
		return nil
	case profile == ProfileCluster:
		return fmt.Errorf("durability cluster: %w: the embedded broker has no replicas; use three NATS servers or more", ErrUnfit)
	case profile == ProfilePower && c.Durability != ProfilePower:
		return fmt.Errorf("durability power: %w: the embedded broker syncs all its streams alike, and is set to %s", ErrUnfit, c.Durability)
	case profile != ProfileMemory && c.Dir == "":
		return fmt.Errorf("durability %s: %w: the embedded broker has no data folder", profile, ErrUnfit)
	}
	return nil
}

func validProfile(p string) bool {
	return p == ProfileMemory || p == ProfileProcess || p == ProfilePower || p == ProfileCluster
}
