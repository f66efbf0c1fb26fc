// Package badinput sends everything wrong that the contract names to the real program, and wants the exact answer and
// nothing else changed.
//
// Read edge.yaml, access.yaml, redis.yaml, config.yaml, upstream.yaml, broker.yaml, admin.yaml and asyncapi.yaml (the cases), file.go (what a
// case can say), run_test.go (what is checked around every case), then the _test.go of a surface. Only tests import it.
package badinput

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice/internal/doc"
)

// Surfaces are the names of the files, and the letters of the contract's numbers with the highest one of each. Letter F is
// for API definition files and Z for archives of WSO2 projects, whose numbers are our own.
var Surfaces = []Surface{
	{"edge", "D", 41, ""}, {"access", "T", 24, ""}, {"redis", "R", 6, ""}, {"config", "C", 11, "F"}, {"upstream", "U", 25, ""}, {"broker", "N", 9, ""}, {"admin", "M", 28, ""}, {"asyncapi", "S", 10, "Z"},
}

// Surface is one table of the contract.
type Surface struct {
	Name   string
	Letter string
	Last   int
	Own    string // letter of numbers that are our own, "" = none
}

// File is one surface's cases.
type File struct {
	Surface  string             `json:"surface"`
	Fixtures map[string]Fixture `json:"fixtures"`
	Cases    []Case             `json:"cases"`
	// Partly says of numbers that have cases which part of their row has none, and why.
	Partly map[string]string `json:"partly"`
	// Later says of numbers without cases why.
	Later map[string]string `json:"later"`
}

// Fixture is a gateway that cases share; it starts before the first and ends after the last.
type Fixture struct {
	// Engines runs the cases once for each engine. Default: auto.
	Engines []string `json:"engines"`
	Env     []string `json:"env"`
	HTTPS   bool     `json:"https"`
	// Plain is without the race detector, for cases that look at memory.
	Plain bool   `json:"plain"`
	APIs  string `json:"apis"`
	// Watch are paths of open streams that must go on flowing; the market's feed of the first gets an event after each case.
	Watch []Watch `json:"watch"`
	// Feeds is how many feeds run before the first case.
	Feeds int `json:"feeds"`
	// Users makes the catalog the broker's and opens the management API, with these users beside admin; who is named as a role has
	// it, other names have the role creator. APIs are applied by admin.
	Users []string `json:"users"`
	// Apart is a broker that is a process of its own, so that cases can take it away.
	Apart bool `json:"apart"`
	// Issuers are those whose tokens the gateway takes, and what each shows of its keys from the second time on: see keyServer.
	Issuers map[string]string `json:"issuers"`
	// Keys are the API keys that are made once the APIs, applications and subscriptions are applied, by name.
	Keys map[string]Key `json:"keys"`
	// Redis counts quotas; it is not there before a case brings it.
	Redis bool `json:"redis"`
	// Drain sends SIGTERM once the cases' connections are open.
	Drain bool `json:"drain"`
}

// Watch is a stream that stays open, and what its upstream sends before the first case.
type Watch struct {
	Path string `json:"path"`
	Feed string `json:"feed"` // the market's name
	Emit int    `json:"emit"`
	// As are its headers.
	As []string `json:"as"`
}

// Key is an API key of an application: what is asked for beside the name.
type Key struct {
	Application string `json:"application"`
	Body        string `json:"body"` // default {}
}

// Case is one bad input and its answer. Text may hold ${…}, see expand.
type Case struct {
	ID   string `json:"id"` // the contract's number, and a letter if there are several
	Name string `json:"name"`
	On   string `json:"on"` // fixture; default main
	// Engine is the only one of the fixture's that the case is about; on Linux, as elsewhere auto is portable.
	Engine string `json:"engine"`
	Send   Send   `json:"send"`
	Want   Want   `json:"want"`
}

// Send is the input. Get or Raw or H2 or Unread for the edge; the next group for config, upstream and broker.
type Send struct {
	Get     string   `json:"get"` // target of a request that is fine otherwise
	Method  string   `json:"method"`
	Proto   string   `json:"proto"` // default HTTP/1.1
	Headers []string `json:"headers"`
	Raw     string   `json:"raw"`    // bytes
	Drip    bool     `json:"drip"`   // then one byte of header after another
	Crowd   int      `json:"crowd"`  // so many connections send Raw at the same time
	H2      string   `json:"h2"`     // name of a script of frames
	Unread  string   `json:"unread"` // target of a stream that is never read
	Hold    []string `json:"hold"`   // targets of streams that are open meanwhile
	// Away takes the broker away meanwhile; needs a fixture with one apart.
	Away bool `json:"away"`
	// Broker is what is done to a broker apart: see apartCases.
	Broker string `json:"broker"`
	// As are the headers of held streams.
	As []string `json:"as"`
	// Body is behind the headers, with its length.
	Body string `json:"body"`
	// TLS sends it to the other listener.
	TLS bool `json:"tls"`
	// Token is sent as bearer token, by held streams too if they have no headers of their own.
	Token *Token `json:"token"`
	// Refetch is an issuer whose keys were fetched a second time before the case.
	Refetch string `json:"refetch"`
	// AtOnce sends Get so often at the same time; Want.Each counts the answers.
	AtOnce int `json:"atOnce"`
	// Flood sends so many tokens of this issuer, each of another unknown key.
	Flood int `json:"flood"`
	// Redis is what is done to the Redis: see redisFaults.
	Redis string `json:"redis"`
	// Emit is a feed of the market that gets an event when the answer's head is there.
	Emit string `json:"emit"`

	Files  map[string]string `json:"files"`
	Args   []string          `json:"args"`
	Env    []string          `json:"env"`
	Reload map[string]string `json:"reload"` // definition files, then SIGHUP

	Upstream *Upstream `json:"upstream"`

	Manage *Manage `json:"manage"`
}

// Token is a JWT: a good one of an issuer's client "client", but for what is said here. Members are JSON without the braces.
type Token struct {
	Issuer string `json:"issuer"` // default a
	// Sign is the key: ec, the default; other, of issuer b; rsa; new, that turned issuers show later; public, the RSA public key as
	// secret of HS256; none.
	Sign   string `json:"sign"`
	Header string `json:"header"` // members in place of those of their names
	Claims string `json:"claims"` // members in place of those of their names
	Beside string `json:"beside"` // more claims
}

// Manage is a request of the management API. Its body is Body, or an archive of Zip, or a right definition of an API "spoilt" that is
// wrong where Spoil says; otherwise there is none.
type Manage struct {
	Request string         `json:"request"` // method and target
	As      string         `json:"as"`      // user; "-" = nobody; default admin
	Type    string         `json:"type"`    // default application/json; of an archive, application/zip
	Body    string         `json:"body"`
	Spoil   map[string]any `json:"spoil"` // JSON pointer: value
	Zip     []Entry        `json:"zip"`
	Headers []string       `json:"headers"`
	Times   int            `json:"times"`  // sent so often one after the other; the last answer counts
	AtOnce  int            `json:"atOnce"` // sent so often at the same time; Want.Each counts the answers
	Undo    string         `json:"undo"`   // request of admin that brings back the state
}

// Entry is a file of an archive, or as many as its name has a count for: `name*200`.
type Entry struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Link bool   `json:"link"`
}

// Finding is a wrong part of a document; what is 0 is not compared.
type Finding struct {
	Type    string `json:"type"`
	Pointer string `json:"pointer"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
}

// Upstream is a server that misbehaves: a fault of test/feed, or a body as it stands.
type Upstream struct {
	Fault    string `json:"fault"`
	Text     string `json:"text"`     // of an event stream that stays open
	Close    bool   `json:"close"`    // …that ends
	Endpoint string `json:"endpoint"` // instead of our server
	TLS      string `json:"tls"`      // kind of certificate
	Spec     string `json:"spec"`     // the definition's upstream, in flow style
	Emit     int    `json:"emit"`     // events of the market once the feed is up
}

// Want is the answer. What it leaves out must not be there: see the checks in run_test.go.
type Want struct {
	Status    int               `json:"status"`
	Type      string            `json:"type"`      // of the problem
	Parameter string            `json:"parameter"` // that errors[] names
	Header    map[string]string `json:"header"`    // exact; "" = absent
	// RetryAfter wants the header; without it there must be none.
	RetryAfter bool   `json:"retryAfter"`
	Closed     bool   `json:"closed"` // after the answer
	Shed       string `json:"shed"`   // reason: a stream that ends at once
	// Body is a pattern that the first bytes match; all of them if the connection closes.
	Body   string         `json:"body"`
	Like   string         `json:"like"` // case whose answer has the same bytes
	Log    *Log           `json:"log"`
	Close  *Log           `json:"close"`  // fields of a stream's access line
	Count  map[string]int `json:"count"`  // metric without sluice_, labels behind it: change
	Errors []Finding      `json:"errors"` // of a problem of the management API, all of them
	Each   map[string]int `json:"each"`   // status and slug: how many of the answers of AtOnce
	// End is the reason that the held streams are ended for.
	End string `json:"end"`
	// Line is a line of the log that belongs to no request.
	Line *Log `json:"line"`
	// Slow are statuses of an answer that had to be given before the counters had answered, or were told all: it is sent again.
	Slow []int `json:"slow"`
	// Changes says that the request is right, so that the state is another one afterwards.
	Changes bool `json:"changes"`
	// Grows says that a feed may have opened.
	Grows bool `json:"grows"`

	Exit   *int     `json:"exit"`
	Stderr []string `json:"stderr"` // patterns, each of another line
	Stdout string   `json:"stdout"`

	State   string `json:"state"` // of the feed
	Why     string `json:"why"`   // pattern
	Markers int    `json:"markers"`
	Stored  string `json:"stored"` // pattern of what a client gets that begins with the earliest
	Events  int    `json:"events"` // stored, markers included
}

// Log is one line of the log.
type Log struct {
	Event  string            `json:"event"` // or msg
	Level  string            `json:"level"`
	Fields map[string]string `json:"fields"` // exact
}

// Load reads the file of a surface in dir.
func Load(dir, surface string) (*File, error) {
	path := filepath.Join(dir, surface+".yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	docs, err := doc.ParseYAML(path, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s: %d documents, want one", path, len(docs))
	}
	f := &File{}
	if err := docs[0].Decode(f); err != nil {
		return nil, err
	}
	if f.Surface != surface {
		return nil, fmt.Errorf("%s: surface %q", path, f.Surface)
	}
	return f, nil
}
