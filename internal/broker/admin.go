package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultMaxAge    = time.Hour
	defaultMaxEvents = 10_000
	defaultMaxBytes  = 2 << 30
	leastMaxBytes    = 16 << 20 // below this a stream is refused instead of made smaller
	dupWindow        = time.Second
	maxConsumers     = 32 // we use none; a bound on somebody's leak
	createTries      = 100
	adminTimeout     = 10 * time.Second
	clusterReplicas  = 3
	leastMinor       = 12 // of NATS server 2: atomic batches
)

func streamName(api string) string { return "EV_" + api }

type admin struct {
	cfg  Config
	js   jetstream.JetStream
	box  *inbox
	info *infoCache
	node *Node

	mu      sync.Mutex
	nextID  int
	watches map[int]context.CancelFunc // guarded by mu: one per open watch
}

// streamConfig says what the stream of s must be. Only control code changes streams.
func streamConfig(s StreamSpec, cfg Config, now time.Time) jetstream.StreamConfig {
	profile := s.Durable
	if profile == "" {
		profile = cfg.Durability
	}
	first := uint64(now.UnixMicro())
	c := jetstream.StreamConfig{
		Name:               streamName(s.API),
		Subjects:           []string{"ev." + s.API + ".>"},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld, // DiscardNew would stop ingest
		MaxConsumers:       maxConsumers,
		MaxMsgs:            -1,
		MaxBytes:           orDefault(s.MaxBytes, defaultMaxBytes),
		MaxMsgsPerSubject:  orDefault(s.MaxEvents, defaultMaxEvents),
		MaxAge:             orDefault(s.MaxAge, defaultMaxAge),
		MaxMsgSize:         maxPayload,
		Storage:            jetstream.FileStorage,
		Replicas:           1,
		Compression:        jetstream.S2Compression,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		DenyDelete:         true,
		FirstSeq:           first,
		RePublish:          &jetstream.RePublish{Source: "ev." + s.API + ".>", Destination: "live." + s.API + ".>"},
		Metadata: map[string]string{
			metaAPI: s.Name, metaLayout: "1", metaMap: "1", metaProfile: profile,
			metaFirstSeq: strconv.FormatUint(first, 10),
		},
	}
	// The window is per stream and costs memory for each message id. Ours are never used
	// twice (predict.go): they are compared, not remembered.
	c.Duplicates = min(dupWindow, c.MaxAge)
	if profile == ProfileMemory {
		c.Storage, c.Compression = jetstream.MemoryStorage, jetstream.NoCompression
		c.MaxBytes = min(c.MaxBytes, cfg.MaxMemory/4)
	}
	if profile == ProfileCluster {
		c.Replicas = clusterReplicas
	}
	c.Metadata[metaMaxBytes] = strconv.FormatInt(c.MaxBytes, 10)
	return c
}

func orDefault[T int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// updatedConfig is what old becomes under want: what cannot be changed, or must not
// be (the life of its sequences), stays.
func updatedConfig(old, want jetstream.StreamConfig) jetstream.StreamConfig {
	c := old
	c.MaxMsgsPerSubject, c.MaxAge, c.MaxMsgSize = want.MaxMsgsPerSubject, want.MaxAge, want.MaxMsgSize
	c.Duplicates = want.Duplicates
	// A stream made smaller because the store was full stays so until another size is asked for.
	if old.Metadata[metaMaxBytes] != want.Metadata[metaMaxBytes] {
		c.MaxBytes = want.MaxBytes
	}
	c.RePublish, c.AllowDirect, c.AllowAtomicPublish = want.RePublish, true, true
	c.Replicas = want.Replicas
	c.Metadata = maps.Clone(old.Metadata)
	c.Metadata[metaProfile] = want.Metadata[metaProfile]
	c.Metadata[metaAPI], c.Metadata[metaMaxBytes] = want.Metadata[metaAPI], want.Metadata[metaMaxBytes]
	return c
}

// EnsureStream implements Admin.
func (a *admin) EnsureStream(ctx context.Context, s StreamSpec) error {
	if s.API == "" || len(s.API) > maxAPIBytes || s.Durable != "" && !validProfile(s.Durable) {
		return fmt.Errorf("stream of %q: %w: bad specification", s.API, ErrRefused)
	}
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	want := streamConfig(s, a.cfg, a.cfg.Now())
	if err := a.fit(want.Metadata[metaProfile]); err != nil {
		return fmt.Errorf("stream of %s: %w", s.API, err)
	}
	old, err := a.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return a.create(ctx, s.API, want)
	}
	if err != nil {
		return fmt.Errorf("stream of %s: look up: %w", s.API, adminError(err))
	}
	return a.update(ctx, s.API, old.CachedInfo().Config, want)
}

// create makes the stream, smaller if the store has no room to reserve for it.
func (a *admin) create(ctx context.Context, api string, want jetstream.StreamConfig) error {
	asked := want.MaxBytes
	for try := 0; ; {
		_, err := a.js.CreateStream(ctx, want)
		if err = adminError(err); err == nil {
			break
		}
		switch {
		case errors.Is(err, ErrStoreFull) && want.MaxBytes/2 >= leastMaxBytes:
			want.MaxBytes /= 2
			continue
		case errors.Is(err, ErrBusy) && try < createTries: // its predecessor's files are still there
			try++
			if pause(ctx, 20*time.Millisecond) == nil {
				continue
			}
		}
		return fmt.Errorf("stream of %s: create: %w", api, unfit(want, err))
	}
	a.info.drop(api)
	if want.MaxBytes != asked {
		a.node.log.Warn("stream made smaller: the store has no room to reserve for it",
			"api", api, "maxBytes", want.MaxBytes, "asked", asked)
	}
	a.node.log.Info("stream created", "api", api, "firstSeq", want.FirstSeq, "durable", want.Metadata[metaProfile])
	return nil
}

func (a *admin) update(ctx context.Context, api string, old, want jetstream.StreamConfig) error {
	if old.Metadata[metaLayout] != want.Metadata[metaLayout] || old.Metadata[metaMap] != want.Metadata[metaMap] {
		return fmt.Errorf("stream of %s: %w: not made by this version", api, ErrRefused)
	}
	was, asked := old.Metadata[metaProfile], want.Metadata[metaProfile]
	if old.Storage != want.Storage {
		return fmt.Errorf("stream of %s: %w: it was made with durability %s, and a broker cannot move it between memory and disk: "+
			"set durability %s again, or delete stream %s (what it keeps for returning clients is lost) to have it made with %s",
			api, ErrUnfit, was, was, old.Name, asked)
	}
	c := updatedConfig(old, want)
	if reflect.DeepEqual(c, old) {
		return nil
	}
	_, err := a.js.UpdateStream(ctx, c)
	if errors.Is(adminError(err), ErrStoreFull) && c.MaxBytes > old.MaxBytes {
		a.node.log.Warn("stream not made larger: the store has no room to reserve for it",
			"api", api, "maxBytes", old.MaxBytes, "asked", c.MaxBytes)
		c.MaxBytes = old.MaxBytes
		_, err = a.js.UpdateStream(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("stream of %s: update: %w", api, unfit(c, adminError(err)))
	}
	a.info.drop(api)
	a.node.log.Info("stream updated", "api", api, "durable", asked, "replicas", c.Replicas)
	return nil
}

// fit says why this broker cannot keep streams of a profile; nil if nothing is known
// against it.
func (a *admin) fit(profile string) error {
	if err := a.cfg.Honours(profile); err != nil {
		return err
	}
	v := a.js.Conn().ConnectedServerVersion()
	var major, minor int
	if _, err := fmt.Sscanf(v, "%d.%d", &major, &minor); err == nil && (major < 2 || major == 2 && minor < leastMinor) {
		return fmt.Errorf("NATS server %s: %w: it knows no atomic batches; 2.%d or later does", v, ErrUnfit, leastMinor)
	}
	return nil
}

// unfit makes the broker's refusal of replicas ours.
func unfit(c jetstream.StreamConfig, err error) error {
	var js *jsError
	if !errors.As(err, &js) {
		return err
	}
	switch js.ErrCode {
	case codeNoReplicas:
		return fmt.Errorf("durability %s: %w: it needs %d NATS servers that form a cluster, and this is one alone: %w",
			c.Metadata[metaProfile], ErrUnfit, c.Replicas, js)
	case codeNoPeers: // so it is, too, while a cluster forms
		return fmt.Errorf("durability %s: fewer than %d NATS servers of the cluster have room for it: %w", c.Metadata[metaProfile], c.Replicas, js)
	}
	return err
}

// DeleteStream implements Admin.
func (a *admin) DeleteStream(ctx context.Context, api string) error {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	defer a.info.drop(api)
	err := a.js.DeleteStream(ctx, streamName(api))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("stream of %s: delete: %w", api, adminError(err))
	}
	return nil
}

// PurgeFeed implements Admin.
func (a *admin) PurgeFeed(ctx context.Context, f FeedID) error {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	s, err := a.js.Stream(ctx, streamName(f.API))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(f.Subject()))
	}
	if err != nil {
		return fmt.Errorf("feed %s: purge: %w", f, adminError(err))
	}
	return nil
}

// PurgeStream implements Admin.
func (a *admin) PurgeStream(ctx context.Context, api string) error {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	s, err := a.js.Stream(ctx, streamName(api))
	if err == nil {
		err = s.Purge(ctx)
	}
	if err != nil {
		return fmt.Errorf("stream of %s: purge: %w", api, adminError(err))
	}
	return nil
}

// Feeds implements Admin.
func (a *admin) Feeds(ctx context.Context, api string) ([]FeedID, error) {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	prefix := "ev." + api + "."
	s, err := a.js.Stream(ctx, streamName(api))
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = s.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	}
	if err != nil {
		return nil, fmt.Errorf("stream of %s: feeds: %w", api, adminError(err))
	}
	out := make([]FeedID, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		out = append(out, FeedID{API: api, Key: strings.TrimPrefix(subject, prefix)})
	}
	return out, nil
}

// StreamState implements Admin.
func (a *admin) StreamState(ctx context.Context, api string) (StreamState, error) {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	s, err := a.js.Stream(ctx, streamName(api))
	if err != nil {
		return StreamState{}, fmt.Errorf("stream of %s: state: %w", api, adminError(err))
	}
	st := s.CachedInfo().State
	return StreamState{
		FirstSeq: st.FirstSeq, LastSeq: st.LastSeq,
		Messages: st.Msgs, Bytes: st.Bytes, Feeds: int(st.NumSubjects),
	}, nil
}

// adminError maps the errors of package jetstream.
func adminError(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api):
		return &jsError{Code: api.Code, ErrCode: int(api.ErrorCode), Description: api.Description}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	}
	return mapError(err)
}
