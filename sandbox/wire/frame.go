// Package wire is the protocol between jird and the processes that run agents:
// frames of one S-expression each, over a descriptor of their own.
//
// The other side may be hostile: every length is capped before memory is taken,
// and what arrives is parsed by jird's own reader, never evaluated.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"jird/snapshots/sexpr"
)

// A frame on the wire:
//
//	+--------+--------+--------+--------+----------------- - -
//	|        length, big-endian         |  one datum, UTF-8
//	+--------+--------+--------+--------+----------------- - -

// MaxFrame is the most bytes that a datum may have in a frame.
const MaxFrame = 16 << 20

// Version is what a process must say in its first frame.
const Version = 1

// ErrGarbage is wrapped by Read when what arrived is not of the protocol's form.
var ErrGarbage = errors.New("not a protocol frame")

// Write sends one datum. It is not safe for concurrent use on one writer.
func Write(w io.Writer, v sexpr.Value) error {
	body, err := sexpr.Canonical(v)
	if err != nil {
		return fmt.Errorf("encoding a frame: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("encoding a frame: %d bytes are more than the limit of %d", len(body), MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// Read receives one datum. It returns io.EOF when the other side closed between
// frames, io.ErrUnexpectedEOF within one, and wraps ErrGarbage for a length over
// the limit or a body that is not exactly one datum.
func Read(r io.Reader) (sexpr.Value, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: length %d is over the limit of %d", ErrGarbage, size, MaxFrame)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	v, err := sexpr.Read(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrGarbage, err)
	}
	return v, nil
}
