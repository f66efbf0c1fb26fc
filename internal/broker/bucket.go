package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucketBytes   = 256 << 20
	leastBucket   = 1 << 20 // below this a bucket is refused instead of made smaller
	bucketMaxItem = 1 << 20
	hdrKVOp       = "KV-Operation"
	kvDelete      = "DEL"
	kvPurge       = "PURGE"
)

// bucket is one key-value bucket. Writes are plain publishes with compare-and-set;
// only their answers decide, reads may be stale.
type bucket struct {
	name  string
	admin *admin
}

// Bucket implements Admin.
func (a *admin) Bucket(ctx context.Context, name string, history uint8) (Bucket, error) {
	return a.EnsureBucket(ctx, BucketSpec{Name: name, History: history})
}

// EnsureBucket implements Admin.
func (a *admin) EnsureBucket(ctx context.Context, spec BucketSpec) (Bucket, error) {
	ctx, cancel := withTimeout(ctx, adminTimeout)
	defer cancel()
	s, err := a.js.Stream(ctx, "KV_"+spec.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		err = a.createBucket(ctx, spec)
	case err == nil:
		err = a.updateBucket(ctx, s.CachedInfo().Config, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", spec.Name, adminError(err))
	}
	return &bucket{name: spec.Name, admin: a}, nil
}

// updateBucket gives a bucket what it lacks because it was made by an earlier release, or before there was a cluster.
func (a *admin) updateBucket(ctx context.Context, c jetstream.StreamConfig, spec BucketSpec) error {
	grow := a.cfg.Durability == ProfileCluster && c.Replicas < clusterReplicas
	if !grow && c.AllowAtomicPublish && c.MaxAge == spec.MaxAge {
		return nil
	}
	if grow {
		c.Replicas = clusterReplicas
	}
	c.AllowAtomicPublish, c.MaxAge = true, spec.MaxAge
	_, err := a.js.UpdateStream(ctx, c)
	return err
}

// createBucket makes the stream of a bucket by hand: revisions must only grow, even
// when it is lost and made again, because they are the epochs of writers.
func (a *admin) createBucket(ctx context.Context, spec BucketSpec) error {
	c := jetstream.StreamConfig{
		Name:              "KV_" + spec.Name,
		Subjects:          []string{"$KV." + spec.Name + ".>"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgs:           -1,
		MaxBytes:          orDefault(spec.MaxBytes, bucketBytes),
		MaxMsgsPerSubject: max(1, int64(spec.History)),
		MaxMsgSize:        bucketMaxItem,
		MaxAge:            spec.MaxAge,
		MaxConsumers:      -1,
		// Not in memory, however short it lives: when two of three servers are killed under load, a group in memory may find no
		// leader any more, and its servers stay unhealthy.
		Storage:     jetstream.FileStorage,
		Replicas:    1,
		Duplicates:  dupWindow,
		AllowRollup: true,
		AllowDirect: true,
		DenyDelete:  true,

		AllowAtomicPublish: true, // see Bucket.Batch
		FirstSeq:           uint64(a.cfg.Now().UnixMicro()),
	}
	// What the nodes agree on is kept by as many servers as can: the setting is about events.
	if !a.cfg.embedded() {
		c.Replicas = clusterReplicas
	}
	for {
		_, err := a.js.CreateStream(ctx, c)
		var api *jetstream.APIError
		switch {
		case errors.As(err, &api) && api.ErrorCode == codeStreamExists:
			return nil // another node was faster
		case errors.As(err, &api) && api.ErrorCode == codeNoReplicas && a.cfg.Durability != ProfileCluster && c.Replicas > 1:
			c.Replicas = 1
		case errors.Is(adminError(err), ErrStoreFull) && c.MaxBytes/2 >= leastBucket:
			c.MaxBytes /= 2
		default:
			return err
		}
	}
}

// Bucket returns a bucket without asking the broker for it: until Admin.Bucket has made
// it, its calls answer errors that tell to try again.
func (n *Node) Bucket(name string) Bucket { return &bucket{name: name, admin: n.admin} }

func (b *bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// Get implements Bucket.
func (b *bucket) Get(ctx context.Context, key string) (Entry, error) {
	m, err := b.ask(ctx, "$JS.API.DIRECT.GET.KV_"+b.name+"."+b.subject(key), nil, nil)
	if err == nil && value(m.Header, hdrStatus) != "" {
		err = ErrNotFound
		if status := value(m.Header, hdrStatus); status != "404" {
			err = fmt.Errorf("%w: status %s", ErrUnavailable, status)
		}
	}
	if err != nil {
		return Entry{}, fmt.Errorf("bucket %s: get %q: %w", b.name, key, readError(err))
	}
	rev, err := strconv.ParseUint(lastValue(m.Header, hdrSeq), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("bucket %s: get %q: no revision: %w", b.name, key, err)
	}
	if deleted(m.Header) {
		return Entry{}, fmt.Errorf("bucket %s: get %q: deleted: %w", b.name, key, ErrNotFound)
	}
	return Entry{Key: key, Value: m.Data, Revision: rev}, nil
}

// Newest implements Bucket.
func (b *bucket) Newest(ctx context.Context) (uint64, error) {
	m, err := b.ask(ctx, "$JS.API.STREAM.INFO.KV_"+b.name, nil, nil)
	if err == nil {
		err = jsAnswerError(m)
	}
	if err != nil {
		return 0, fmt.Errorf("bucket %s: newest: %w", b.name, readError(err))
	}
	var info struct {
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return 0, fmt.Errorf("bucket %s: newest: %w: %w", b.name, ErrUnavailable, err)
	}
	return info.State.LastSeq, nil
}

// Put implements Bucket.
func (b *bucket) Put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	got, err := b.publish(ctx, key, value, rev, nil)
	var js *jsError
	if rev != 0 || !errors.As(err, &js) {
		return got, b.wrap("put", key, err)
	}
	// The key may only look present: its last entry is a deletion.
	actual, known := js.actual()
	if !known {
		return 0, b.wrap("put", key, err)
	}
	gone, e := b.deletedAt(ctx, key, actual)
	if e != nil || !gone {
		return 0, b.wrap("put", key, errors.Join(err, e))
	}
	got, err = b.publish(ctx, key, value, actual, nil)
	return got, b.wrap("put", key, err)
}

// Delete implements Bucket.
func (b *bucket) Delete(ctx context.Context, key string, rev uint64) error {
	_, err := b.publish(ctx, key, nil, rev, nats.Header{hdrKVOp: {kvDelete}})
	return b.wrap("delete", key, err)
}

func (b *bucket) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bucket %s: %s %q: %w", b.name, verb, key, err)
}

func (b *bucket) publish(ctx context.Context, key string, value []byte, rev uint64, h nats.Header) (uint64, error) {
	if h == nil {
		h = nats.Header{}
	}
	h[hdrWantSubj] = []string{strconv.FormatUint(rev, 10)}
	m, err := b.ask(ctx, b.subject(key), h, value)
	if err != nil {
		return 0, err
	}
	if noResponders(m) {
		return 0, ErrNoStream
	}
	return parseAck(m.Data)
}

// deletedAt reads entry rev of the key from the leader.
func (b *bucket) deletedAt(ctx context.Context, key string, rev uint64) (bool, error) {
	s, err := leaderGet(ctx, b.admin.box, "KV_"+b.name, getRequest{Seq: rev})
	if err != nil {
		return false, err
	}
	return s.Subject == b.subject(key) && deleted(s.header), nil
}

func deleted(h nats.Header) bool {
	op := value(h, hdrKVOp)
	return op == kvDelete || op == kvPurge
}

func (b *bucket) ask(ctx context.Context, subject string, h nats.Header, body []byte) (*nats.Msg, error) {
	ctx, cancel := withTimeout(ctx, b.admin.cfg.CommitTimeout)
	defer cancel()
	m, err := b.admin.box.ask(ctx, &nats.Msg{Subject: subject, Header: h, Data: body})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return m, err
}

// Watch implements Bucket. The watch ends with the connection, too: what was missed
// meanwhile is then part of the next one's first entries.
func (b *bucket) Watch(ctx context.Context, pattern string) (<-chan Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := b.admin.addWatch(cancel)
	kv, err := b.admin.js.KeyValue(ctx, b.name)
	var w jetstream.KeyWatcher
	if err == nil {
		w, err = kv.Watch(ctx, pattern)
	}
	if err != nil {
		done()
		return nil, fmt.Errorf("bucket %s: watch %q: %w", b.name, pattern, adminError(err))
	}
	out := make(chan Entry, 64)
	go func() { // owned by the reader of out: ends with ctx, then closes it
		defer close(out)
		defer done()
		defer func() { _ = w.Stop() }() //nolint:errcheck // the watch is over either way
		for {
			select {
			case e, open := <-w.Updates():
				if !open || !send(ctx, out, e) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func send(ctx context.Context, out chan<- Entry, e jetstream.KeyValueEntry) bool {
	var entry Entry // zero: all present entries were sent
	if e != nil {
		entry = Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Deleted: e.Operation() != jetstream.KeyValuePut}
	}
	select {
	case out <- entry:
		return true
	case <-ctx.Done():
		return false
	}
}

// addWatch registers what ends a watch; the result ends and forgets it.
func (a *admin) addWatch(cancel context.CancelFunc) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watches == nil {
		a.watches = map[int]context.CancelFunc{}
	}
	a.nextID++
	id := a.nextID
	a.watches[id] = cancel
	return func() {
		cancel()
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watches, id)
	}
}

// cutWatches ends every watch: the connection was cut.
func (a *admin) cutWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, cancel := range a.watches {
		cancel()
	}
}
