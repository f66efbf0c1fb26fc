package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/internal/doc"
)

// newEdit opens a definition in the user's editor and writes it back.
func newEdit(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "edit ID",
		Short: "Edit the definition of an API in your editor",
		Long: "edit opens the definition in the editor that VISUAL or EDITOR names. What is wrong with it stands above its line when the editor\n" +
			"opens again; saving it as it was, or empty, gives up. It is written back only if nobody else changed the API meanwhile.",
		Example: "  sluice edit market@1.0.0\n  EDITOR='code --wait' sluice edit market@1.0.0",
		Args:    cobra.ExactArgs(1),
	}
	f := addOutput(c)
	dryRun := addDryRun(c)
	c.ValidArgsFunction = completeIDs(e, f, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		a, err := cl.edit(ctx, e, args[0], *dryRun)
		if err != nil || a == nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, *a, changed("changed", args[0])))
	}
	return c
}

// note begins the lines that edit adds to a definition, and takes out again.
const note = "#! "

// edit has the user edit a definition until the server takes it; nil = given up, with nothing changed.
func (c *remote) edit(ctx context.Context, e env, id string, how writeFlags) (*answer, error) {
	definition, etag, err := c.get(ctx, id)
	if err != nil {
		return nil, err
	}
	remove(definition, "status")
	text, err := doc.WriteYAML(definition)
	if err != nil {
		return nil, withCode(exitFailed, err)
	}
	dir, err := os.MkdirTemp("", "sluice-edit-") // 0700
	if err != nil {
		return nil, withCode(exitFailed, err)
	}
	file := filepath.Join(dir, strings.Map(fileByte, id)+".yaml")
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(dir)
		}
	}()
	notes := []string{"Definition of " + id + ". Save and close to change it; save nothing to leave it as it is."}
	before := text
	for at := (map[int][]string{0: notes}); ; {
		after, err := editFile(ctx, e, file, annotated(before, at))
		if err != nil {
			return nil, err
		}
		if bytes.Equal(bytes.TrimSpace(after), bytes.TrimSpace(before)) || len(bytes.TrimSpace(after)) == 0 {
			if !bytes.Equal(before, text) { // it was refused before
				keep = true
				return nil, withCode(exitFailed, fmt.Errorf("given up; what you wrote is in %s", file))
			}
			fmt.Fprintf(e.stdout, "%s not changed\n", shown(id))
			return nil, nil
		}
		a, err := c.do(ctx, dry(call{method: http.MethodPut, path: apiPath(id), body: after, contentType: "application/yaml", ifMatch: etag}, how))
		if err == nil {
			return &a, nil
		}
		var refused *serverError
		if !errors.As(err, &refused) || !slices.Contains([]int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity}, refused.Status) ||
			refused.Type == "/problems/read-only" {
			keep = true
			return nil, withCode(exitFailed, fmt.Errorf("%w\nwhat you wrote is in %s", err, file))
		}
		before, at = after, notesOf(refused)
	}
}

// fileByte keeps an id a file's name.
func fileByte(r rune) rune {
	if strings.ContainsRune(`/\:`, r) {
		return '-'
	}
	return r
}

// notesOf are the errors by line; 0 = those without one.
func notesOf(p *serverError) map[int][]string {
	out := map[int][]string{}
	for _, f := range p.Errors {
		line := f.Line
		f.Line = 0
		out[line] = append(out[line], f.text(""))
	}
	if len(out) == 0 || len(p.Errors) > 1 || len(p.Diff) > 0 {
		head := *p
		head.Errors = nil
		out[0] = append(strings.Split(head.Error(), "\n"), out[0]...)
	}
	return out
}

// annotated is a text with notes above its lines; line 0 is its head.
func annotated(text []byte, notes map[int][]string) []byte {
	var b bytes.Buffer
	add := func(list []string) {
		for _, n := range list {
			b.WriteString(note + n + "\n")
		}
	}
	add(notes[0])
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i, line := range lines {
		add(notes[i+1])
		b.Write(line)
	}
	for line, list := range notes { // behind the last one
		if line > len(lines) {
			add(list)
		}
	}
	return b.Bytes()
}

// withoutNotes is a text without the notes.
func withoutNotes(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte(note)) {
			out = append(out, line...)
		}
	}
	return out
}

// editFile shows a text in the editor and returns what became of it, without notes.
func editFile(ctx context.Context, e env, file string, text []byte) ([]byte, error) {
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, withCode(exitFailed, err)
	}
	args := append(editor(e), file)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = e.environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	if err := cmd.Run(); err != nil {
		return nil, withCode(exitFailed, fmt.Errorf("editor %s: %w; VISUAL or EDITOR names another", args[0], err))
	}
	got, err := os.ReadFile(file)
	if err == nil && len(got) > maxApplyBytes {
		err = fmt.Errorf("the definition is larger than %d MiB", maxApplyBytes>>20)
	}
	return withoutNotes(got), withCode(exitFailed, err)
}

// editor is the command that edits a file, without the file.
func editor(e env) []string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if text, _ := e.lookup(name); strings.TrimSpace(text) != "" {
			return strings.Fields(text)
		}
	}
	if runtime.GOOS == "windows" {
		return []string{"notepad"}
	}
	return []string{"vi"}
}
