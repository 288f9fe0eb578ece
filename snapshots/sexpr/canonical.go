package sexpr

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Caps on what is read and written.
const (
	MaxSize  = 32 << 20 // bytes
	MaxDepth = 1000     // nested lists and vectors
)

// Canonical writes the one form of a value: one space between items, (quote x)
// spelled out, flonums with the fewest digits that round-trip and always a
// point or an exponent, strings in UTF-8 with the escapes \\ \" \n \t \xHH; and
// no others, characters as #\xHH, symbols in bars where they need them.
func Canonical(v Value) ([]byte, error) {
	w := writer{}
	if err := w.value(v, 0); err != nil {
		return nil, err
	}
	if w.b.Len() > MaxSize {
		return nil, fmt.Errorf("a datum of %d bytes is over the limit of %d", w.b.Len(), MaxSize)
	}
	return w.b.Bytes(), nil
}

// Hash is the lower-case hexadecimal SHA-256 of the canonical form.
func Hash(v Value) (string, error) {
	b, err := Canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// DecodeCanonical reads a value from its canonical form. Anything else, even
// another form of the same value, is an error.
func DecodeCanonical(b []byte) (Value, error) {
	v, err := Read(b)
	if err != nil {
		return nil, err
	}
	again, err := Canonical(v)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b, again) {
		at := 0
		for at < min(len(b), len(again)) && b[at] == again[at] {
			at++
		}
		return nil, fmt.Errorf("not in canonical form from byte %d on", at)
	}
	return v, nil
}

type writer struct{ b bytes.Buffer }

func (w *writer) value(v Value, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("nested more than %d deep", MaxDepth)
	}
	switch v := v.(type) {
	case Text:
		w.b.WriteString(string(v))
	case Symbol:
		return w.symbol(string(v), "")
	case Keyword:
		return w.symbol(string(v), ":")
	case String:
		return w.text(string(v), '"')
	case Bool:
		if v {
			w.b.WriteString("#t")
		} else {
			w.b.WriteString("#f")
		}
	case Char:
		if !utf8.ValidRune(rune(v)) {
			return fmt.Errorf("%#x is not a character", rune(v))
		}
		fmt.Fprintf(&w.b, "#\\x%x", rune(v))
	case Int:
		if v.big == nil {
			w.b.WriteByte('0')
		} else {
			w.b.Write(v.big.Append(w.b.AvailableBuffer(), 10))
		}
	case Float:
		return w.float(float64(v))
	case List:
		return w.items("(", v, nil, depth)
	case Dotted:
		return w.dotted(v, depth)
	case Vector:
		return w.items("#(", v, nil, depth)
	case Bytes:
		w.b.WriteString("#u8(")
		for i, b := range v {
			if i > 0 {
				w.b.WriteByte(' ')
			}
			w.b.WriteString(strconv.Itoa(int(b)))
		}
		w.b.WriteByte(')')
	default:
		return fmt.Errorf("%T is not an S-expression", v)
	}
	return nil
}

func (w *writer) items(open string, items []Value, tail Value, depth int) error {
	w.b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			w.b.WriteByte(' ')
		}
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	if tail != nil {
		w.b.WriteString(" . ")
		if err := w.value(tail, depth+1); err != nil {
			return err
		}
	}
	w.b.WriteByte(')')
	return nil
}

func (w *writer) dotted(v Dotted, depth int) error {
	switch v.Tail.(type) {
	case List, Dotted:
		return fmt.Errorf("the tail of a dotted list is a list: write it as one list")
	}
	if len(v.Items) == 0 {
		return fmt.Errorf("a dotted list has no items before its tail")
	}
	return w.items("(", v.Items, v.Tail, depth)
}

func (w *writer) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v has no S-expression: only finite flonums do", f)
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	// 'g' of Go writes 1e+06, which Gambit reads; normalise to the shorter 1e6.
	s = strings.Replace(s, "e+0", "e", 1)
	s = strings.Replace(s, "e+", "e", 1)
	s = strings.Replace(s, "e-0", "e-", 1)
	if !strings.ContainsAny(s, ".e") {
		s += "."
	}
	w.b.WriteString(s)
	return nil
}

func (w *writer) symbol(name, suffix string) error {
	if name == "" {
		return fmt.Errorf("a symbol without a name cannot be written")
	}
	if plainSymbol(name) {
		w.b.WriteString(name)
		w.b.WriteString(suffix)
		return nil
	}
	if err := w.text(name, '|'); err != nil {
		return err
	}
	w.b.WriteString(suffix)
	return nil
}

// plainSymbol says whether a name needs no bars under either runtime: ASCII letters,
// digits and the usual marks, and nothing that reads as a number.
func plainSymbol(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("!$%&*/<=>?^_~", c) >= 0:
		case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == ':', c == '@', c == '#':
			if i == 0 && c != '+' && c != '-' {
				return false
			}
			if c == '#' || (c == ':' && i == len(name)-1) {
				return false
			}
		default:
			return false
		}
	}
	if name[0] != '+' && name[0] != '-' {
		return true
	}
	// + - ... and names like ->x are symbols; +5, -.5, +i, -inf.0 are numbers.
	return len(name) == 1 || name[1] == '>' || name[1] == '-' || name[1] == '+'
}

func (w *writer) text(s string, quote byte) error {
	if plainText(s, quote) {
		w.b.WriteByte(quote)
		w.b.WriteString(s)
		w.b.WriteByte(quote)
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not valid UTF-8", s)
	}
	w.b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n' && quote == '"':
			w.b.WriteString(`\n`)
		case r == '\t' && quote == '"':
			w.b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&w.b, `\x%x;`, r)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte(quote)
	return nil
}

// plainText says whether a text has nothing but ASCII that stands for itself.
func plainText(s string, quote byte) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == quote || c == '\\' {
			return false
		}
	}
	return true
}
