package doc

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON reads exactly one JSON document (RFC 8259): no comments, trailing commas, second document, duplicate keys or
// invalid UTF-8. The error, an Errors, is the one at which reading stopped; duplicate keys are told by Decode.
func ParseJSON(file string, data []byte) (*Document, error) {
	p := jsonParser{file: file, data: data, line: 1}
	if len(data) >= 3 && string(data[:3]) == "\xef\xbb\xbf" {
		p.pos, p.lineStart = 3, 3
	}
	root := p.document()
	if p.stopped {
		return nil, p.errs.Err()
	}
	return &Document{File: file, Root: root, problems: p.errs}, nil
}

// jsonParser walks the bytes once. After stopped is set every method returns at once.
type jsonParser struct {
	file      string
	data      []byte
	pos       int
	line      int // of pos, from 1
	lineStart int // offset of that line
	nodes     int
	stopped   bool
	errs      Errors
}

func (p *jsonParser) document() *Node {
	p.space()
	root := p.value("", 0)
	p.space()
	if !p.stopped && p.pos < len(p.data) {
		p.stop("", TypeInvalidJSON, "unexpected text behind the document")
	}
	return root
}

// at is the line and column of the current byte.
func (p *jsonParser) at() (line, column int) {
	return p.line, 1 + utf8.RuneCount(p.data[p.lineStart:p.pos])
}

func (p *jsonParser) stop(pointer, kind, format string, args ...any) *Node {
	if !p.stopped {
		line, column := p.at()
		p.errs = append(p.errs, &Error{File: p.file, Line: line, Column: column, Pointer: shorten(pointer), Type: kind,
			Message: fmt.Sprintf(format, args...)})
		p.stopped = true
	}
	return nil
}

// unexpected stops at the current byte.
func (p *jsonParser) unexpected(pointer, want string) *Node {
	if p.pos >= len(p.data) {
		return p.stop(pointer, TypeInvalidJSON, "the document ends where %s was expected", want)
	}
	r, _ := utf8.DecodeRune(p.data[p.pos:])
	return p.stop(pointer, TypeInvalidJSON, "unexpected %q where %s was expected", r, want)
}

func (p *jsonParser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

func (p *jsonParser) space() {
	for ; p.pos < len(p.data); p.pos++ {
		switch p.data[p.pos] {
		case '\n':
			p.line, p.lineStart = p.line+1, p.pos+1
		case ' ', '\t', '\r':
		default:
			return
		}
	}
}

func (p *jsonParser) value(pointer string, depth int) *Node {
	if p.stopped {
		return nil
	}
	if depth > maxDepth {
		return p.stop(pointer, TypeTooDeep, "is nested more than %d deep", maxDepth)
	}
	if p.nodes++; p.nodes > maxNodes {
		return p.stop(pointer, TypeTooLarge, "the document has more than %d values", maxNodes)
	}
	n := &Node{}
	n.Line, n.Column = p.at()
	switch c := p.peek(); {
	case c == '{':
		return p.object(n, pointer, depth)
	case c == '[':
		return p.array(n, pointer, depth)
	case c == '"':
		n.Kind, n.Text = String, p.text(pointer)
	case c == '-' || c >= '0' && c <= '9':
		n.Kind, n.Text = Number, p.number(pointer)
	case p.word("true"), p.word("false"):
		n.Kind = Bool
		n.Text = string(p.data[p.pos-4 : p.pos])
		if n.Text == "alse" {
			n.Text = "false"
		}
	case p.word("null"):
		n.Kind, n.Text = Null, "null"
	default:
		return p.unexpected(pointer, "a value")
	}
	return n
}

func (p *jsonParser) word(w string) bool {
	if !strings.HasPrefix(string(p.data[p.pos:min(len(p.data), p.pos+len(w))]), w) {
		return false
	}
	p.pos += len(w)
	return true
}

func (p *jsonParser) array(n *Node, pointer string, depth int) *Node {
	n.Kind, n.Items = List, []*Node{}
	p.pos++
	if p.space(); p.peek() == ']' {
		p.pos++
		return n
	}
	for !p.stopped {
		p.space()
		n.Items = append(n.Items, p.value(Join(pointer, len(n.Items)), depth+1))
		if p.space(); p.peek() == ']' && !p.stopped {
			p.pos++
			return n
		}
		if p.peek() != ',' {
			return p.unexpected(pointer, "',' or ']'")
		}
		p.pos++
	}
	return nil
}

func (p *jsonParser) object(n *Node, pointer string, depth int) *Node {
	n.Kind, n.Fields = Map, []Field{}
	seen := map[string]int{}
	p.pos++
	if p.space(); p.peek() == '}' {
		p.pos++
		return n
	}
	for !p.stopped {
		p.space()
		f := Field{}
		if f.Line, f.Column = p.at(); p.peek() != '"' {
			return p.unexpected(pointer, "a key in quotes")
		}
		f.Key = p.text(pointer)
		at := Join(pointer, f.Key)
		if p.space(); p.peek() != ':' {
			return p.unexpected(pointer, "':'")
		}
		p.pos++
		p.space()
		f.Value = p.value(at, depth+1)
		if line, twice := seen[f.Key]; twice && !p.stopped {
			p.errs = append(p.errs, &Error{File: p.file, Line: f.Line, Column: f.Column, Pointer: at,
				Type: TypeDuplicateKey, Message: fmt.Sprintf("is already set on line %d", line)})
		} else {
			seen[f.Key] = f.Line
			n.Fields = append(n.Fields, f)
		}
		if p.space(); p.peek() == '}' && !p.stopped {
			p.pos++
			return n
		}
		if p.peek() != ',' {
			return p.unexpected(pointer, "',' or '}'")
		}
		p.pos++
	}
	return nil
}

// number takes -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (p *jsonParser) number(pointer string) string {
	start := p.pos
	digits := func() bool {
		from := p.pos
		for p.peek() >= '0' && p.peek() <= '9' {
			p.pos++
		}
		return p.pos > from
	}
	if p.peek() == '-' {
		p.pos++
	}
	ok := true
	if p.peek() == '0' {
		p.pos++
	} else {
		ok = digits()
	}
	if ok && p.peek() == '.' {
		p.pos++
		ok = digits()
	}
	if ok && (p.peek() == 'e' || p.peek() == 'E') {
		p.pos++
		if p.peek() == '+' || p.peek() == '-' {
			p.pos++
		}
		ok = digits()
	}
	if !ok {
		p.unexpected(pointer, "a digit")
		return ""
	}
	text := string(p.data[start:p.pos])
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		p.pos = start
		p.stop(pointer, TypeInvalidJSON, "%s is out of range", quote(text))
	}
	return text
}

// text reads a string literal, opening quote first.
func (p *jsonParser) text(pointer string) string {
	var b strings.Builder
	for p.pos++; p.pos < len(p.data); {
		c := p.data[p.pos]
		switch {
		case c == '"':
			p.pos++
			return b.String()
		case c < 0x20:
			p.stop(pointer, TypeInvalidJSON, "control character %#02x in a string", c)
			return ""
		case c == '\\':
			r, ok := p.escape()
			if !ok {
				p.stop(pointer, TypeInvalidJSON, "invalid escape in a string")
				return ""
			}
			b.WriteRune(r)
		case c < utf8.RuneSelf:
			b.WriteByte(c)
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.data[p.pos:])
			if r == utf8.RuneError && size == 1 {
				p.stop(pointer, TypeInvalidJSON, "invalid UTF-8 in a string")
				return ""
			}
			b.WriteRune(r)
			p.pos += size
		}
	}
	p.stop(pointer, TypeInvalidJSON, "the document ends inside a string")
	return ""
}

// escape reads one escape at pos; pos stays when it is invalid. A lone surrogate is invalid: it has no UTF-8 form.
func (p *jsonParser) escape() (rune, bool) {
	if p.pos+1 >= len(p.data) {
		return 0, false
	}
	if i := strings.IndexByte(`"\/bfnrt`, p.data[p.pos+1]); i >= 0 {
		p.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), true
	}
	first, ok := p.hex4(p.pos)
	if !ok {
		return 0, false
	}
	if !utf16.IsSurrogate(first) {
		p.pos += 6
		return first, true
	}
	second, ok := p.hex4(p.pos + 6)
	r := utf16.DecodeRune(first, second)
	if !ok || r == utf8.RuneError {
		return 0, false
	}
	p.pos += 12
	return r, true
}

// hex4 reads \uXXXX at offset i.
func (p *jsonParser) hex4(i int) (rune, bool) {
	if i+6 > len(p.data) || p.data[i] != '\\' || p.data[i+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.data[i+2:i+6]), 16, 16)
	return rune(v), err == nil
}
