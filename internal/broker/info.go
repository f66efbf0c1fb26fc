package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"
)

// Metadata of a stream of events. The stream's creation time is no identity: it has
// changed after recoveries.
const (
	metaAPI      = "api"       // name and version, for people
	metaLayout   = "layout"    // of headers and bodies
	metaMap      = "map"       // of paths to subjects
	metaFirstSeq = "first_seq" // sequence with which this life of the stream began
	metaProfile  = "durable"   // profile with which it was made
	metaMaxBytes = "max_bytes" // size that was asked for; it may have been made smaller
)

const (
	infoAge    = 10 * time.Second // after which first_seq is asked for again
	lastAge    = time.Second      // after which the last sequence is asked for again: one answer for a storm of clients
	profileAge = time.Minute      // after which a writer asks for the profile again
)

// streamFacts is what we must know of a stream to write to it or to judge an id.
type streamFacts struct {
	firstSeq uint64
	lastSeq  uint64 // when it was read
	profile  string
	read     time.Time
}

// infoCache holds one streamFacts per API; bounded by the number of streams.
type infoCache struct {
	box   *inbox
	met   *metrics
	group singleflight.Group

	mu    sync.Mutex
	facts map[string]streamFacts // guarded by mu
}

func newInfoCache(box *inbox, met *metrics) *infoCache {
	return &infoCache{box: box, met: met, facts: map[string]streamFacts{}}
}

// get returns what is known if it is not older than age (0 = any age), else asks.
func (c *infoCache) get(ctx context.Context, api string, age time.Duration) (streamFacts, error) {
	c.mu.Lock()
	f, ok := c.facts[api]
	c.mu.Unlock()
	if ok && (age == 0 || time.Since(f.read) < age) {
		return f, nil
	}
	ch := c.asking(ctx, api)
	select {
	case r := <-ch:
		if r.Err != nil {
			return streamFacts{}, r.Err
		}
		return r.Val.(streamFacts), nil
	case <-ctx.Done():
		return streamFacts{}, ctx.Err()
	}
}

// asking asks on a goroutine of its own, once for all who want to know.
func (c *infoCache) asking(ctx context.Context, api string) <-chan singleflight.Result {
	return c.group.DoChan(api, func() (any, error) {
		ask, cancel := withTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return c.ask(ask, api)
	})
}

// refresh asks anew if f is old, and waits for nothing.
func (c *infoCache) refresh(ctx context.Context, api string, f streamFacts) {
	if time.Since(f.read) >= profileAge {
		c.asking(ctx, api)
	}
}

func (c *infoCache) ask(ctx context.Context, api string) (streamFacts, error) {
	c.met.read("info")
	m, err := c.box.ask(ctx, &nats.Msg{Subject: "$JS.API.STREAM.INFO." + streamName(api)})
	if err == nil {
		err = jsAnswerError(m)
	}
	if err != nil {
		if errors.Is(err, ErrNoStream) {
			c.drop(api)
		}
		return streamFacts{}, fmt.Errorf("stream of %s: info: %w", api, readError(err))
	}
	var info struct {
		Config struct {
			Metadata map[string]string `json:"metadata"`
		} `json:"config"`
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return streamFacts{}, fmt.Errorf("stream of %s: info: %w", api, err)
	}
	meta := info.Config.Metadata
	first, err := strconv.ParseUint(meta[metaFirstSeq], 10, 64)
	if err != nil || meta[metaLayout] != "1" || meta[metaMap] != "1" {
		return streamFacts{}, fmt.Errorf("stream of %s: %w: not made by this version", api, ErrRefused)
	}
	f := streamFacts{firstSeq: first, lastSeq: info.State.LastSeq, profile: meta[metaProfile], read: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts[api] = f
	return f, nil
}

func (c *infoCache) drop(api string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.facts, api)
}

func (c *infoCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.facts)
}

// jsAnswerError returns the error in an answer of the JetStream API.
func jsAnswerError(m *nats.Msg) error {
	if noResponders(m) {
		return fmt.Errorf("%w: JetStream does not answer", ErrUnavailable)
	}
	return apiError(m.Data)
}

// readError makes a lost answer to a question just that: nothing is undecided.
func readError(err error) error {
	if errors.Is(err, ErrUnknownOutcome) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
