package oracle

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Book collects the facts of a run from many goroutines: it judges them and, if it has a file, writes them down for
// judging again.
type Book struct {
	mu    sync.Mutex // guards all below
	judge *Judge
	enc   *json.Encoder
	err   error
}

// NewBook opens a book with a run fact. w may be nil.
func NewBook(w io.Writer, run Run) *Book {
	b := &Book{judge: NewJudge()}
	if w != nil {
		b.enc = json.NewEncoder(w)
	}
	b.Add(Fact{Kind: KindRun, Run: &run})
	return b
}

// Add takes a fact; one without time happened now. Safe for concurrent use.
func (b *Book) Add(f Fact) {
	if f.At == 0 {
		f.At = time.Now().UnixMicro()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judge.Add(f)
	if b.enc != nil && b.err == nil {
		b.err = b.enc.Encode(f)
	}
}

// Take adds all facts of a channel until it is closed.
func (b *Book) Take(facts <-chan Fact) {
	for f := range facts {
		b.Add(f)
	}
}

// Verdict closes the book: the judgement, and the first error of writing the file.
func (b *Book) Verdict() (*Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judge.Verdict(), b.err
}

// JudgeFile judges a saved fact file.
func JudgeFile(r io.Reader) (*Verdict, error) {
	j := NewJudge()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var f Fact
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("facts line %d: %w", n, err)
		}
		j.Add(f)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("facts: %w", err)
	}
	return j.Verdict(), nil
}
