package broker

import (
	"crypto/tls"
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
	// CredsFile is a NATS credentials file for URLs. Default none.
	CredsFile string
	// NKeyFile is an nkey seed file for URLs. Default none.
	NKeyFile string
	// TLS for URLs. Default: as the URL's scheme says, with the system's authorities.
	TLS *tls.Config
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
	if c.embedded() && c.Durability == ProfileCluster {
		return errors.New("broker: durability cluster needs external brokers")
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

func validProfile(p string) bool {
	return p == ProfileMemory || p == ProfileProcess || p == ProfilePower || p == ProfileCluster
}
