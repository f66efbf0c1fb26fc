package brokertest

import (
	"bufio"
	"bytes"
	"net"
	"strconv"
	"sync/atomic"
)

// filterConn reads the broker's protocol and leaves out messages that drop wants gone,
// as a connection that breaks at the wrong moment does.
type filterConn struct {
	net.Conn
	in   *bufio.Reader
	out  []byte // read, not yet handed on
	buf  []byte // what out is cut from
	drop func(subject []byte) bool
}

func newFilterConn(c net.Conn, drop func(subject []byte) bool) *filterConn {
	return &filterConn{Conn: c, in: bufio.NewReaderSize(c, 64<<10), drop: drop}
}

// Read implements net.Conn; one goroutine of the client reads.
func (c *filterConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// next reads one operation of the protocol.
func (c *filterConn) next() error {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return err
	}
	c.buf = append(c.buf[:0], line...)
	fields := bytes.Fields(line)
	if len(fields) < 4 || string(fields[0]) != "MSG" && string(fields[0]) != "HMSG" {
		c.out = c.buf
		return nil
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return err
	}
	for size += 2; size > 0; { // the payload and its line end
		part := make([]byte, min(size, 32<<10))
		n, err := c.in.Read(part)
		if err != nil {
			return err
		}
		c.buf = append(c.buf, part[:n]...)
		size -= n
	}
	if !c.drop(fields[1]) {
		c.out = c.buf
	}
	return nil
}

// answerDrop decides which answers to a node's requests are lost on the way.
type answerDrop struct {
	prefix atomic.Pointer[string] // of the subjects concerned, nil = none
	every  atomic.Int64
	seen   atomic.Int64
}

func (d *answerDrop) drop(subject []byte) bool {
	prefix := d.prefix.Load()
	if prefix == nil || !bytes.HasPrefix(subject, []byte(*prefix)) {
		return false
	}
	return d.seen.Add(1)%d.every.Load() == 0
}

func (d *answerDrop) set(prefix string, every int) {
	d.prefix.Store(nil)
	if every > 0 {
		d.every.Store(int64(every))
		d.seen.Store(0)
		d.prefix.Store(&prefix)
	}
}

// DropAcks loses every n-th answer of the broker to what the node's writer publishes,
// on the wire; 0 ends it. Unlike HoldAck this is what the writer itself must get over.
func (n *Node) DropAcks(every int) { n.gate.answers.set("_INBOX.commit", every) }

// DropReadMessages loses every n-th message of the answers to direct reads; 0 ends it.
func (n *Node) DropReadMessages(every int) { n.gate.reads.set("_INBOX.read", every) }
