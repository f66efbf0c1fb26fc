package oracle

import "slices"

// stored is one event in the broker, as the tap saw it.
type stored struct {
	n, seq, epoch uint64
	micros        int64
	digest        uint64 // exclusive or up to and including this event
}

// stored takes a fact of the tap: a stored event, or a marker if it has a gap and no number.
func (j *Judge) stored(s *source, f Fact) {
	t := &track{feed: f.Feed}
	if f.Seq0 <= s.last.seq {
		j.v.void("the tap has sequence %d of %s after %d", f.Seq0, f.Feed, s.last.seq)
		return
	}
	if f.Epoch < s.last.epoch {
		j.v.find("I9", t, "epoch %d wrote sequence %d after epoch %d wrote %d", f.Epoch, f.Seq0, s.last.epoch, s.last.seq)
	}
	if f.Gap != nil {
		s.marked = true
		s.last.seq, s.last.epoch = f.Seq0, f.Epoch
		return
	}
	j.v.Stored++
	leave := s.marked && j.run.Unsure
	switch {
	case s.last.n == 0 || f.N0 == s.last.n+1:
	case f.N0 > s.last.n+1 && !s.marked:
		j.v.find("I9", t, "events %d to %d are not stored, and there is no marker", s.last.n+1, f.N0-1)
	case f.N0 <= s.last.n && !leave:
		j.v.find("I9", t, "event %d is stored after event %d", f.N0, s.last.n)
	}
	s.last = stored{
		n: f.N0, seq: f.Seq0, epoch: max(f.Epoch, s.last.epoch), micros: f.Micros,
		digest: s.last.digest ^ Digest(f.N0, f.Seq0, f.Micros),
	}
	s.marked = false
	s.stored = append(s.stored, s.last)
}

// Verdict judges what only the end of a run shows, and returns the result. Call it once, after the last Add.
func (j *Judge) Verdict() *Verdict {
	v := &j.v
	clients := map[string]bool{}
	for _, t := range j.order {
		clients[t.client] = true
		j.settle(t)
	}
	v.Clients = len(clients)
	for name, s := range j.feeds {
		if s.produced > 0 {
			v.Feeds++
		}
		if n := len(s.stored); n > 0 && s.last.n > s.head {
			v.find("I6", &track{feed: name}, "event %d is stored, %d is the newest produced", s.last.n, s.head)
		}
		if n := j.living(s); n > 1 {
			v.find("I9", &track{feed: name}, "%d upstream connections are open at the end", n)
		}
	}
	switch {
	case !j.hasRun:
		v.void("there is no run fact")
	case v.Clients == 0 || v.Deliveries == 0:
		v.void("%d clients got %d events", v.Clients, v.Deliveries)
	case v.Produced < j.run.MinProduced:
		v.void("%d events were produced, want at least %d", v.Produced, j.run.MinProduced)
	case v.Faults < j.run.MinFaults:
		v.void("%d faults happened, want at least %d", v.Faults, j.run.MinFaults)
	case j.run.Tap && v.Stored == 0:
		v.void("the tap saw nothing")
	}
	return v
}

// settle judges one client's way as a whole.
func (j *Judge) settle(t *track) {
	v, s := &j.v, j.source(t.feed)
	for _, h := range t.lost {
		count := h.n1 - h.n0 + 1
		invariant := h.invariant
		if invariant == "prefix" {
			v.Lost.Prefix += count
			invariant = "I3"
		} else {
			v.Lost.Middle += count
		}
		v.find(invariant, t, "events %d to %d are missing, and no gap was told", h.n0, h.n1)
	}
	if t.cause == Quiesced && t.n < s.head && len(t.gaps) == 0 && (t.any || t.first > 0) {
		from := max(t.n+1, t.first)
		if from <= s.head {
			v.Lost.Postfix += s.head - from + 1
			v.find("I10", t, "the newest event is %d, the client has %d", s.head, t.n)
		}
	}
	for _, r := range t.runs {
		if r.n1 > s.head {
			v.Phantom += r.n1 - max(s.head, r.n0-1)
			v.find("I6", t, "event %d was received, %d is the newest produced", r.n1, s.head)
		}
		if j.run.Tap {
			j.compare(s, t, r)
		}
	}
}

// compare checks a run against the store.
func (j *Judge) compare(s *source, t *track, r run) {
	bySeq := func(e stored, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	}
	first, ok := slices.BinarySearchFunc(s.stored, r.seq0, bySeq)
	last, ok1 := slices.BinarySearchFunc(s.stored, r.seq1, bySeq)
	if !ok || !ok1 {
		j.v.Phantom++
		j.v.find("I6", t, "events %d to %d were received with sequences %d to %d, which are not stored", r.n0, r.n1, r.seq0, r.seq1)
		return
	}
	var before uint64
	if first > 0 {
		before = s.stored[first-1].digest
	}
	a, b := s.stored[first], s.stored[last]
	if a.n != r.n0 || b.n != r.n1 || b.micros != r.micros || r.digest != 0 && before^b.digest != r.digest {
		j.v.find("I5", t, "events %d to %d have other sequences or times than stored", r.n0, r.n1)
	}
}
