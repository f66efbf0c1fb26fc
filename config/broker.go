package config

import (
	"encoding/json"
	"log/slog"
)

// Broker is NATS JetStream: in this process (the default), or elsewhere.
type Broker struct {
	// URLs of NATS servers, nats:// or tls://, without user and password. Name several of a cluster: any one that answers is
	// enough, and the others are learnt from it. Default empty: the server runs in this process, its store in the data folder.
	URLs []string `json:"urls"`
	// Credentials is a NATS .creds file or an nkey seed file for URLs. Read again at each connect and on SIGHUP. Default
	// empty: none.
	Credentials string `json:"credentials"`
	// User logs in at URLs with a password. Default empty: none.
	User string `json:"user"`
	// Password of User. Better in the environment or in passwordFile than here. Default empty.
	Password Secret `json:"password"`
	// PasswordFile holds the password of User on its first line. Read again at each connect and on SIGHUP. Default empty.
	PasswordFile string `json:"passwordFile"`
	// TLS is for connections to URLs; any of its keys makes TLS a must, whatever the scheme.
	TLS BrokerTLS `json:"tls"`
	// Durability names the faults that may lose stored events: memory (a restart of the broker loses all), process (a power
	// cut may lose the last second, kill -9 loses nothing), power (only disk corruption loses) or cluster (three replicas, only
	// two servers lost at once lose). Default process. cluster needs URLs of three servers or more. With URLs the servers' own
	// sync_interval must be 1s or less for process, always for power and cluster: that cannot be asked for from here. An API's
	// durability wins.
	Durability Durability `json:"durability"`
	// Store bounds what the embedded server keeps.
	Store BrokerStore `json:"store"`
}

// Embedded tells whether the server runs in this process.
func (b Broker) Embedded() bool { return len(b.URLs) == 0 }

// BrokerTLS is for connections to broker URLs. Files are read again at each connect and on SIGHUP.
type BrokerTLS struct {
	// CA is a PEM file of authorities that sign the servers' certificates. Default empty: the system's.
	CA string `json:"ca"`
	// Cert is a PEM file with this process's certificate chain, for servers that verify clients. Default empty: none.
	Cert string `json:"cert"`
	// Key is a PEM file with the private key of Cert.
	Key string `json:"key"`
	// ServerName is the name to expect in the servers' certificates. Default empty: the host of the URL.
	ServerName string `json:"serverName"`
	// MinVersion is the oldest protocol version accepted: 1.2 or 1.3. Default 1.2.
	MinVersion TLSVersion `json:"minVersion"`
}

// TLSVersion is a version of the TLS protocol.
type TLSVersion string

// The versions that can be asked for.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// BrokerStore bounds what the embedded server keeps; a full store stops ingest, never the process.
type BrokerStore struct {
	// MaxMemory of streams kept in memory. Default 1GiB. 16MiB–1TiB.
	MaxMemory Bytes `json:"maxMemory"`
	// MaxBytes of streams kept on disk. Default 50GiB. 64MiB–1024TiB.
	MaxBytes Bytes `json:"maxBytes"`
}

// Durability names the faults that may lose stored events.
type Durability string

// The durability profiles.
const (
	DurabilityMemory  Durability = "memory"  // memory store
	DurabilityProcess Durability = "process" // file store, synced once a second
	DurabilityPower   Durability = "power"   // file store, synced on every commit
	DurabilityCluster Durability = "cluster" // file store on three servers, synced on every append
)

// Secret is a text that is never shown: it prints as *** in logs, errors and documents. Reveal has it.
type Secret string

// Reveal is the secret itself, for who needs it to log in.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func defaultBroker() Broker {
	return Broker{
		TLS:        BrokerTLS{MinVersion: TLS12},
		Durability: DurabilityProcess,
		Store:      BrokerStore{MaxMemory: GiB, MaxBytes: 50 * GiB},
	}
}
