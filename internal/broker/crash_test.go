package broker

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

const crashDir = "SLUICE_TEST_CRASH_DIR" // set in the child

// storeUntilKilled is what the child of TestKill does: it stores events, telling each
// acknowledged sequence.
func storeUntilKilled(t *testing.T, dir string) {
	n, err := Open(t.Context(), Config{Dir: dir}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := ensure(t, n, StreamSpec{Name: "crash", MaxEvents: 1 << 20})
	prev := uint64(0)
	if last, err := n.Writer().Last(t.Context(), f); err == nil {
		prev = last.Seq
	}
	for tx := uint64(0); ; tx++ {
		p, err := n.Writer().Commit(t.Context(), f, &Commit{Epoch: uint64(os.Getpid()), Tx: tx, Prev: prev, Events: events(0, 50)})
		if err != nil {
			t.Fatal(err)
		}
		prev = p.Seq
		fmt.Println("ack", prev)
	}
}

// A process that is killed leaves a store that opens again with all that it
// acknowledged, in one chain. The process is this test, run again with a folder given.
func TestKill(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		storeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	var acked uint64
	for range 3 {
		acked = runAndKill(t, dir)
	}
	n := openNode(t, Config{Dir: dir})
	f := ensure(t, n, StreamSpec{Name: "crash", MaxEvents: 1 << 20})
	last, err := n.Writer().Last(t.Context(), f)
	if err != nil || last.Seq < acked {
		t.Fatalf("last is %d (%v), acknowledged was %d", last.Seq, err, acked)
	}
	var link uint64
	count := 0
	for from := uint64(1); ; {
		var b Block
		if err := n.Direct().Read(t.Context(), f, From{Seq: from}, &b); err != nil {
			t.Fatal(err)
		}
		for _, m := range b.Messages {
			if m.Link != link {
				t.Fatalf("event %d links to %d, want %d", m.Seq, m.Link, link)
			}
			link = m.Seq
			count++
		}
		if !b.More {
			break
		}
		from = b.Next
	}
	t.Logf("%d events after 3 kills", count)
	if link != last.Seq {
		t.Fatalf("chain ends at %d, last is %d", link, last.Seq)
	}
	c := &Commit{Epoch: 1, Tx: 1, Prev: last.Seq, Events: events(0, 3)}
	if _, err := n.Writer().Commit(t.Context(), f, c); err != nil {
		t.Fatal(err)
	}
}

// runAndKill lets a child store for 20 acknowledgements, kills it and returns the last.
func runAndKill(t *testing.T, dir string) uint64 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	acks := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		seq, ok := cutAck(lines.Text())
		if !ok {
			continue
		}
		last = seq
		if acks++; acks == 20 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed: its error says so
	if acks < 20 {
		t.Fatalf("child told of %d commits", acks)
	}
	return last
}

func cutAck(line string) (uint64, bool) {
	const mark = "ack "
	if len(line) < len(mark) || line[:len(mark)] != mark {
		return 0, false
	}
	seq, err := strconv.ParseUint(line[len(mark):], 10, 64)
	return seq, err == nil
}
