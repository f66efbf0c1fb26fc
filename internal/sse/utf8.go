package sse

import (
	"encoding/binary"
	"unicode/utf8"
)

const replacement = "\uFFFD"

// appendDecoded appends p as a UTF-8 decoder of the Encoding standard reads it: each maximal subpart of an ill-formed
// sequence becomes one U+FFFD.
func appendDecoded(dst, p []byte) []byte {
	for len(p) > 0 {
		n, ok := nextRune(p)
		if ok {
			dst = append(dst, p[:n]...)
		} else {
			dst = append(dst, replacement...)
		}
		p = p[n:]
	}
	return dst
}

// decodedLen is the number of bytes appendDecoded adds. Never less than len(p).
func decodedLen(p []byte) int {
	sum := 0
	for len(p) > 0 {
		n, ok := nextRune(p)
		if ok {
			sum += n
		} else {
			sum += len(replacement)
		}
		p = p[n:]
	}
	return sum
}

// nextRune is the length of the well-formed sequence p starts with, or false and the length of the ill-formed part that
// one U+FFFD stands for: the longest that could still have become a rune, at least one byte.
func nextRune(p []byte) (int, bool) {
	if p[0] < utf8.RuneSelf {
		return 1, true
	}
	if r, n := utf8.DecodeRune(p); r != utf8.RuneError || n > 1 {
		return n, true
	}
	if p[0] < 0xc2 || p[0] > 0xf4 {
		return 1, false
	}
	lo, hi := byte(0x80), byte(0xbf)
	switch p[0] {
	case 0xe0:
		lo = 0xa0
	case 0xed:
		hi = 0x9f
	case 0xf0:
		lo = 0x90
	case 0xf4:
		hi = 0x8f
	}
	n := 1
	for n < len(p) && lo <= p[n] && p[n] <= hi { // never to the end of a rune, or p would start with one
		n++
		lo, hi = 0x80, 0xbf
	}
	return n, false
}

// indexHigh is the index of the first byte ≥ 0x80 in buf[from:to], or to.
func indexHigh(buf []byte, from, to int) int {
	const high = 0x8080808080808080
	p := buf[from:to]
	for len(p) >= 32 {
		a, b := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		c, d := binary.LittleEndian.Uint64(p[16:]), binary.LittleEndian.Uint64(p[24:])
		if (a|b|c|d)&high != 0 {
			break
		}
		p = p[32:]
	}
	for i, c := range p {
		if c >= utf8.RuneSelf {
			return to - len(p) + i
		}
	}
	return to
}
