package fanout

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// row asks for the block of the rig's one feed that covers seq.
func (r *rig) row(f broker.FeedID, seq uint64) (*Block, error) {
	feed := r.hub.list()[0]
	return r.hub.blocks.at(r.ctx, f, &feed.life, Identity, seq, 0)
}

// A store that was restored while nobody told the hub has other events behind the blocks
// held: the seam shows it, and nothing of both lives is read as one.
func TestBlocksOfTwoLivesHaveNoSeam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{})
		f := testFeed("a")
		r.commit(f, 100)
		r.b.Save()
		saved := r.prev[f]
		r.commit(f, broker.BlockMessages-100) // one block, whole
		r.commit(f, 1)                        // so that the block ends where the next begins
		j := r.join(Want{Feed: f})
		b, err := r.row(f, 1)
		if err != nil || !b.more || b.events() != broker.BlockMessages {
			t.Fatalf("block of %d events, %v", b.events(), err)
		}
		r.b.RestoreOld()
		time.Sleep(time.Second)
		r.prev[f] = saved
		r.commit(f, 2*broker.BlockMessages) // the same sequences and links, other events
		if n, err := r.row(f, b.to); err == nil {
			t.Errorf("a block of another life was read on: %v behind %v", n.index[0].pos, b.Last)
		}
		n, err := r.row(f, b.Last.Seq)
		if err != nil || n.index[n.first(b.Last.Seq)].pos == b.Last {
			t.Errorf("the old life is still held: %v", err)
		}
		j.Release()
		r.close()
	})
}

// What a fetch reads that was begun before a new life is not handed to who asks after it.
func TestAFetchOfTheLifeBeforeIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := brokertest.NewMemory(t)
		r := newRig(t, mem, HubConfig{})
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f})
		mem.DelayReads(time.Second)
		got := make(chan *Block, 1)
		go func() {
			b, err := r.row(f, 1)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		synctest.Wait()
		before := mem.Reads()
		r.hub.forgetBacklog(f)
		<-got
		if n := mem.Reads() - before; n != 1 {
			t.Errorf("%d reads after the new life began, want 1", n)
		}
		j.Release()
		r.close()
	})
}

// A block's last event may fill a read alone: proving the seam must not read it for ever.
func TestSeamBehindAnEventThatFillsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{})
		f := testFeed("a")
		c := &broker.Commit{Epoch: 1, Tx: 1}
		for range 4 {
			c.Events = append(c.Events, broker.Event{Body: []byte("data: " + strings.Repeat("x", broker.BlockBytes) + "\n")})
		}
		if _, err := r.b.Writer().Commit(r.ctx, f, c); err != nil {
			t.Fatal(err)
		}
		j := r.join(Want{Feed: f, At: At{Kind: AtEarliest}})
		ms := r.stored(f)
		r.want("all", r.read(j, Identity, ms[3].Position), frames(ms))
		j.Release()
		r.close()
	})
}
