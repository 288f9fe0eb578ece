package sexpr

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is the canonical form of some value, for who passes values on without looking
// into them. It can stand for that value wherever one is written; reading never
// gives one.
type Text string

func (Text) isValue() {}

// TextOf is the canonical form of a value.
func TextOf(v Value) (Text, error) {
	if t, ok := v.(Text); ok {
		return t, nil
	}
	b, err := Canonical(v)
	return Text(b), err
}

// DecodeText accepts what DecodeCanonical accepts, and builds no value.
func DecodeText(b []byte) (Text, error) {
	t := Text(b)
	if t != "" && len(t) <= MaxSize && t.check(0, 0) == len(t) {
		return t, nil
	}
	_, err := DecodeCanonical(b) // it is rare, or wrong
	return t, err
}

// Value builds the value.
func (t Text) Value() (Value, error) { return Read([]byte(t)) }

// Inside is what stands between the parentheses of a list; ok is false for what is no
// list.
func (t Text) Inside() (inside Text, ok bool) {
	if t == "" || t[0] != '(' {
		return "", false
	}
	return t[1 : len(t)-1], true
}

// Cut takes the first item off what is inside a list, which must not be empty. The
// rest of a dotted list begins with ". " in the end.
func (t Text) Cut() (item, rest Text) {
	end := t.end()
	if end == len(t) {
		return t, ""
	}
	return t[:end], t[end+1:]
}

// end is where the first item ends.
func (t Text) end() int {
	for i, depth := 0, 0; i < len(t); i++ {
		switch t[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '"', '|':
			i = t.quoted(i)
		case ' ':
			if depth == 0 {
				return i
			}
		}
	}
	return len(t)
}

// quoted is where the text in quotes or bars ends that begins at i.
func (t Text) quoted(i int) int {
	quote := t[i]
	for i++; t[i] != quote; i++ {
		if t[i] == '\\' {
			i++
		}
	}
	return i
}

// Str is the value of a string; ok is false for what is none.
func (t Text) Str() (s string, ok bool) {
	if t == "" || t[0] != '"' {
		return "", false
	}
	if plain := string(t[1 : len(t)-1]); strings.IndexByte(plain, '\\') < 0 {
		return plain, true
	}
	v, err := t.Value()
	read, ok := v.(String)
	return string(read), ok && err == nil
}

// Int64 is the value of an exact integer; ok is false for what is none or does not
// fit.
func (t Text) Int64() (n int64, ok bool) {
	n, err := strconv.ParseInt(string(t), 10, 64)
	return n, err == nil
}

// check returns where the value ends that begins at i, if all of it is canonical, or
// 0 if it is not or is of a rare form.
func (t Text) check(i, depth int) int {
	if i >= len(t) || depth > MaxDepth {
		return 0
	}
	switch c := t[i]; {
	case c == '(':
		return t.checkItems(i+1, depth+1, true)
	case c == '#' && strings.HasPrefix(string(t[i:]), "#("):
		return t.checkItems(i+2, depth+1, false)
	case c == '"':
		return t.checkString(i + 1)
	}
	end := i
	for end < len(t) && t[end] != ' ' && t[end] != ')' {
		end++
	}
	if atom := t[i:end]; atom.common() {
		return end
	}
	return 0
}

func (t Text) checkItems(i, depth int, dots bool) int {
	if i < len(t) && t[i] == ')' {
		return i + 1
	}
	for {
		if i = t.check(i, depth); i == 0 || i == len(t) {
			return 0
		}
		if t[i] == ')' {
			return i + 1
		}
		if t[i] != ' ' {
			return 0
		}
		i++
		if dots && strings.HasPrefix(string(t[i:]), ". ") {
			return t.checkTail(i+2, depth)
		}
	}
}

// checkTail is for what follows a dot: no list.
func (t Text) checkTail(i, depth int) int {
	if i == len(t) || t[i] == '(' {
		return 0
	}
	if i = t.check(i, depth); i == 0 || i == len(t) || t[i] != ')' {
		return 0
	}
	return i + 1
}

func (t Text) checkString(i int) int {
	for i < len(t) {
		switch c := t[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i+1 == len(t) || strings.IndexByte(`\"nt`, t[i+1]) < 0 {
				return 0
			}
			i += 2
		case c < ' ' || c == 0x7f:
			return 0
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRuneInString(string(t[i:]))
			if r == utf8.RuneError && size == 1 {
				return 0
			}
			i += size
		}
	}
	return 0
}

// common says whether this is the canonical form of a symbol, a keyword, a boolean or
// a number. A sign begins symbols too, which are rare.
func (t Text) common() bool {
	if t == "" {
		return false
	}
	switch c := t[0]; {
	case c >= '0' && c <= '9', c == '-' && len(t) > 1:
		return t.number()
	case c == '#':
		return t == "#t" || t == "#f"
	case c == '+' && len(t) > 1:
		return false
	}
	if len(t) > 1 && t[len(t)-1] == ':' {
		t = t[:len(t)-1]
	}
	return plainSymbol(string(t))
}

func (t Text) number() bool {
	digits := strings.TrimPrefix(string(t), "-")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			_, err := DecodeCanonical([]byte(t))
			return err == nil
		}
	}
	return t == "0" || digits[0] != '0' && len(digits) < maxDigits
}
