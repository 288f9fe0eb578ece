package sexpr

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SyntaxError says where a text is not an S-expression.
type SyntaxError struct {
	Line, Column int // from 1; columns count characters
	Msg          string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg) }

// Read reads exactly one datum, with comments and white space around it.
func Read(src []byte) (Value, error) {
	all, err := read(src, 2)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("one datum was expected, there is %s", map[bool]string{true: "none", false: "more than one"}[len(all) == 0])}
	}
	return all[0], nil
}

// ReadAll reads a source file: any number of data.
func ReadAll(src []byte) ([]Value, error) { return read(src, math.MaxInt) }

func read(src []byte, most int) ([]Value, error) {
	if len(src) > MaxSize {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("%d bytes are over the limit of %d", len(src), MaxSize)}
	}
	r := reader{src: src}
	var all []Value
	for len(all) < most {
		if err := r.space(0); err != nil {
			return nil, err
		}
		if r.at == len(src) {
			break
		}
		v, err := r.value(0)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

type reader struct {
	src   []byte
	at    int
	items []Value // of the lists that are not closed yet, so that each is made once, in its size
}

func (r *reader) fail(at int, format string, args ...any) error {
	before := r.src[:at]
	line := 1 + strings.Count(string(before), "\n")
	column := 1 + utf8.RuneCount(before[strings.LastIndexByte(string(before), '\n')+1:])
	return &SyntaxError{line, column, fmt.Sprintf(format, args...)}
}

func (r *reader) peek() byte {
	if r.at < len(r.src) {
		return r.src[r.at]
	}
	return 0
}

func (r *reader) has(prefix string) bool {
	return r.at+len(prefix) <= len(r.src) && string(r.src[r.at:r.at+len(prefix)]) == prefix
}

// space skips white space and the three kinds of comments.
func (r *reader) space(depth int) error {
	if depth > MaxDepth {
		return r.fail(r.at, "nested more than %d deep", MaxDepth)
	}
	for r.at < len(r.src) {
		switch {
		case isSpace(r.src[r.at]):
			r.at++
		case r.src[r.at] == ';':
			for r.at < len(r.src) && r.src[r.at] != '\n' {
				r.at++
			}
		case r.has("#|"):
			if err := r.blockComment(); err != nil {
				return err
			}
		case r.has("#;"):
			start := r.at
			r.at += 2
			if err := r.space(depth + 1); err != nil {
				return err
			}
			if r.at == len(r.src) {
				return r.fail(start, "#; comments out a datum, and there is none")
			}
			if _, err := r.value(depth + 1); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (r *reader) blockComment() error {
	start, nested := r.at, 0
	for r.at < len(r.src) {
		switch {
		case r.has("#|"):
			nested++
			r.at += 2
		case r.has("|#"):
			nested--
			r.at += 2
			if nested == 0 {
				return nil
			}
		default:
			r.at++
		}
	}
	return r.fail(start, "this #| comment is not closed")
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' }

func isDelimiter(c byte) bool {
	switch c {
	case ' ', '\n', '\t', '\r', '\f', '(', ')', '[', ']', '{', '}', '"', ';', '\'', '`', ',':
		return true
	}
	return false
}

func (r *reader) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return nil, r.fail(r.at, "nested more than %d deep", MaxDepth)
	}
	start := r.at
	switch c := r.peek(); {
	case c == '(':
		r.at++
		return r.list(start, depth)
	case c == ')':
		return nil, r.fail(start, "this ) closes nothing")
	case strings.IndexByte("[]{}", c) >= 0 && c != 0:
		return nil, r.fail(start, "%c is not allowed: use ( and )", c)
	case c == '"':
		s, err := r.text('"')
		return String(s), err
	case c == '\'':
		return r.abbreviation(1, "quote", depth)
	case c == '`':
		return r.abbreviation(1, "quasiquote", depth)
	case r.has(",@"):
		return r.abbreviation(2, "unquote-splicing", depth)
	case c == ',':
		return r.abbreviation(1, "unquote", depth)
	case c == '#':
		return r.hash(depth)
	}
	return r.atom()
}

func (r *reader) abbreviation(length int, name Symbol, depth int) (Value, error) {
	start := r.at
	r.at += length
	if err := r.space(depth + 1); err != nil {
		return nil, err
	}
	if r.at == len(r.src) {
		return nil, r.fail(start, "%s without a datum", name)
	}
	v, err := r.value(depth + 1)
	if err != nil {
		return nil, err
	}
	return List{name, v}, nil
}

// list reads what follows an opening parenthesis.
func (r *reader) list(start, depth int) (Value, error) {
	first := len(r.items)
	for {
		if err := r.space(depth); err != nil {
			return nil, err
		}
		switch {
		case r.at == len(r.src):
			return nil, r.fail(start, "this ( is not closed")
		case r.peek() == ')':
			r.at++
			return r.since(first), nil
		case r.peek() == '.' && (r.at+1 == len(r.src) || isDelimiter(r.src[r.at+1])):
			return r.tail(start, r.since(first), depth)
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		r.items = append(r.items, v)
	}
}

// since takes the items of the innermost list off.
func (r *reader) since(first int) List {
	list := make(List, len(r.items)-first)
	copy(list, r.items[first:])
	clear(r.items[first:])
	r.items = r.items[:first]
	return list
}

func (r *reader) tail(start int, items List, depth int) (Value, error) {
	dot := r.at
	r.at++
	if len(items) == 0 {
		return nil, r.fail(dot, "nothing stands before this dot")
	}
	if err := r.space(depth); err != nil {
		return nil, err
	}
	if r.at == len(r.src) || r.peek() == ')' {
		return nil, r.fail(dot, "nothing stands after this dot")
	}
	tail, err := r.value(depth + 1)
	if err != nil {
		return nil, err
	}
	if err := r.space(depth); err != nil {
		return nil, err
	}
	if r.peek() != ')' {
		return nil, r.fail(start, "one datum may follow a dot, then )")
	}
	r.at++
	switch tail := tail.(type) {
	case List:
		return append(items, tail...), nil
	case Dotted:
		return Dotted{append(items, tail.Items...), tail.Tail}, nil
	}
	return Dotted{items, tail}, nil
}

func (r *reader) hash(depth int) (Value, error) {
	start := r.at
	switch {
	case r.has("#("):
		r.at += 2
		v, err := r.list(start, depth)
		return vector(r, start, v, err)
	case r.has("#u8("):
		r.at += 4
		v, err := r.list(start, depth)
		return bytesOf(r, start, v, err)
	case r.has(`#\`):
		return r.char()
	}
	switch token := r.token(); token {
	case "#t", "#true":
		return Bool(true), nil
	case "#f", "#false":
		return Bool(false), nil
	default:
		return nil, r.fail(start, "%s is not known here", token)
	}
}

func vector(r *reader, start int, v Value, err error) (Value, error) {
	if err != nil {
		return nil, err
	}
	items, ok := v.(List)
	if !ok {
		return nil, r.fail(start, "a vector has no dotted tail")
	}
	return Vector(items), nil
}

func bytesOf(r *reader, start int, v Value, err error) (Value, error) {
	if err != nil {
		return nil, err
	}
	items, ok := v.(List)
	b := make(Bytes, len(items))
	for i, item := range items {
		n, isInt := item.(Int)
		byteValue, fits := n.Int64()
		ok = ok && isInt && fits && byteValue >= 0 && byteValue < 256
		b[i] = byte(byteValue)
	}
	if !ok {
		return nil, r.fail(start, "#u8( ) holds integers from 0 to 255")
	}
	return b, nil
}

var charNames = map[string]rune{
	"space": ' ', "newline": '\n', "tab": '\t', "return": '\r', "nul": 0, "null": 0,
	"delete": 0x7f, "escape": 0x1b, "esc": 0x1b, "alarm": 7, "backspace": 8, "linefeed": '\n', "page": '\f', "vtab": '\v',
}

func (r *reader) char() (Value, error) {
	start := r.at
	r.at += 2
	first, size := utf8.DecodeRune(r.src[r.at:])
	if size == 0 || (first == utf8.RuneError && size == 1) {
		return nil, r.fail(start, "no character follows #\\")
	}
	r.at += size
	name := string(first) + r.token()
	if utf8.RuneCountInString(name) == 1 {
		return Char(first), nil
	}
	if c, ok := charNames[name]; ok {
		return Char(c), nil
	}
	if name[0] == 'x' || name[0] == 'U' || name[0] == 'u' {
		if n, err := strconv.ParseUint(name[1:], 16, 32); err == nil && utf8.ValidRune(rune(n)) {
			return Char(rune(n)), nil
		}
	}
	return nil, r.fail(start, `#\%s is not a character`, name)
}

func (r *reader) token() string {
	start := r.at
	for r.at < len(r.src) && !isDelimiter(r.src[r.at]) {
		r.at++
	}
	return string(r.src[start:r.at])
}

// text reads a string or the barred part of a symbol.
func (r *reader) text(quote byte) (string, error) {
	start := r.at
	r.at++
	for r.at < len(r.src) && r.src[r.at] < utf8.RuneSelf && r.src[r.at] != quote && r.src[r.at] != '\\' {
		r.at++
	}
	plain := r.src[start+1 : r.at] // nearly always all of it
	if r.peek() == quote {
		r.at++
		return string(plain), nil
	}
	var b strings.Builder
	b.Write(plain)
	for r.at < len(r.src) {
		c := r.src[r.at]
		switch {
		case c == quote:
			r.at++
			return b.String(), nil
		case c == '\\':
			if err := r.escape(&b); err != nil {
				return "", err
			}
		case c < utf8.RuneSelf:
			b.WriteByte(c)
			r.at++
		default:
			char, size := utf8.DecodeRune(r.src[r.at:])
			if char == utf8.RuneError && size == 1 {
				return "", r.fail(r.at, "not valid UTF-8")
			}
			b.WriteRune(char)
			r.at += size
		}
	}
	return "", r.fail(start, "this %c is not closed", quote)
}

func (r *reader) escape(b *strings.Builder) error {
	start := r.at
	r.at++
	c := r.peek()
	r.at++
	switch c {
	case '\\', '"', '|':
		b.WriteByte(c)
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'a':
		b.WriteByte(7)
	case '0':
		b.WriteByte(0)
	case 'x':
		end := r.at
		for end < len(r.src) && end < r.at+8 && r.src[end] != ';' {
			end++
		}
		n, err := strconv.ParseUint(string(r.src[r.at:end]), 16, 32)
		if err != nil || end == len(r.src) || r.src[end] != ';' || !utf8.ValidRune(rune(n)) {
			return r.fail(start, `\x is followed by hexadecimal digits of a character and ;`)
		}
		b.WriteRune(rune(n))
		r.at = end + 1
	default:
		return r.fail(start, `this escape is not known; use \\ \" \n \t or \xHH;`)
	}
	return nil
}

// atom reads a number, symbol or keyword.
func (r *reader) atom() (Value, error) {
	start := r.at
	for r.at < len(r.src) && r.src[r.at] > ' ' && r.src[r.at] < 0x7f && r.src[r.at] != '|' && !isDelimiter(r.src[r.at]) {
		r.at++
	}
	plain := string(r.src[start:r.at]) // nearly always all of it
	if r.at == len(r.src) || isDelimiter(r.src[r.at]) {
		return r.word(start, plain)
	}
	var name strings.Builder
	name.WriteString(plain)
	barred := false
	for r.at < len(r.src) && !isDelimiter(r.src[r.at]) {
		if r.src[r.at] == '|' {
			part, err := r.text('|')
			if err != nil {
				return nil, err
			}
			barred = true
			name.WriteString(part)
			// A colon after the bars makes a keyword, one inside does not.
			if r.peek() == ':' && (r.at+1 == len(r.src) || isDelimiter(r.src[r.at+1])) {
				r.at++
				return r.named(start, name.String(), true)
			}
			continue
		}
		char, size := utf8.DecodeRune(r.src[r.at:])
		if char == utf8.RuneError && size == 1 || unicode.IsControl(char) {
			return nil, r.fail(r.at, "not a character of a symbol")
		}
		name.WriteRune(char)
		r.at += size
	}
	text := name.String()
	if barred {
		return r.named(start, text, false)
	}
	return r.word(start, text)
}

// word is an atom without bars.
func (r *reader) word(start int, text string) (Value, error) {
	if v, ok := parseNumber(text); ok {
		return v, nil
	}
	if looksNumeric(text) {
		return nil, r.fail(start, "%s is not a number that is known here", text)
	}
	if len(text) > 1 && strings.HasSuffix(text, ":") {
		return r.named(start, text[:len(text)-1], true)
	}
	return r.named(start, text, false)
}

func (r *reader) named(start int, name string, keyword bool) (Value, error) {
	switch {
	case name == "":
		return nil, r.fail(start, "a symbol without a name")
	case keyword:
		return Keyword(name), nil
	}
	return Symbol(name), nil
}

func looksNumeric(s string) bool {
	t := strings.TrimLeft(s, "+-.")
	return t != "" && t[0] >= '0' && t[0] <= '9' && len(s)-len(t) <= 2 || s == "+inf.0" || s == "-inf.0" || s == "+nan.0" || s == "-nan.0"
}

// maxDigits bounds the work of a big integer, which grows with its square.
const maxDigits = 100_000

func parseNumber(s string) (Value, bool) {
	if !looksNumeric(s) || len(s) > maxDigits {
		return nil, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return nil, false
	}
	if strings.Trim(digits, "0123456789") == "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return NewInt(n), true
		}
		n, ok := new(big.Int).SetString(s, 10)
		return Int{n}, ok
	}
	if strings.Trim(digits, "0123456789.eE+-") != "" {
		return nil, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, false
	}
	return Float(f), true
}
