package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/test/load"
)

func TestPublishedTableGoesBetweenItsMarkers(t *testing.T) {
	p := published{rounds: 3, cpu: 0, rows: []publishedRow{{"8,000 clients", "1 µs", "2 µs", ""}}}
	m := load.Machine{CPU: "Some CPU", Cores: 2, Kernel: "Linux 6.18.44-x", Go: "go1", Date: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}
	file := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + tableBegins + "old\n" + tableEnds + "after\n")
	for range 2 { // writing twice is writing once
		if err := replaceBetweenMarkers(file, p.table(m)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + tableBegins + "25 November 2026, Some CPU, 2 cores, Linux 6.18, go1; loopback, 200-byte events, 3 rounds in turn, a fresh server for each, " +
		"servers bound to one core; every event judged at every client.\n\n" +
		"| cell | sluice, whole line with broker | raw loop | Nchan |\n|---|---|---|---|\n| 8,000 clients | 1 µs | 2 µs | – |\n" + tableEnds + "after\n"
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	write("no markers\n")
	if err := replaceBetweenMarkers(file, "x"); err == nil {
		t.Error("a file without markers is accepted")
	}
}

func TestPublishedOnly(t *testing.T) {
	for _, c := range []struct {
		p    published
		want string
	}{
		{published{}, ""},
		{published{readme: "x"}, ""},
		{published{only: []string{"secured", "storm"}}, ""},
		{published{only: []string{"clients", "all"}}, `--only "all": allowed are clients, secured, events, secured-events, gathered, memory, storm`},
		{published{only: []string{"clients"}, readme: "x"}, "--readme takes all cells: without --only"},
	} {
		got := ""
		if err := c.p.checkOnly(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.p.only, got, c.want)
		}
	}
}

func TestReadmeHasTheMarkers(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(text, []byte(tableBegins)) != 1 || bytes.Count(text, []byte(tableEnds)) != 1 {
		t.Error("README.md does not have each marker once")
	}
}

// TestPublishedMeasuresAGatewayAndTheRawLoop runs one published cell, small, with real processes.
func TestPublishedMeasuresAGatewayAndTheRawLoop(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("published: needs Linux")
	}
	t.Setenv(asMain, "1")
	var notes strings.Builder
	p := published{scale: 0.01, rounds: 1, time: 500 * time.Millisecond, out: t.TempDir(), notes: &notes, cpu: -1}
	// A machine that is busy with other tests may void a run: that is no fault of the bench.
	if err := p.manyEvents(t.Context()); err != nil && !strings.Contains(err.Error(), "fell behind") {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	if err := p.securedEvents(t.Context()); err != nil && !strings.Contains(err.Error(), "fell behind") {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	for _, want := range []string{"10 clients × 100 events/s", "round 1, sluice: ", "round 1, raw: ", "with keys and quotas", "round 1, secured: "} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("no %q in:\n%s", want, notes.String())
		}
	}
	if strings.Contains(notes.String(), "FAILED") || len(p.rows) != 3 {
		t.Errorf("%d rows, notes:\n%s", len(p.rows), notes.String())
	}
	if _, err := os.Stat(filepath.Join(p.out, "10-clients-100-events-s.html")); err != nil {
		t.Error(err)
	}
}

func TestNumbersAndNames(t *testing.T) {
	for n, want := range map[int]string{7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	if got := fileName("8,000 clients × 5 events/s, CPU"); got != "8000-clients-5-events-s-cpu" {
		t.Error(got)
	}
}

// TestProfileTakesProfilesUnderLoad runs the profiles' cell, small, with a real process.
func TestProfileTakesProfilesUnderLoad(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("profile: needs Linux")
	}
	t.Setenv(asMain, "1")
	var notes strings.Builder
	p := benchProfile{cell: load.Cell{Clients: 20, Rate: 50}, time: time.Second, out: filepath.Join(t.TempDir(), "profile"), note: &notes}
	if err := p.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	for _, name := range []string{"cpu.pb.gz", "heap.pb.gz", "goroutine.pb.gz"} {
		if b, err := os.ReadFile(filepath.Join(p.out, name)); err != nil || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
			t.Errorf("%s is no profile: %v", name, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(p.out, "goroutine.txt")); err != nil || !bytes.Contains(b, []byte("sluice/fanout")) {
		t.Errorf("goroutine.txt is not a gateway's: %v", err)
	}
}
