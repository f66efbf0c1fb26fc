package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/internal/doc"
)

// Bounds of what apply reads.
const (
	maxApplyFiles = 10_000
	maxApplyBytes = 16 << 20
)

// applyFlags is the command line of apply and diff.
type applyFlags struct {
	files []string
	set   string
	prune bool
	force bool
}

func (f *applyFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVarP(&f.files, "file", "f", nil, "definition file, folder of them, or - for standard input (repeatable)")
	c.Flags().StringVar(&f.set, "set", "", "name of this bundle, kept as the label sluice/set of its APIs")
	c.Flags().BoolVar(&f.prune, "prune", false, "delete APIs of the set that the bundle no longer has")
	c.Flags().BoolVar(&f.force, "force", false, "overwrite what was edited elsewhere since the last apply")
	_ = c.MarkFlagRequired("file")
}

// newApply makes the server hold definitions.
func newApply(e env) *cobra.Command {
	var flags applyFlags
	c := &cobra.Command{
		Use:   "apply -f FILE|FOLDER|-",
		Short: "Make the catalog hold these definitions, whatever it held before",
		Long: "apply sends all definitions together: one wrong one and nothing is written. Applying again changes nothing.\n" +
			"What somebody edited elsewhere since the last apply is refused, unless --force.",
		Example: "  sluice apply -f apis/\n  sluice apply -f apis/ --set shop --prune --dry-run\n  cat market.yaml | sluice apply -f -",
		Args:    cobra.NoArgs,
	}
	f := addOutput(c)
	dryRun := addDryRun(c)
	yes := c.Flags().Bool("yes", false, fmt.Sprintf("prune more than %d APIs without asking back", manyPruned))
	flags.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		if flags.prune && !*yes && !dryRun.only {
			if err := cl.mayPrune(ctx, e, flags); err != nil {
				return err
			}
		}
		a, err := cl.apply(ctx, e, flags, *dryRun)
		if err != nil {
			return err
		}
		return finishApply(e, f, a)
	}
	return c
}

// manyPruned is how many APIs apply deletes without --yes.
const manyPruned = 10

// newDiff shows what apply would do.
func newDiff(e env) *cobra.Command {
	var flags applyFlags
	c := &cobra.Command{
		Use:     "diff -f FILE|FOLDER|-",
		Short:   "Show what apply would change; ends with 3 if anything",
		Example: "  sluice diff -f apis/ --set shop --prune",
		Args:    cobra.NoArgs,
	}
	f := addOutput(c)
	flags.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		a, err := cl.apply(ctx, e, flags, writeFlags{only: true})
		if err != nil {
			return err
		}
		if err := finishApply(e, f, a); err != nil {
			return err
		}
		var r applied
		if err := a.into(&r); err != nil {
			return withCode(exitFailed, err)
		}
		if slices.ContainsFunc(r.Results, func(one applyResult) bool { return one.Result != "unchanged" }) {
			return withCode(exitDiffers, quiet{})
		}
		return nil
	}
	return c
}

// applied is what happened to a bundle.
type applied struct {
	DryRun  bool           `json:"dryRun"`
	Results []applyResult  `json:"results"`
	Counts  map[string]int `json:"counts"`
	Edges   *edgesReached  `json:"edges"` // if not all of them serve it
}

// applyResult is what happened to one definition.
type applyResult struct {
	ID      string       `json:"id"`
	Kind    string       `json:"kind"`   // "" = API
	Result  string       `json:"result"` // created, configured, unchanged, pruned, refused
	Diff    []change     `json:"diff"`
	Impact  *impact      `json:"impact"`
	Problem *serverError `json:"problem"`
}

// apply sends the bundle.
func (c *remote) apply(ctx context.Context, e env, flags applyFlags, how writeFlags) (answer, error) {
	if flags.prune && flags.set == "" {
		return answer{}, withCode(exitUsage, errors.New("--prune needs --set: only a named set knows what left it"))
	}
	bundle, err := readBundle(e, flags.files)
	if err != nil {
		return answer{}, err
	}
	query := url.Values{}
	if flags.set != "" {
		query.Set("set", flags.set)
	}
	if flags.prune {
		query.Set("prune", "true")
	}
	if flags.force {
		query.Set("force", "true")
	}
	a, err := c.do(ctx, dry(call{method: http.MethodPost, path: "/apply", query: query, body: bundle.text, contentType: "application/yaml"}, how))
	var refused *serverError
	if errors.As(err, &refused) {
		bundle.locate(refused)
	}
	return a, err
}

// mayPrune refuses to delete many APIs that nobody was told of.
func (c *remote) mayPrune(ctx context.Context, e env, flags applyFlags) error {
	for _, f := range flags.files {
		if f == "-" {
			return withCode(exitUsage, errors.New("--prune with definitions from standard input needs --yes or --dry-run"))
		}
	}
	a, err := c.apply(ctx, e, flags, writeFlags{only: true})
	if err != nil {
		return err
	}
	var r applied
	if err := a.into(&r); err != nil {
		return withCode(exitFailed, err)
	}
	if n := r.Counts["pruned"]; n > manyPruned {
		return withCode(exitUsage, fmt.Errorf("would delete %d APIs: look at --dry-run, then give --yes", n))
	}
	return nil
}

// finishApply shows what happened; a refused definition ends the verb with 1.
func finishApply(e env, f *serverFlags, a answer) error {
	var r applied
	if err := a.into(&r); err != nil {
		return withCode(exitFailed, err)
	}
	if err := f.show(e.stdout, a, func(w io.Writer, _ answer) error { return r.write(w) }); err != nil {
		return withCode(exitFailed, err)
	}
	if n := r.Counts["refused"]; n > 0 {
		return withCode(exitFailed, fmt.Errorf("%d of %d definitions refused", n, len(r.Results)))
	}
	if a.status == http.StatusAccepted && r.Edges != nil {
		return withCode(exitFailed, r.Edges)
	}
	return nil
}

func (r applied) write(w io.Writer) error {
	for _, one := range r.Results {
		id := one.ID
		if one.Kind != "" {
			id = strings.ToLower(one.Kind) + " " + id
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", shown(id), shown(one.Result)); err != nil {
			return err
		}
		if one.Problem != nil {
			fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(one.Problem.Error(), "\n", "\n  "))
		}
		for _, c := range one.Diff {
			fmt.Fprintln(w, "  "+c.text())
		}
		one.Impact.write(w)
	}
	if r.DryRun {
		fmt.Fprintln(w, "dry run: nothing was written")
	}
	return nil
}

// bundle is definitions from several files as one stream of YAML documents, with where each came from.
type bundle struct {
	text  []byte
	parts []bundlePart
}

// bundlePart is one file of a bundle.
type bundlePart struct {
	file string
	line int // of the stream at which it begins
}

// readBundle reads files, folders (their *.yaml, *.yml and *.json, not below them) and standard input.
func readBundle(e env, names []string) (*bundle, error) {
	b := &bundle{}
	for _, name := range names {
		files, err := definitionFiles(name)
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		for _, f := range files {
			text, err := readLimited(e, f)
			if err != nil {
				return nil, withCode(exitUsage, err)
			}
			if err := b.add(f, text); err != nil {
				return nil, withCode(exitFailed, err)
			}
		}
	}
	if len(bytes.TrimSpace(b.text)) == 0 {
		return nil, withCode(exitUsage, errors.New("no definitions found"))
	}
	return b, nil
}

// definitionFiles are the files that a name of apply stands for.
func definitionFiles(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	st, err := os.Stat(name)
	if err != nil || !st.IsDir() {
		return []string{name}, err
	}
	entries, err := os.ReadDir(name) // sorted
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range entries {
		ext := strings.ToLower(filepath.Ext(f.Name()))
		if f.IsDir() || strings.HasPrefix(f.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			continue
		}
		out = append(out, filepath.Join(name, f.Name()))
	}
	if len(out) > maxApplyFiles {
		return nil, fmt.Errorf("folder %s has more than %d definition files", name, maxApplyFiles)
	}
	return out, nil
}

// readLimited reads a file, or standard input for -.
func readLimited(e env, name string) ([]byte, error) {
	var in io.Reader = e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	} else if e.stdin == nil {
		return nil, errors.New("there is no standard input")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxApplyBytes+1))
	if err == nil && len(text) > maxApplyBytes {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxApplyBytes>>20)
	}
	return text, err
}

// add appends a file's documents. JSON is put in as the YAML it is too, after its own parser has read it.
func (b *bundle) add(file string, text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if strings.EqualFold(filepath.Ext(file), ".json") {
		d, err := doc.ParseJSON(file, text)
		if err != nil {
			return err
		}
		if text, err = doc.WriteJSON(d.Root); err != nil {
			return err
		}
	}
	if len(b.text) > 0 && !bytes.HasPrefix(text, []byte("---")) {
		b.text = append(b.text, "---\n"...)
	}
	b.parts = append(b.parts, bundlePart{file: file, line: bytes.Count(b.text, []byte("\n"))})
	b.text = append(b.text, text...)
	if !bytes.HasSuffix(b.text, []byte("\n")) {
		b.text = append(b.text, '\n')
	}
	return nil
}

// locate tells the places of a refused bundle by file and line there.
func (b *bundle) locate(p *serverError) {
	if len(b.parts) == 1 {
		p.source = b.parts[0].file
	}
	for i := range p.Errors {
		f := &p.Errors[i]
		if f.Line == 0 {
			continue
		}
		at := b.parts[0]
		for _, part := range b.parts {
			if part.line < f.Line {
				at = part
			}
		}
		f.file, f.Line = at.file, f.Line-at.line
	}
}
