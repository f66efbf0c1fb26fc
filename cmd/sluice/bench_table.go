package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"sluice/test/load"
)

// The markers between which the table stands.
const (
	tableBegins = "<!-- bench: written by make bench -->\n"
	tableEnds   = "<!-- /bench -->\n"
)

// table is what was measured, in Markdown, with where and when.
func (p *published) table(m load.Machine) string {
	var b strings.Builder
	pinned := ""
	if p.cpu >= 0 {
		pinned = ", servers bound to one core"
	}
	fmt.Fprintf(&b, "%s, %s, %d cores, %s, %s; loopback, 200-byte events, %d rounds in turn, a fresh server for each%s; every event judged at every client.\n\n",
		m.Date.Format("2 January 2006"), orUnknown(m.CPU), m.Cores, orUnknown(kernelLine(m.Kernel)), m.Go, p.rounds, pinned)
	b.WriteString("| cell | sluice, whole line with broker | raw loop | Nchan |\n|---|---|---|---|\n")
	for _, r := range p.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.cell, r.sluice, orDash(r.raw), orDash(r.nchan))
	}
	return b.String()
}

// replaceBetweenMarkers puts text between the markers of a file.
func replaceBetweenMarkers(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(old, []byte(tableBegins))
	_, after, ended := bytes.Cut(rest, []byte(tableEnds))
	if !found || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, strings.TrimSpace(tableBegins), strings.TrimSpace(tableEnds))
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, []byte(tableBegins + text + tableEnds), after}, nil), 0o644)
}

// count shows a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// fileName makes a name fit for a file.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-") && c != ',':
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

// kernelLine is a kernel's name and the two numbers of its version that matter.
func kernelLine(kernel string) string {
	parts := strings.SplitN(kernel, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
