package brokertest

import "sluice/internal/broker"

// Broker is one node's use of a broker, as *broker.Node has it, with faults.
type Broker interface {
	Writer() broker.Writer
	NewLive(name string) (broker.Live, error)
	Direct() broker.Direct
	Bus() broker.Bus
	Admin() broker.Admin
	Link() broker.Link
	LinkChanged() <-chan struct{}
	MaxEvent() int
	Faults
}

// Faults make a broker misbehave. They fail the test when they do not succeed.
type Faults interface {
	// DropLive throws away every n-th live event of the node from now on; 0 ends it.
	DropLive(n int)
	// DropLast throws away the next live event of the feed.
	DropLast(f broker.FeedID)
	// HoldAck stores the next n commits but loses the answers: ErrUnknownOutcome. Passed
	// again, or made again with the same (Epoch, Tx), a commit is found stored.
	HoldAck(n int)
	// DeleteMsg removes one stored message from the middle.
	DeleteMsg(api string, seq uint64)
	// PurgeTo removes all messages of the API below seq.
	PurgeTo(api string, seq uint64)
	// Recreate deletes the API's stream and makes it again, empty, with the same limits.
	Recreate(api string)
	// Save keeps a copy of the whole store, RestoreOld goes back to it: sequences stored
	// since then are used again. Both cut the link for a moment.
	Save()
	RestoreOld()
	// Cut breaks the node's link to the broker until Heal.
	Cut()
	Heal()
	// Reads counts the read requests that reached the broker by Direct.
	Reads() int
}
