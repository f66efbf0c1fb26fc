package obs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"sluice/internal/trace"
)

// otlpClient speaks OTLP over HTTP with protobuf. It is written out here because the
// library's exporter links gRPC, which made the program a third larger.
type otlpClient struct {
	c        TraceConfig
	http     *http.Client
	resource *resourcepb.Resource
	scope    *commonpb.InstrumentationScope
}

func newOTLPClient(c TraceConfig, d TraceDeps) *otlpClient {
	attrs := map[string]string{"service.version": d.Version, "service.instance.id": d.Node}
	maps.Copy(attrs, c.resource)
	attrs["service.name"] = c.service
	res := &resourcepb.Resource{}
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		res.Attributes = append(res.Attributes, attributeOf(trace.Attr{Key: k, Value: attrs[k]}))
	}
	return &otlpClient{c: c, resource: res, scope: &commonpb.InstrumentationScope{Name: "sluice", Version: d.Version},
		http: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls, ForceAttemptHTTP2: true,
				MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			// The headers may be credentials: they go to the endpoint and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
}

func (o *otlpClient) close() { o.http.CloseIdleConnections() }

// encode makes the body of a request. An ExportTraceServiceRequest and TracesData are the
// same on the wire.
func (o *otlpClient) encode(batch []*trace.Data) []byte {
	spans := make([]*tracepb.Span, len(batch))
	for i, d := range batch {
		spans[i] = spanOf(d)
	}
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: o.resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: o.scope, Spans: spans}},
	}}})
	if err != nil {
		panic("obs: spans that cannot be encoded: " + err.Error()) // texts are UTF-8: package trace and the environment see to it
	}
	if !o.c.gzip {
		return body
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

var kinds = [...]tracepb.Span_SpanKind{trace.Internal: tracepb.Span_SPAN_KIND_INTERNAL, trace.Server: tracepb.Span_SPAN_KIND_SERVER,
	trace.Client: tracepb.Span_SPAN_KIND_CLIENT, trace.Producer: tracepb.Span_SPAN_KIND_PRODUCER}

// Bits of flags of a span or link that say whether its parent, or what it links to, is
// another process's.
const (
	flagRemoteKnown = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	flagRemote      = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

func spanOf(d *trace.Data) *tracepb.Span {
	s := &tracepb.Span{
		TraceId: d.Context.Trace[:], SpanId: d.Context.Span[:], Name: d.Name, Kind: kinds[d.Kind],
		Flags:             flagsOf(d.Context) | flagRemoteKnown,
		StartTimeUnixNano: uint64(d.Began.UnixNano()), EndTimeUnixNano: uint64(d.Ended.UnixNano()),
	}
	if d.Parent.Valid() {
		s.ParentSpanId = d.Parent.Span[:]
	}
	if d.Remote {
		s.Flags |= flagRemote
	}
	for i := range d.Links {
		l := &d.Links[i]
		s.Links = append(s.Links, &tracepb.Span_Link{TraceId: l.Trace[:], SpanId: l.Span[:], Flags: flagsOf(*l)})
	}
	for _, a := range d.Attrs {
		s.Attributes = append(s.Attributes, attributeOf(a))
	}
	if d.Failed != "" {
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: d.Failed}
	}
	return s
}

// flagsOf are those of W3C Trace Context.
func flagsOf(c trace.Context) uint32 {
	if c.Sampled {
		return 1
	}
	return 0
}

func attributeOf(a trace.Attr) *commonpb.KeyValue {
	v := &commonpb.AnyValue{}
	switch x := a.Value.(type) {
	case string:
		v.Value = &commonpb.AnyValue_StringValue{StringValue: x}
	case int64:
		v.Value = &commonpb.AnyValue_IntValue{IntValue: x}
	case bool:
		v.Value = &commonpb.AnyValue_BoolValue{BoolValue: x}
	}
	return &commonpb.KeyValue{Key: a.Key, Value: v}
}

// otlpError is why spans were not taken. It holds nothing of the endpoint or the headers.
type otlpError struct {
	status int // of the answer; 0 = none
	why    string
	after  time.Duration // what the collector asked for
}

func (e *otlpError) Error() string { return e.why }

// retry says whether another attempt may help, and how long the collector wants to be left
// alone.
func (e *otlpError) retry() (after time.Duration, again bool) {
	switch e.status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.after, true
	}
	return 0, false
}

const (
	maxAnswer   = 64 << 10
	maxWhy      = 200
	maxLeaveOff = 30 * time.Second
)

// post makes one attempt; rejected is how many spans the collector took no part in.
func (o *otlpClient) post(ctx context.Context, body []byte) (rejected int, _ *otlpError) {
	ctx, cancel := context.WithTimeout(ctx, o.c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.c.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return 0, &otlpError{status: -1, why: "the endpoint is no URL"}
	}
	req.Header.Set("User-Agent", "sluice")
	for k, v := range o.c.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if o.c.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return 0, &otlpError{why: whyOf(err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 != 2:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date is as good as none
		return 0, &otlpError{status: resp.StatusCode, why: fmt.Sprintf("status %d", resp.StatusCode),
			after: min(max(0, time.Duration(seconds)*time.Second), maxLeaveOff)}
	case err != nil:
		return 0, nil // it said yes
	}
	return rejectedOf(answer), nil
}

// whyOf is err without the address that it was met at.
func whyOf(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return clip(err.Error(), maxWhy)
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// rejectedOf reads partial_success.rejected_spans of an ExportTraceServiceResponse; 0 if
// there is none.
func rejectedOf(answer []byte) int {
	partial, _ := protoField(answer, 1, protowire.BytesType)
	_, n := protoField(partial, 1, protowire.VarintType)
	return int(min(n, 1<<20))
}

// protoField finds the first field of a number and type.
func protoField(b []byte, number protowire.Number, typ protowire.Type) (bytes []byte, varint uint64) {
	for len(b) > 0 {
		num, t, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, 0
		}
		b = b[n:]
		if num == number && t == typ {
			if t == protowire.VarintType {
				varint, _ = protowire.ConsumeVarint(b)
			} else {
				bytes, _ = protowire.ConsumeBytes(b)
			}
			return bytes, varint
		}
		if n = protowire.ConsumeFieldValue(num, t, b); n < 0 {
			return nil, 0
		}
		b = b[n:]
	}
	return nil, 0
}
