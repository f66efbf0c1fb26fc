package catalog

import "sluice/internal/broker"

// Route is what a request or a demanded feed matched, from one snapshot. Immutable.
type Route struct {
	// API that matched; never nil when Match returned nil, no-such-topic or invalid-query.
	API *API
	// Topic that matched, one of API.Spec.Topics; never nil when Match returned nil or invalid-query.
	Topic *Topic
	// Params are the topic's parameters, decoded, in the order of its name. What a wildcard took is not among them.
	Params []ParamValue
	// Path is the canonical escaped request path, base included: `/market/1.0.0/quotes/ACME`. For logs; only Match sets it.
	Path string
	// FeedPath is the canonical escaped path below the base: `/quotes/ACME`; `/` for the bare base. One feed has one spelling: each
	// segment was decoded exactly once and escaped again. With FeedQuery it is the feed's identity within the API.
	FeedPath string
	// FeedQuery is the canonical query of allow-listed parameters, defaults filled in, sorted, escaped so that no value can look
	// like two parameters: `depth=5&lang=en`. Empty when there are none.
	FeedQuery string
	// Upstream is the URL to read: endpoint, its base path, backend with the values filled in, then FeedQuery. Never holds a byte
	// of the raw request path. Empty for an API without endpoint.
	Upstream string
	// Default is true when the request came without a version.
	Default bool
}

// ParamValue is one parameter of a matched topic.
type ParamValue struct{ Name, Value string }

// Ref names the feed that the route leads to.
func (r Route) Ref() FeedRef {
	return FeedRef{API: r.API.Name(), Version: r.API.Version(), Path: r.FeedPath, Query: r.FeedQuery}
}

// FeedRef names one feed by what a demand message carries: enough for Snapshot.Feed to find its Route again, and for the broker to
// make its subject. Comparable.
type FeedRef struct {
	API, Version string
	// Path and Query are a Route's FeedPath and FeedQuery.
	Path, Query string
}

// ID is the feed's name at the broker.
func (f FeedRef) ID() broker.FeedID { return broker.NewFeedID(f.API, f.Version, f.Path, f.Query) }
