package load

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Cell is one measurement: who connects where, what is published, how long. The zero value of a field means its default.
type Cell struct {
	// Name is what reports call the cell.
	Name string
	// URL is what clients open; {topic} or %d is replaced by the number of the client's topic.
	URL string
	// Header is sent by every client.
	Header http.Header
	// Clients is how many connections to open. Default 1,000.
	Clients int
	// Topics is over how many topics clients and events are spread, client i on topic i mod Topics. Default 1.
	Topics int
	// Ramp is how many connections to begin per second. Default 5,000.
	Ramp float64
	// Slow adds so many clients that read SlowRate bytes a second, 0 = never. They are judged, but not timed.
	Slow     int
	SlowRate int

	// Origin is the address to listen on as the upstream of the server under test: it reads /t/<topic> there.
	Origin string
	// Publish sends events to the server under test. Without it and without Origin the bench only listens.
	Publish *Publish
	// Rate is how many events are published per second, over all topics. Default 10; negative = none.
	Rate float64
	// Size is the bytes of an event's data. Default 200.
	Size int
	// Warmup is how long events flow before they count. Default 2 s; negative = none.
	Warmup time.Duration
	// Duration is how long events count. Default 10 s.
	Duration time.Duration
	// Settle is the pause between the last connection and the first event; idle memory is read at its end. Default 2 s.
	Settle time.Duration
	// Drain is how long to wait for the last deliveries. Default 10 s.
	Drain time.Duration
	// ConnectTimeout is how long to wait for clients that do not come up, beyond the ramp. Default 30 s.
	ConnectTimeout time.Duration

	// Churn is how many clients a second hang up and resume at once.
	Churn float64
	// ResumeBehind makes all clients hang up in the middle of the run, stay away for so many events of each topic, and
	// return at once. 0 = no.
	ResumeBehind int
	// BurstRate is the rate at which those events are published while clients are away. Default Rate.
	BurstRate float64

	// PIDs are the processes of the server under test: their CPU time and memory are read.
	PIDs []int
	// Workers is how many goroutines own connections. Default one per two CPUs, at most four.
	Workers int
	// Portable serves clients by net/http and a goroutine each, as https, HTTP/2 and systems other than Linux need it.
	Portable bool
	// HTTP2 asks for HTTP/2, over TLS or not.
	HTTP2 bool
	// Insecure accepts any certificate.
	Insecure bool
	// LateAfter names deliveries later than this. Default 1 s.
	LateAfter time.Duration
	// CountOnly judges no numbers: every event just counts. For listening to streams that number their events otherwise.
	CountOnly bool
	// Strict fails the cell also for faults that are only named otherwise: late, cut, refused, told gaps.
	Strict bool

	// OnSample hears of every second of the run, on one goroutine. May be nil.
	OnSample func(Sample)
}

// Publish says how to publish one event by POST.
type Publish struct {
	// URL is where to POST; {topic} or %d is replaced.
	URL string
	// Body is the template of the body: {{data}} the payload, {{data|json}} the same as a JSON string, {{data|form}} for a
	// form, {{topic}}, {{n}}. Default {{data}}.
	Body string
	// Header is sent with every POST, such as a token.
	Header http.Header
}

// withDefaults returns c with every default in place, or what is wrong with it.
func (c Cell) withDefaults() (*Cell, error) {
	setDefault(&c.Clients, 1000)
	setDefault(&c.Topics, 1)
	setDefault(&c.Ramp, 5000)
	setDefault(&c.Rate, 10)
	setDefault(&c.Size, 200)
	setDefault(&c.Warmup, 2*time.Second)
	setDefault(&c.Duration, 10*time.Second)
	setDefault(&c.Settle, 2*time.Second)
	setDefault(&c.Drain, 10*time.Second)
	setDefault(&c.ConnectTimeout, 30*time.Second)
	setDefault(&c.LateAfter, time.Second)
	setDefault(&c.Workers, min(max(runtime.GOMAXPROCS(0)/2, 1), 4))
	setDefault(&c.BurstRate, c.Rate)
	c.Rate, c.Warmup = max(c.Rate, 0), max(c.Warmup, 0)
	c.Settle = max(c.Settle, 0)
	if c.Publish != nil {
		p := *c.Publish
		setDefault(&p.Body, "{{data}}")
		c.Publish = &p
	}
	if strings.HasPrefix(c.URL, "https:") || c.HTTP2 || runtime.GOOS != "linux" {
		c.Portable = true
	}
	return &c, c.check()
}

// check says what is wrong with a cell.
func (c *Cell) check() error {
	switch {
	case c.URL == "":
		return errors.New("no URL to open")
	case c.Clients < 0 || c.Clients > 1_000_000 || c.Slow < 0 || c.Slow > 1_000_000:
		return errors.New("clients must be 1 to 1,000,000")
	case c.Topics < 0 || c.Topics > 10_000:
		return errors.New("topics must be 1 to 10,000")
	case c.Rate > 1e6 || c.BurstRate > 1e6:
		return errors.New("the rate must be 0 to 1,000,000 events a second")
	case c.Size < 0 || c.Size > 1<<20:
		return errors.New("the size must be at most 1 MiB")
	case c.Origin != "" && c.Publish != nil:
		return errors.New("a cell is the origin or publishes by POST, not both")
	case c.ResumeBehind > 0 && !c.publishes():
		return errors.New("a mass resume needs a source: the origin, or a URL to publish to")
	case c.ResumeBehind > 0 && c.burstFor() > c.Duration/2:
		return fmt.Errorf("%d events of each of %d topics take %v at %.4g/s, more than half of %v", c.ResumeBehind, c.Topics,
			c.burstFor().Round(time.Millisecond), c.BurstRate, c.Duration)
	}
	return nil
}

// burst is how many events clients miss in a mass resume, over all topics.
func (c *Cell) burst() int64 { return int64(c.ResumeBehind) * int64(c.Topics) }

// burstFor is how long it takes to publish them.
func (c *Cell) burstFor() time.Duration {
	return time.Duration(float64(c.burst()) / c.BurstRate * float64(time.Second))
}

// leaveAt is when clients leave for a mass resume, after counting began; the burst begins leaveFor later.
func (c *Cell) leaveAt() time.Duration { return c.Duration / 4 }

// leaveFor is the time that clients have to be gone.
const leaveFor = time.Second

// table is the timetable of the cell, without its start.
func (c *Cell) table() timetable {
	t := timetable{rate: c.Rate, total: int64((c.Warmup + c.Duration).Seconds() * c.Rate)}
	if c.ResumeBehind > 0 && c.BurstRate > c.Rate && c.Rate > 0 {
		t.burst, t.burstRate = c.burst(), c.BurstRate
		before := c.Warmup + c.leaveAt() + leaveFor
		t.before = int64(before.Seconds() * c.Rate)
		t.total = t.before + t.burst + int64((c.Warmup+c.Duration-before-c.burstFor()).Seconds()*c.Rate)
	}
	return t
}

// publishes says that the bench itself makes the events.
func (c *Cell) publishes() bool { return c.Origin != "" || c.Publish != nil }

// setDefault sets *v to d if it is the zero value.
func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// newClient is client i of a cell. The slow ones come last.
func newClient(c *Cell, i int) client {
	k := client{index: int32(i), topic: int32(i % c.Topics), slow: i >= c.Clients}
	if !c.publishes() {
		k.last = unknown
	}
	return k
}
