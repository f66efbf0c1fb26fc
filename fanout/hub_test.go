package fanout

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
)

// onBoth runs a test on the real broker and on its stand-in inside a bubble.
func onBoth(t *testing.T, cfg HubConfig, test func(r *rig)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, brokertest.NewMemory(t), cfg)
			test(r)
			r.close()
		})
	})
	t.Run("real", func(t *testing.T) {
		r := newRig(t, brokertest.Start(t), cfg)
		test(r)
		r.close()
	})
}

func TestEveryStart(t *testing.T) {
	onBoth(t, HubConfig{Log: LogConfig{WindowBytes: 32 << 10}}, func(r *rig) {
		f := testFeed("a")
		last := r.commit(f, 900)
		ms := r.stored(f)
		wantAll := frames(ms)
		for name, c := range map[string]struct {
			at     At
			want   []byte
			result string
		}{
			"live":         {At{}, nil, ResultNone},
			"earliest":     {At{Kind: AtEarliest}, wantAll, ResultNone},
			"first id":     {at2(ms, 0), frames(ms[1:]), ResultExact},
			"middle id":    {at2(ms, 417), frames(ms[418:]), ResultExact},
			"newest id":    {at2(ms, 899), nil, ResultExact},
			"last 1":       {At{Kind: AtLast, N: 1}, frames(ms[899:]), ResultNone},
			"last 5":       {At{Kind: AtLast, N: 5}, frames(ms[895:]), ResultNone},
			"last 700":     {At{Kind: AtLast, N: 700}, frames(ms[200:]), ResultNone},
			"last 1000":    {At{Kind: AtLast, N: 1000}, wantAll, ResultNone},
			"since middle": {At{Kind: AtSince, Micros: ms[300].Micros}, frames(ms[firstAt(ms, ms[300].Micros):]), ResultNone},
			"since future": {At{Kind: AtSince, Micros: last.Micros + 1e9}, nil, ResultNone},
			"bookmark":     {At{Kind: AtID, Pos: broker.Position{Micros: ms[300].Micros}}, frames(ms[firstAt(ms, ms[300].Micros+1):]), ResultExact},
		} {
			for _, fr := range []Framing{Identity, Chunked} {
				j := r.join(Want{Feed: f, At: c.at, Framing: fr})
				got := r.read(j, fr, last)
				if fr == Chunked {
					got = unchunk(r.t, got)
				}
				r.want(name, got, c.want)
				if j.Result != c.result || j.Gap != nil {
					r.t.Errorf("%s: result %s, gap %q", name, j.Result, j.Gap)
				}
				j.Release()
			}
		}
		// What was read by block goes on live without a seam.
		j := r.join(Want{Feed: f, At: at2(ms, 10)})
		last = r.commit(f, 300)
		r.want("from backlog into live", r.read(j, Identity, last), frames(r.stored(f)[11:]))
		j.Release()
	})
}

func firstAt(ms []broker.Message, micros int64) int {
	for i := range ms {
		if ms[i].Micros >= micros {
			return i
		}
	}
	return len(ms)
}

func TestResumeRows(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f, g := testFeed("a"), testFeed("b")
		r.commit(f, 20)
		other := r.commit(g, 1)
		r.commit(f, 20)
		ms := r.stored(f)
		last := ms[39].Position
		for _, warm := range []bool{false, true} {
			if warm { // the log holds 41 and on; what follows is then told by the log, not the broker
				j := r.join(Want{Feed: f})
				defer j.Release()
				r.commit(f, 5)
				other2 := r.commit(g, 1)
				last = r.commit(f, 5)
				ms = r.stored(f)
				r.check(Want{Feed: f, At: At{Kind: AtID, Pos: other2}, Else: At{Kind: AtLast, N: 2}}, last, ResultUnknown,
					Gap{Reason: GapUnknown, Possible: true}, frames(ms[48:]))
				wrong := ms[45].Position
				wrong.Micros--
				to := firstAt(ms, wrong.Micros+1)
				r.check(Want{Feed: f, At: At{Kind: AtID, Pos: wrong}}, last, ResultReset,
					Gap{Reason: GapReset, From: wrong, To: ms[to].Position, Possible: true, Doubles: true}, frames(ms[to:]))
			}
			r.check(Want{Feed: f, At: At{Kind: AtID, Pos: other}}, last, ResultUnknown, Gap{Reason: GapUnknown, Possible: true}, nil)
			r.check(Want{Feed: f, At: At{Kind: AtBadID}, Else: At{Kind: AtLast, N: 3}}, last, ResultUnknown,
				Gap{Reason: GapUnknown, Possible: true}, frames(ms[len(ms)-3:]))
			wrong := ms[7].Position
			wrong.Micros--
			to := firstAt(ms, wrong.Micros+1)
			r.check(Want{Feed: f, At: At{Kind: AtID, Pos: wrong}}, last, ResultReset,
				Gap{Reason: GapReset, From: wrong, To: ms[to].Position, Possible: true, Doubles: true}, frames(ms[to:]))
			ahead := broker.Position{Seq: last.Seq + 1_000_000, Micros: last.Micros + 1_000_000}
			began := time.Now()
			r.check(Want{Feed: f, At: At{Kind: AtID, Pos: ahead}}, last, ResultReset,
				Gap{Reason: GapReset, From: ahead, Possible: true, Doubles: true}, nil)
			if took := time.Since(began); took < aheadWait {
				r.t.Errorf("an id ahead was given up after %s", took)
			}
			early := broker.Position{Seq: 17, Micros: ms[0].Micros - 5}
			r.check(Want{Feed: f, At: At{Kind: AtID, Pos: early}}, last, ResultReset,
				Gap{Reason: GapReset, From: early, To: ms[0].Position, Possible: true, Doubles: true}, frames(ms))
		}
		// Trimmed: the anchor alone, and more than the anchor.
		r.b.PurgeTo(testAPI, ms[11].Seq)
		cold := newRig(r.t, r.b, HubConfig{})
		cold.check(Want{Feed: f, At: at2(ms, 10)}, last, ResultExact, Gap{}, frames(ms[11:]))
		cold.check(Want{Feed: f, At: at2(ms, 9)}, last, ResultExpired, Gap{Reason: GapExpired, From: ms[9].Position, To: ms[11].Position}, frames(ms[11:]))
		cold.check(Want{Feed: f, At: At{Kind: AtEarliest}}, last, ResultNone, Gap{}, frames(ms[11:]))
		r.b.DeleteMsg(testAPI, ms[30].Seq)
		lost := append(frames(ms[21:30]), AppendGap(nil, Gap{Reason: GapStoreLoss, From: ms[29].Position, To: ms[31].Position})...)
		cold2 := newRig(r.t, r.b, HubConfig{})
		cold2.check(Want{Feed: f, At: at2(ms, 20)}, last, ResultExact, Gap{}, append(lost, frames(ms[31:])...))
		cold2.check(Want{Feed: f, At: at2(ms, 29)}, last, ResultExact, Gap{},
			append(AppendGap(nil, Gap{Reason: GapStoreLoss, From: ms[29].Position, To: ms[31].Position}), frames(ms[31:])...))
		// Nothing is kept at all.
		r.b.PurgeTo(testAPI, last.Seq+1)
		cold3 := newRig(r.t, r.b, HubConfig{})
		cold3.check(Want{Feed: f, At: at2(ms, 20)}, broker.Position{}, ResultExpired, Gap{Reason: GapExpired, From: ms[20].Position, Possible: true}, nil)
		cold.close()
		cold2.close()
		cold3.close()
	})
}

// check joins and compares all that the client is told and sent.
func (r *rig) check(w Want, last broker.Position, result string, gap Gap, want []byte) {
	r.t.Helper()
	for _, fr := range []Framing{Identity, Chunked} {
		w.Framing = fr
		j := r.join(w)
		var told []byte
		if gap.Reason != "" {
			told = AppendGap(nil, gap)
		}
		r.want("gap", j.Gap, told)
		j.Gap = nil
		got := r.read(j, fr, last)
		if fr == Chunked {
			got = unchunk(r.t, got)
		}
		r.want("events", got, want)
		if j.Result != result {
			r.t.Errorf("result is %s, want %s", j.Result, result)
		}
		j.Release()
	}
}

func TestLimitsOfAResume(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		last := r.commit(f, 1000)
		ms := r.stored(f)
		size := int64(len(frames(ms[999:])))
		gap := func(reason GapReason, from, to int) Gap {
			return Gap{Reason: reason, From: ms[from].Position, To: ms[to].Position}
		}
		for range 2 { // cold and warm
			r.check(Want{Feed: f, At: at2(ms, 99), MaxEvents: 900}, last, ResultExact, Gap{}, frames(ms[100:]))
			r.check(Want{Feed: f, At: at2(ms, 98), MaxEvents: 900}, last, ResultLimit, gap(GapBacklogLimit, 98, 100), frames(ms[100:]))
			r.check(Want{Feed: f, At: At{Kind: AtEarliest}, MaxEvents: 10}, last, ResultLimit,
				Gap{Reason: GapBacklogLimit, To: ms[990].Position}, frames(ms[990:]))
			r.check(Want{Feed: f, At: at2(ms, 10), Retention: Retention{MaxEvents: 300}}, last, ResultExpired, gap(GapExpired, 10, 700), frames(ms[700:]))
			r.check(Want{Feed: f, At: at2(ms, 699), Retention: Retention{MaxEvents: 300}}, last, ResultExact, Gap{}, frames(ms[700:]))
			r.check(Want{Feed: f, At: At{Kind: AtEarliest}, Retention: Retention{MaxEvents: 300}}, last, ResultNone, Gap{}, frames(ms[700:]))
		}
		j := r.join(Want{Feed: f, At: at2(ms, 10), MaxBytes: 100 * size})
		got := r.read(j, Identity, last)
		if j.Result != ResultLimit || int64(len(got)-len(j.Gap)) > 100*size || int64(len(got)) < 90*size {
			r.t.Errorf("%d bytes of at most %d, result %s", len(got), 100*size, j.Result)
		}
		j.Release()
	})
}

func TestTopicKeepsLessLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{})
		f := testFeed("a")
		r.commit(f, 10)
		time.Sleep(10 * time.Minute)
		r.commit(f, 10)
		time.Sleep(time.Minute)
		ms := r.stored(f)
		keep := Retention{MaxAge: 5 * time.Minute}
		last := ms[19].Position
		r.check(Want{Feed: f, At: at2(ms, 3), Retention: keep}, last, ResultExpired, Gap{Reason: GapExpired, From: ms[3].Position, To: ms[10].Position}, frames(ms[10:]))
		r.check(Want{Feed: f, At: at2(ms, 9), Retention: keep}, last, ResultExact, Gap{}, frames(ms[10:]))
		r.check(Want{Feed: f, At: At{Kind: AtEarliest}, Retention: keep}, last, ResultNone, Gap{}, frames(ms[10:]))
		r.check(Want{Feed: f, At: At{Kind: AtLast, N: 15}, Retention: keep}, last, ResultNone, Gap{}, frames(ms[10:]))
		r.close()
	})
}

func TestLostLiveMessagesAreRepaired(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f})
		defer j.Release()
		r.b.DropLive(7)
		for range 40 {
			r.commit(f, 5)
		}
		r.b.DropLive(0)
		last := r.commit(f, 1)
		r.want("with every 7th live message lost", r.read(j, Identity, last), frames(r.stored(f)[3:]))
	})
}

func TestLostLastMessageIsFoundByTheBeacon(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f})
		defer j.Release()
		r.b.DropLast(f)
		last := r.commit(f, 1)
		r.beacon(f, last, broker.StateUp)
		r.want("after the beacon", r.read(j, Identity, last), frames(r.stored(f)[3:]))
	})
}

func (r *rig) beacon(f broker.FeedID, p broker.Position, state string) {
	r.t.Helper()
	if err := r.pen.Bus().Publish(f.BeaconSubject(), broker.EncodeBeacon(broker.Beacon{V: 1, Node: "n", Epoch: 1, Seq: p.Seq, Micros: p.Micros, State: state})); err != nil {
		r.t.Fatal(err)
	}
}

func TestCutLinkLosesNothing(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f, g := testFeed("a"), testFeed("b")
		r.commit(f, 3)
		r.commit(g, 3)
		j, k := r.join(Want{Feed: f}), r.join(Want{Feed: g})
		defer j.Release()
		defer k.Release()
		writer := r.peer()
		r.b.Cut()
		last := writer.commit(f, 50)
		r.b.Heal()
		r.want("after the cut", r.read(j, Identity, last), frames(writer.stored(f)[3:]))
		writer.prev[g] = r.prev[g]
		r.want("and a feed that was quiet", r.read(k, Identity, writer.commit(g, 1)), frames(writer.stored(g)[3:]))
	})
}

// TestAnIDFromAHoleOfThisNode: a client got from another node what expired here while the
// broker was away. Its id is of this feed, and it goes on behind the hole.
func TestAnIDFromAHoleOfThisNode(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		r.commit(f, 3)
		j := r.join(Want{Feed: f})
		defer j.Release()
		writer := r.peer()
		r.b.Cut()
		writer.commit(f, 20)
		ms := writer.stored(f)
		writer.pen.PurgeTo(testAPI, ms[15].Seq)
		r.b.Heal()
		last := writer.commit(f, 1)
		ms = append(ms[:15:15], writer.stored(f)...)
		gap := Gap{Reason: GapExpired, From: ms[2].Position, To: ms[15].Position}
		r.want("who was here", r.read(j, Identity, last), append(AppendGap(nil, gap), frames(ms[15:])...))
		gap.From = ms[8].Position
		r.check(Want{Feed: f, At: at2(ms, 8)}, last, ResultExpired, gap, frames(ms[15:]))
		r.check(Want{Feed: f, At: at2(ms, 14)}, last, ResultExact, Gap{}, frames(ms[15:]))
		r.b.PurgeTo(testAPI, last.Seq+1) // the log has more than the broker now
		gap.Possible = true
		r.hub.forgetBacklog(f)
		r.check(Want{Feed: f, At: at2(ms, 8)}, last, ResultExpired, gap, frames(ms[15:]))
	})
}

// peer is another node that writes on from where r is.
func (r *rig) peer() *rig {
	p := &rig{t: r.t, ctx: r.ctx, prev: r.prev, n: r.n, tx: r.tx + 1000}
	switch b := r.b.(type) {
	case *brokertest.Memory:
		p.pen = b.Peer()
	case *brokertest.Node:
		p.pen = b.Peer()
	}
	return p
}

func TestRecreatedAndRestoredLogsAreTold(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		old := r.commit(f, 5)
		j := r.join(Want{Feed: f})
		defer j.Release()
		r.b.Recreate(testAPI)
		r.prev[f] = 0
		last := r.commit(f, 5)
		ms := r.stored(f)
		r.until("the new life's events are in the log", func() bool { return j.Log.Last() == last })
		gap := AppendGap(nil, Gap{Reason: GapReset, From: old, To: ms[0].Position, Possible: true, Doubles: true})
		r.want("recreated", r.read(j, Identity, last), append(gap, frames(ms)...))

		r.b.Save()
		lost := r.commit(f, 5)
		r.until("the events to be lost are in the log", func() bool { return j.Log.Last() == lost })
		r.b.RestoreOld()
		r.prev[f] = last.Seq
		last = r.commit(f, 2)
		r.until("the restored life's events are in the log", func() bool { return j.Log.Last() == last })
		k := r.join(Want{Feed: f, At: At{Kind: AtID, Pos: lost}})
		if k.Result != ResultReset {
			r.t.Errorf("an id of the lost tail: %s", k.Result)
		}
		k.Release()
	})
}

// A store that lost all it had of a feed holds no event to judge an id by: the stream's last sequence tells that the id
// is of what was lost, so that the client knows of what it may get twice, and that sequences go back.
func TestAnIDOfAStoreThatLostAllIsToldReset(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		f := testFeed("a")
		r.b.Save()
		lost := r.commit(f, 5)
		r.b.RestoreOld()
		cold := newRig(r.t, r.b, HubConfig{})
		defer cold.close()
		cold.check(Want{Feed: f, At: At{Kind: AtID, Pos: lost}}, broker.Position{}, ResultReset,
			Gap{Reason: GapReset, From: lost, Possible: true, Doubles: true}, nil)
	})
}

func TestOpenIsToldByTheOwner(t *testing.T) {
	onBoth(t, HubConfig{}, func(r *rig) {
		stop, err := r.b.Bus().Subscribe(broker.SubjectDemandOpen, func(_ string, body []byte, reply func([]byte) error) {
			var open broker.DemandOpen
			r.decode(body, &open)
			answer := broker.DemandReply{V: 1, Beacon: broker.Beacon{V: 1, State: broker.StateUp}}
			switch open.Want.Path {
			case "/cap":
				answer.Refused = "cap"
			case "/blocked":
				answer.Refused = "blocked"
			case "/missing":
				answer.Beacon.State = broker.StateMissing
			}
			if err := reply(r.encode(answer)); err != nil {
				r.t.Error(err)
			}
		})
		if err != nil {
			r.t.Fatal(err)
		}
		defer stop()
		for path, want := range map[string]error{"/cap": ErrRefusedCap, "/blocked": ErrNoSuchFeed, "/missing": ErrNoSuchFeed, "/fine": nil} {
			j, err := r.hub.Join(r.ctx, Want{Feed: testFeed(path[1:]), OnDemand: true, Demand: broker.Demand{API: "test", Path: path}})
			if !errors.Is(err, want) {
				r.t.Errorf("%s: %v, want %v", path, err, want)
			}
			if err == nil {
				j.Release()
			}
		}
	})
}

func TestDemandIsListedAndLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{Linger: 20 * time.Second})
		var lists []broker.DemandList
		stop, err := r.b.Bus().Subscribe(broker.SubjectDemandList, func(_ string, body []byte, _ func([]byte) error) {
			var l broker.DemandList
			r.decode(body, &l)
			lists = append(lists, l)
		})
		if err != nil {
			t.Fatal(err)
		}
		f := testFeed("a")
		j := r.join(Want{Feed: f, OnDemand: true, Demand: broker.Demand{API: "test", Path: "/a"}})
		always := r.join(Want{Feed: testFeed("b")})
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if n := len(lists); n < 2 || len(lists[n-1].Feeds) != 1 || lists[n-1].Feeds[0].Path != "/a" || lists[n-1].Parts != 1 {
			t.Fatalf("lists in 12 s: %+v", lists)
		}
		j.Release()
		j.Release()
		time.Sleep(12 * time.Second)
		synctest.Wait()
		n := len(lists)
		if len(lists[n-1].Feeds) != 0 {
			t.Errorf("a feed without subscribers is still listed: %+v", lists[n-1])
		}
		if j.Log.Closed() {
			t.Error("closed before its linger was over")
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if !j.Log.Closed() || len(r.hub.Feeds()) != 1 {
			t.Errorf("not closed after its linger: %d feeds", len(r.hub.Feeds()))
		}
		if len(lists) != n {
			t.Errorf("an empty list was sent more than once")
		}
		again := r.join(Want{Feed: f, OnDemand: true})
		if again.Log == j.Log {
			t.Error("the closed log was handed out again")
		}
		again.Release()
		always.Release()
		stop()
		r.close()
	})
}

// Who comes and goes between two regular lists is announced, first and last alike, and
// those who do so all the time cannot make the lists many.
func TestDemandThatMovesIsAnnouncedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{Linger: time.Second})
		type heard struct {
			after time.Duration
			feeds int
		}
		var lists []heard
		var began time.Time
		stop, err := r.b.Bus().Subscribe(broker.SubjectDemandList, func(_ string, body []byte, _ func([]byte) error) {
			var l broker.DemandList
			r.decode(body, &l)
			lists = append(lists, heard{time.Since(began), len(l.Feeds)})
		})
		if err != nil {
			t.Fatal(err)
		}
		visit := func(stay time.Duration) {
			j := r.join(Want{Feed: testFeed("a"), OnDemand: true, Demand: broker.Demand{API: "test", Path: "/a"}})
			time.Sleep(stay)
			j.Release()
		}
		for _, c := range []struct {
			name string
			stay time.Duration
			want []int // feeds in the lists of the next 2.5 s
		}{
			{"gone before a list is sent", 50 * time.Millisecond, []int{0}},
			{"gone before the next regular list", 500 * time.Millisecond, []int{1, 0}},
		} {
			time.Sleep(20 * time.Second)
			synctest.Wait()
			lists, began = nil, time.Now()
			visit(c.stay)
			time.Sleep(2500*time.Millisecond - c.stay)
			synctest.Wait()
			var got []int
			for _, l := range lists {
				got = append(got, l.feeds)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: lists %+v, want %v feeds", c.name, lists, c.want)
			}
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		lists = nil
		for range 100 {
			visit(50 * time.Millisecond)
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(lists); n < 5 || n > 13 {
			t.Errorf("%d lists in 10 s of coming and going", n)
		}
		stop()
		r.close()
	})
}

func TestCloseFeedTellsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{})
		j := r.join(Want{Feed: testFeed("a")})
		r.hub.CloseFeed(testFeed("a"), "topic-deleted")
		if got := j.Log.Ended(); got != "topic-deleted" {
			t.Errorf("ended for %q", got)
		}
		j.Release()
		r.close()
		if _, err := r.hub.Join(t.Context(), Want{Feed: testFeed("a")}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("join after Run: %v", err)
		}
	})
}

func TestBrokerAwayIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, brokertest.NewMemory(t), HubConfig{})
		f := testFeed("a")
		r.commit(f, 10)
		ms := r.stored(f)
		j := r.join(Want{Feed: f})
		r.b.Cut()
		if _, err := r.hub.Join(t.Context(), Want{Feed: testFeed("b")}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a feed not held: %v", err)
		}
		if _, err := r.hub.Join(t.Context(), Want{Feed: f, At: at2(ms, 3)}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("an id below the log: %v", err)
		}
		k := r.join(Want{Feed: f, At: at2(ms, 9)})
		k.Release()
		j.Release()
		r.b.Heal()
		r.close()
	})
}
