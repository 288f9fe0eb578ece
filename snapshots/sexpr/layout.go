package sexpr

import (
	"math"
	"slices"
	"strings"
)

// A line of a source that is shown has so many columns, where its atoms allow it, and
// begins in none after the last of them, so that a deep genome is not shown as blanks.
const (
	lineWidth  = 88
	lastIndent = 40
)

// Layout writes data as people write code, for whoever is to read or edit it: what fits
// into 88 columns stands on one line, 'x for (quote x). It reads as the same data. A text
// that is not made of lists alone comes back as it is.
func Layout(source string) string {
	forms, err := ReadAll([]byte(source))
	if err != nil || slices.ContainsFunc(forms, func(form Value) bool { _, isList := form.(List); return !isList }) {
		return source
	}
	var b strings.Builder
	for i, f := range forms {
		if i > 0 {
			b.WriteByte('\n')
		}
		lay(&b, f, 0)
	}
	return b.String()
}

// lay writes a value from a column on. A list that does not fit has its head on the first
// line, of what defines or binds also what comes next, and each other item on its own.
func lay(b *strings.Builder, v Value, column int) {
	list, ok := v.(List)
	if !ok || len(list) < 2 || quoted(list) {
		flat(b, v, math.MaxInt)
		return
	}
	var line strings.Builder
	if flat(&line, v, lineWidth-column) {
		b.WriteString(line.String())
		return
	}
	b.WriteByte('(')
	indent, rest := min(column, lastIndent)+1, 1
	if head, ok := list[0].(Symbol); ok {
		indent++
		switch head {
		case "define", "lambda", "let", "let*", "letrec", "letrec*", "if", "when", "unless", "case", "do", "set!":
			rest = 2
		}
	}
	at := column + 1
	for i, item := range list {
		switch {
		case i >= rest:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		before := b.Len()
		lay(b, item, at)
		at += b.Len() - before
	}
	b.WriteByte(')')
}

func quoted(l List) bool { return len(l) == 2 && l[0] == Symbol("quote") }

// flat writes a value on one line, and says whether it has at most so many bytes: where it
// has more, it stops.
func flat(b *strings.Builder, v Value, most int) bool {
	list, ok := v.(List)
	switch {
	case !ok:
		text, _ := Canonical(v)
		b.Write(text)
	case quoted(list):
		b.WriteByte('\'')
		return flat(b, list[1], most)
	default:
		b.WriteByte('(')
		for i, item := range list {
			if i > 0 {
				b.WriteByte(' ')
			}
			if !flat(b, item, most) {
				return false
			}
		}
		b.WriteByte(')')
	}
	return b.Len() <= most
}
