package outbound

import (
	"crypto/tls"
	"net/http"
	"strings"
	"time"
)

// Limits bounds the waits and lengths of a Transport. Zero values mean the defaults named.
type Limits struct {
	TLS     time.Duration // handshake, 5 s
	Header  time.Duration // from the request's end to the response head, 15 s
	Headers int64         // bytes of the response head, 64 KiB
}

// Sizes of a Transport's buffers, held as long as a connection is open: a request is one head, and reads of a body that ask
// for more than the buffer get around it.
const (
	readBuffer  = 4 << 10
	writeBuffer = 2 << 10
)

// Transport returns an http.RoundTripper for one upstream: HTTP/1.1 only (a bad peer can hang an HTTP/2 client), no proxy,
// no cookies, no compression, no reuse of connections, redirects left to the caller. dial is normally a Guard's Dialer, and
// then every connection of the Transport is checked; tests pass others. tlsConf may be nil; it is cloned, and TLS below 1.2
// is never spoken.
func Transport(dial Dialer, tlsConf *tls.Config, l Limits) *http.Transport {
	conf := &tls.Config{}
	if tlsConf != nil {
		conf = tlsConf.Clone()
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.NextProtos = []string{"http/1.1"}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            dial.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    or(l.TLS, 5*time.Second),
		ResponseHeaderTimeout:  or(l.Header, 15*time.Second),
		MaxResponseHeaderBytes: or(l.Headers, 64<<10),
		DisableCompression:     true,
		MaxIdleConnsPerHost:    -1, // unlike DisableKeepAlives it sends no "Connection: close"
		Protocols:              protocols,
		ReadBufferSize:         readBuffer,
		WriteBufferSize:        writeBuffer,
	}
}

func or[T int64 | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// IsHeaderLimit reports whether err of a round trip says that the response head was larger than Limits.Headers. net/http
// has no error value for it.
func IsHeaderLimit(err error) bool {
	return err != nil && strings.Contains(err.Error(), "response headers exceeded")
}
