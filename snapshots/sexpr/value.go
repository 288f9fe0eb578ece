// Package sexpr reads and writes S-expressions, the common tongue of genomes,
// frames and manifests.
//
// Read accepts what people and runtimes write; Canonical writes exactly one
// form of each value, so that a hash of it is the value's identity;
// DecodeCanonical accepts that form and nothing else. Both Gambit and Gerbil
// read the canonical form back as the same value.
//
// There are no brackets or braces (they mean different things to the two
// runtimes), no labels and no cycles. Depth and size are capped, so hostile
// input costs bounded memory and stack.
package sexpr

import (
	"bytes"
	"math/big"
)

// Value is one datum: one of the types below.
type Value interface{ isValue() }

type (
	// Symbol is a name. Any string but the empty one can be written.
	Symbol string
	// String is a string of Unicode scalar values.
	String string
	// Keyword is a name that ends in a colon, held without it.
	Keyword string
	// Bool is #t or #f.
	Bool bool
	// Char is a character.
	Char rune
	// Float is a flonum. NaN and infinities cannot be written.
	Float float64
	// List is a proper list; the empty list is (), nil or not.
	List []Value
	// Vector is #( ... ).
	Vector []Value
	// Bytes is #u8( ... ).
	Bytes []byte
)

// Int is an exact integer of any size. The zero Int is 0.
type Int struct{ big *big.Int }

// Dotted is an improper list: at least one item, and a tail that is neither a
// List nor a Dotted.
type Dotted struct {
	Items []Value
	Tail  Value
}

func (Symbol) isValue()  {}
func (String) isValue()  {}
func (Keyword) isValue() {}
func (Bool) isValue()    {}
func (Char) isValue()    {}
func (Float) isValue()   {}
func (List) isValue()    {}
func (Vector) isValue()  {}
func (Bytes) isValue()   {}
func (Int) isValue()     {}
func (Dotted) isValue()  {}

// Pair takes a pair apart: what is not the empty list, and any dotted list.
func Pair(v Value) (first, rest Value, ok bool) {
	switch v := v.(type) {
	case List:
		if len(v) > 0 {
			return v[0], v[1:], true
		}
	case Dotted:
		if len(v.Items) == 1 {
			return v.Items[0], v.Tail, true
		}
		return v.Items[0], Dotted{Items: v.Items[1:], Tail: v.Tail}, true
	}
	return nil, nil, false
}

// NewInt makes an exact integer.
func NewInt(n int64) Int { return Int{big.NewInt(n)} }

// NewBig makes an exact integer of any size; n is copied.
func NewBig(n *big.Int) Int { return Int{new(big.Int).Set(n)} }

// Int64 returns the integer and whether it fits.
func (n Int) Int64() (int64, bool) {
	if n.big == nil {
		return 0, true
	}
	return n.big.Int64(), n.big.IsInt64()
}

// Big returns a copy of the integer.
func (n Int) Big() *big.Int {
	if n.big == nil {
		return new(big.Int)
	}
	return new(big.Int).Set(n.big)
}

// Equal reports whether two values have the same canonical form. Values that
// have none equal nothing.
func Equal(a, b Value) bool {
	x, errX := Canonical(a)
	y, errY := Canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
