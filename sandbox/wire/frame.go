// Package wire is the protocol between jird and the processes that run agents:
// frames of one S-expression each, over a descriptor of their own.
//
// The other side may be hostile: every length is capped before memory is taken,
// and what arrives is parsed by jird's own reader, never evaluated.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"jird/snapshots/sexpr"
)

// A frame on the wire:
//
//	+--------+--------+--------+--------+----------------- - -
//	|        length, big-endian         |  one datum, UTF-8
//	+--------+--------+--------+--------+----------------- - -

// MaxFrame is the most bytes that a datum may have in a frame.
const MaxFrame = 16 << 20

// MaxItems is the most data in a frame, counting atoms, lists and the bytes of
// byte vectors. "1 1 1 …" takes the reader fifty times its size: without this a
// process could make jird take half a gigabyte to read one answer.
const MaxItems = 1 << 20

// Version is what a process must say in its first frame.
const Version = 1

// ErrGarbage is wrapped by Read when what arrived is not of the protocol's form.
var ErrGarbage = errors.New("not a protocol frame")

// ErrUnsendable is wrapped by Write when it sent nothing, for the datum has no
// frame.
var ErrUnsendable = errors.New("not sendable as a frame")

// Write sends one datum. It is not safe for concurrent use on one writer.
func Write(w io.Writer, v sexpr.Value) error {
	frame, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrUnsendable, err)
	}
	_, err = w.Write(frame)
	return err
}

func encode(v sexpr.Value) ([]byte, error) {
	body, err := sexpr.Canonical(v)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxFrame {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(body), MaxFrame)
	}
	if err := limitItems(body); err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(frame, body...), nil
}

// Read receives one datum. It returns io.EOF when the other side closed between
// frames, io.ErrUnexpectedEOF within one, and wraps ErrGarbage for a length over
// the limit, a body that is not exactly one datum, has too many items, or a
// comment.
func Read(r io.Reader) (sexpr.Value, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: length %d is over the limit of %d", ErrGarbage, size, MaxFrame)
	}
	body, err := readBody(r, int(size))
	if err != nil {
		return nil, err
	}
	if err := limitItems(body); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrGarbage, err)
	}
	v, err := sexpr.Read(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrGarbage, err)
	}
	return v, nil
}

// readBody takes memory as bytes arrive: a length alone costs nothing.
func readBody(r io.Reader, size int) ([]byte, error) {
	const step = 64 << 10
	var body []byte
	for len(body) < size {
		n := min(size-len(body), max(step, len(body)))
		body = slices.Grow(body, n)
		got, err := io.ReadFull(r, body[len(body):len(body)+n])
		body = body[:len(body)+got]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}

func limitItems(text []byte) error {
	items, err := countItems(text)
	if err == nil && items > MaxItems {
		err = fmt.Errorf("more than %d items", MaxItems)
	}
	return err
}

// countItems counts at least as many items as the reader will make of a text,
// without taking memory. To do so it must see text in quotes or bars, and
// characters, just as the reader does; comments, which nobody writes into a
// frame, are refused.
func countItems(text []byte) (items int, err error) {
	token := false // inside an atom
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '|':
			items++
			token = c == '|'
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == ';':
			return 0, fmt.Errorf("a comment at byte %d", i)
		case c == '#' && !token && i+1 < len(text) && (text[i+1] == ';' || text[i+1] == '|'):
			return 0, fmt.Errorf("a comment at byte %d", i)
		case c == '#' && !token && i+2 < len(text) && text[i+1] == '\\':
			items++
			token = true
			i += 2
		case bytes.IndexByte(separators, c) >= 0:
			token = false
			if c == '(' {
				items++
			}
			if c == '\'' || c == '`' || c == ',' {
				items += 2
			}
		case !token:
			items++
			token = true
		}
	}
	return items, nil
}

var separators = []byte(" \n\t\r\f()[]{}'`,")
