package feed

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// answer lets a fault that meets a request happen; true means that the request is answered by it.
func (f *Fault) answer(w http.ResponseWriter, r *http.Request, done <-chan struct{}) bool {
	switch f.Kind {
	case Status:
		if f.Text != "" {
			w.Header().Set("Retry-After", f.Text)
		}
		w.WriteHeader(f.Code)
	case Redirect:
		redirect(w, f.Text, f.Code)
	case RedirectLoop:
		redirect(w, r.URL.RequestURI(), f.Code)
	case Forbidden:
		redirect(w, "http://169.254.169.254/latest/meta-data/", f.Code)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte("<!doctype html><title>Sign in</title><p>data: not a stream\n\n")) //nolint:errcheck // the client may leave
	case Gzip:
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb()) //nolint:errcheck // the client may leave
	case Brotli:
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "br")
		w.Write([]byte("\x0b\x02\x80data\x03")) //nolint:errcheck // the client may leave
	case AcceptClose:
		closeUnanswered(w)
	case EndlessHead:
		rawAnswer(w, done, "HTTP/1.1 200 OK\r\nX-Filler: ", strings.Repeat("x", 4096))
	case Interim:
		rawAnswer(w, done, "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n", 64))
	case NotHTTP:
		rawAnswer(w, done, "SSH-2.0-OpenSSH_9.9\r\n", "")
	case BadChunk:
		rawAnswer(w, done, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\ndata: x\n\n\r\n", "")
	case LateHeaders:
		wait := time.NewTimer(f.For)
		defer wait.Stop()
		select {
		case <-wait.C:
			return false
		case <-r.Context().Done():
		case <-done:
		}
		closeUnanswered(w)
	default:
		return false
	}
	return true
}

func redirect(w http.ResponseWriter, location string, code int) {
	if code == 0 {
		code = http.StatusFound
	}
	w.Header().Set("Location", location)
	w.WriteHeader(code)
}

// closeUnanswered closes the connection without a byte.
func closeUnanswered(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite() //nolint:errcheck // closed below
	}
	conn.Close() //nolint:errcheck // nothing to lose
}

// rawAnswer writes start below HTTP, then again and again what follows until the client leaves; if nothing follows it closes.
func rawAnswer(w http.ResponseWriter, done <-chan struct{}, start, again string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(start)); err != nil || again == "" {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := conn.Write([]byte(again)); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// bomb returns 64 MiB of one data line, gzipped: about 64 KiB.
func bomb() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	zeros := make([]byte, 1<<20)
	z.Write([]byte("data: ")) //nolint:errcheck // into memory
	for range 64 {
		z.Write(zeros) //nolint:errcheck // into memory
	}
	z.Write([]byte("\n\n")) //nolint:errcheck // into memory
	z.Close()               //nolint:errcheck // into memory
	return b.Bytes()
}

// addHeaders adds what the fault wants in the head of a stream.
func (f *Fault) addHeaders(head http.Header) {
	switch f.Kind {
	case Cookie:
		head.Add("Set-Cookie", "session=do-not-send-me-back; Path=/")
	case BigHeaders:
		for i, left := 0, f.Size; left > 0; i++ {
			part := min(left, 1000)
			head.Set(fmt.Sprintf("X-Filler-%06d", i), string(bytes.Repeat([]byte{'x'}, part)))
			left -= part
		}
	}
}
