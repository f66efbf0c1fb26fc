package feed

import (
	"bytes"
	"errors"
	"time"
)

// errEnded says that a fault ended the stream.
var errEnded = errors.New("the stream was ended by a fault")

// perform lets a fault happen to the connection; an error means that the stream is over.
func (c *conn) perform(f Fault) error {
	switch f.Kind {
	case FIN, RST, EOFInside:
		return c.performCut(f)
	case Stall, Silence:
		if f.For == 0 {
			c.mute = true
			return nil
		}
		c.quiet = time.Now().Add(f.For)
	case Drip:
		c.out.drip = max(f.For, time.Millisecond)
	case CROnly:
		c.ends = endCR
	case MixedEnds:
		c.ends = endMixed
	case LongLine:
		return c.longLine("event: junk\ndata: ", f.Size)
	case LongComment:
		return c.longLine(": ", f.Size)
	case Endless:
		return c.endless("data: and so on\n")
	case EndlessLine:
		if err := c.out.write([]byte("data: ")); err != nil {
			return err
		}
		return c.endless("and so on and on")
	case NUL:
		return c.out.write([]byte("id: 1\x002\nevent: junk\ndata: {\"junk\":\"nul\x00\"}\n\n"))
	case BadUTF8:
		return c.out.write([]byte("event: junk\ndata: {\"junk\":\"\xff\xfe\xc3\x28 \xed\xa0\x80 \xf0\x9f\x93\"}\n\n"))
	case RetryLine:
		return c.out.write([]byte("retry: " + f.Text + "\n\n"))
	case GatewayName:
		return c.out.write([]byte("event: gateway.gap\ndata: {\"junk\":\"gateway.gap\",\"reason\":\"forged\"}\n\n"))
	case Burst:
		c.m.mu.Lock()
		f.Feed = c.r.feed
		c.m.burst(f)
		c.m.mu.Unlock()
	}
	return nil
}

// performCut ends the stream, inside the next event if the fault says where; it then waits until that is due.
func (c *conn) performCut(f Fault) error {
	if !f.inEvent && (f.Byte != 0 || f.At != "") {
		c.cut = &f
		return nil
	}
	if f.inEvent {
		if f.At == "crlf" {
			c.ends = endCRLF
		}
		frame := c.appendEvent(nil, c.n)
		if err := c.out.write(frame[:f.cutPoint(frame)]); err != nil {
			return err
		}
	}
	switch f.Kind {
	case RST:
		c.out.reset()
	case EOFInside:
		c.out.end()
	default:
		c.out.abort()
	}
	return errEnded
}

const pieceBytes = 64 << 10

// longLine sends one block whose last line is start and size bytes more.
func (c *conn) longLine(start string, size int) error {
	if err := c.out.write([]byte(start)); err != nil {
		return err
	}
	piece := bytes.Repeat([]byte("sluice! "), pieceBytes/8)
	for size > 0 && !c.over() {
		part := piece[:min(size, len(piece))]
		if err := c.out.write(part); err != nil {
			return err
		}
		size -= len(part)
	}
	return c.out.write([]byte("\n\n"))
}

// endless sends the same 16 bytes until the client leaves, about 13 MB a second.
func (c *conn) endless(text string) error {
	piece := bytes.Repeat([]byte(text), pieceBytes/len(text))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.out.write(piece); err != nil {
			return err
		}
		select {
		case <-c.gone:
			return errGone
		case <-tick.C:
		}
	}
}
