package config

// Broker is NATS JetStream: in this process (the default), or elsewhere.
type Broker struct {
	// URLs of NATS servers, nats:// or tls://. Default empty: the server runs in this process, its store in the data folder.
	URLs []string `json:"urls"`
	// Credentials is a NATS .creds or nkey seed file for URLs. Default empty: none.
	Credentials string `json:"credentials"`
	// CA is a PEM file of authorities for tls:// URLs. Default empty: the system's.
	CA string `json:"ca"`
	// Durability names the faults that may lose stored events: memory (a restart of the broker loses all), process (a power
	// cut may lose the last second, kill -9 loses nothing) or power (only disk corruption loses). Default process. With URLs
	// memory keeps streams in the servers' memory, and the servers' own sync settings decide between process and power.
	Durability Durability `json:"durability"`
	// Store bounds what the embedded server keeps.
	Store BrokerStore `json:"store"`
}

// Embedded tells whether the server runs in this process.
func (b Broker) Embedded() bool { return len(b.URLs) == 0 }

// BrokerStore bounds what the embedded server keeps; a full store stops ingest, never the process.
type BrokerStore struct {
	// MaxMemory of streams kept in memory. Default 1GiB. 16MiB–1TiB.
	MaxMemory Bytes `json:"maxMemory"`
	// MaxBytes of streams kept on disk. Default 50GiB. 64MiB–1024TiB.
	MaxBytes Bytes `json:"maxBytes"`
}

// Durability names the faults that may lose stored events.
type Durability string

// The durability profiles of one broker.
const (
	DurabilityMemory  Durability = "memory"  // memory store
	DurabilityProcess Durability = "process" // file store, synced once a second
	DurabilityPower   Durability = "power"   // file store, synced on every commit
)

func defaultBroker() Broker {
	return Broker{
		Durability: DurabilityProcess,
		Store:      BrokerStore{MaxMemory: GiB, MaxBytes: 50 * GiB},
	}
}
