package asyncapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
)

// question is one document for judge.mjs.
type question struct {
	ID  int    `json:"id"`
	Ask string `json:"ask"`
	Doc string `json:"doc"`
}

// verdict is its answer.
type verdict struct {
	ID     int      `json:"id"`
	Errors []string `json:"errors"`
	Doc    string   `json:"doc"`
}

// official asks the official tools about documents, in order; ask is schema, parser or convert.
func official(t *testing.T, ask string, docs []string) []verdict {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is missing: install Node.js 20 or later")
	}
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("test/conformance/asyncapi/node_modules is missing: npm ci --ignore-scripts in that folder")
	}
	cmd := exec.CommandContext(t.Context(), "node", "judge.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fed := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(in)
		enc := json.NewEncoder(w)
		var err error
		for i, d := range docs {
			err = errors.Join(err, enc.Encode(question{i, ask, d}))
		}
		fed <- errors.Join(err, w.Flush(), in.Close())
	}()
	answers := make([]verdict, len(docs))
	dec, n := json.NewDecoder(bufio.NewReader(out)), 0
	for {
		var v verdict
		if err := dec.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		answers[v.ID] = v
		n++
	}
	if err := errors.Join(<-fed, cmd.Wait()); err != nil {
		t.Fatalf("judge.mjs: %v after %d answers", err, n)
	}
	if n != len(docs) {
		t.Fatalf("%d answers to %d questions", n, len(docs))
	}
	return answers
}
