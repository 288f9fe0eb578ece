package propose

import (
	"math"
	"strings"

	"jird/snapshots/sexpr"
)

// A line of a source that is shown has so many columns, where its atoms allow it, and
// begins in none after the last of them, so that a deep genome is not shown as blanks.
const (
	lineWidth  = 88
	lastIndent = 40
)

// layout writes canonical definitions as people write them, for whoever is to edit them:
// what fits stands on one line, 'x for (quote x). It reads as the same data.
func layout(source string) string {
	forms, _ := sexpr.ReadAll([]byte(source)) // canonical: it reads
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
func lay(b *strings.Builder, v sexpr.Value, column int) {
	list, ok := v.(sexpr.List)
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
	if head, ok := list[0].(sexpr.Symbol); ok {
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

func quoted(l sexpr.List) bool { return len(l) == 2 && l[0] == sexpr.Symbol("quote") }

// flat writes a value on one line, and says whether it has at most so many bytes: where it
// has more, it stops.
func flat(b *strings.Builder, v sexpr.Value, most int) bool {
	list, ok := v.(sexpr.List)
	switch {
	case !ok:
		text, _ := sexpr.Canonical(v)
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
