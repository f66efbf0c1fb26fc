package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
)

// h2Client is an HTTP/2 client that trusts the development certificate, with the count of its connections.
func h2Client() (*http.Client, *atomic.Int32) {
	var dials atomic.Int32
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Client{Transport: &http.Transport{
		Protocols:       protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}, &dials
}

// sleepyClient is an HTTP client whose first connection stops reading when it receives from stop, until stop is closed. Its
// receive buffer is as the system makes it: with a tiny one loopback would crawl at a few segments a second.
func sleepyClient(stop <-chan struct{}) *http.Client {
	first := true // the transport dials one at a time: one client, one request at a time
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil || !first {
				return c, err
			}
			first = false
			return &sleepyConn{Conn: c, stop: stop}, nil
		},
	}}
}

// sleepyConn reads until it is told to stop, then nothing until the channel is closed.
type sleepyConn struct {
	net.Conn
	stop <-chan struct{}
}

func (c *sleepyConn) Read(p []byte) (int, error) {
	select {
	case _, told := <-c.stop:
		if told {
			<-c.stop
		}
	default:
	}
	return c.Conn.Read(p)
}
