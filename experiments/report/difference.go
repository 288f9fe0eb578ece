package report

import (
	"slices"
	"strings"

	"jird/snapshots/sexpr"
)

// part is a piece of two texts: of both, or of one of them.
type part struct {
	Text   string
	Change change
}

type change string

const (
	same    change = ""
	added   change = "ins"
	removed change = "del"
)

// largest is the longest source that is compared by its trees: comparing costs the
// product of their sizes.
const largest = 20_000

// difference says, by subtrees, what made one source into another.
func difference(old, new string) []part {
	a, okA := parse(old)
	b, okB := parse(new)
	var d parts
	switch {
	case !okA || !okB || len(old) > largest || len(new) > largest:
		d.replace(old, new)
	default:
		d.walk(a, b)
	}
	return d
}

// tree is a datum with its canonical text.
type tree struct {
	text string
	kids []*tree // nil for all but a list
}

// parse reads a source: one definition as what it answers.
func parse(source string) (*tree, bool) {
	all, err := sexpr.ReadAll([]byte(source))
	if err != nil || len(all) == 0 {
		return nil, false
	}
	if define, ok := all[0].(sexpr.List); ok && len(all) == 1 && len(define) == 3 && sexpr.Equal(define[0], sexpr.Symbol("define")) {
		return grow(define[2])
	}
	if len(all) == 1 {
		return grow(all[0])
	}
	return grow(sexpr.List(all))
}

func grow(v sexpr.Value) (*tree, bool) {
	list, ok := v.(sexpr.List)
	if !ok || len(list) == 0 {
		text, err := sexpr.Canonical(v)
		return &tree{text: string(text)}, err == nil
	}
	t := &tree{}
	var texts []string
	for _, v := range list {
		kid, ok := grow(v)
		if !ok {
			return nil, false
		}
		t.kids, texts = append(t.kids, kid), append(texts, kid.text)
	}
	t.text = "(" + strings.Join(texts, " ") + ")"
	return t, true
}

func (t *tree) holds(other *tree) bool {
	return len(t.text) > len(other.text) && slices.ContainsFunc(t.kids, func(k *tree) bool { return k.text == other.text || k.holds(other) })
}

// worth says whether a tree is enough of another one to be looked for in it: a lone
// variable is in nearly everything.
func (t *tree) worth(of *tree) bool { return 8*len(t.text) >= len(of.text) }

type parts []part

func (d *parts) put(c change, text string) {
	if n := len(*d); n > 0 && (*d)[n-1].Change == c {
		(*d)[n-1].Text += text
		return
	}
	*d = append(*d, part{text, c})
}

func (d *parts) replace(a, b string) {
	d.put(removed, a)
	d.put(same, " ")
	d.put(added, b)
}

func (d *parts) walk(a, b *tree) {
	switch {
	case a.text == b.text:
		d.put(same, a.text)
	case a.worth(b) && b.holds(a):
		d.around(b, a, added)
	case b.worth(a) && a.holds(b):
		d.around(a, b, removed)
	case len(a.kids) > 0 && len(b.kids) > 0 && (len(a.kids) == len(b.kids) || a.kids[0].text == b.kids[0].text):
		d.put(same, "(")
		d.align(a.kids, b.kids)
		d.put(same, ")")
	default:
		d.replace(a.text, b.text)
	}
}

// around puts a tree of which only the first inner one is in both.
func (d *parts) around(outer, inner *tree, c change) {
	if outer.text == inner.text {
		d.put(same, inner.text)
		return
	}
	d.put(c, "(")
	found := false
	for i, k := range outer.kids {
		if i > 0 {
			d.put(c, " ")
		}
		if !found && (k.text == inner.text || k.holds(inner)) {
			found = true
			d.around(k, inner, c)
		} else {
			d.put(c, k.text)
		}
	}
	d.put(c, ")")
}

// align puts the items of two lists: pairwise if there are as many, else what is the same
// at both ends and what is between.
func (d *parts) align(a, b []*tree) {
	first := true
	next := func() {
		if !first {
			d.put(same, " ")
		}
		first = false
	}
	head, tail := 0, 0
	if len(a) == len(b) {
		head = len(a)
	}
	for head < min(len(a), len(b)) && a[head].text == b[head].text {
		head++
	}
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail].text == b[len(b)-1-tail].text {
		tail++
	}
	for i := range head {
		next()
		d.walk(a[i], b[i])
	}
	for _, t := range a[head : len(a)-tail] {
		next()
		d.put(removed, t.text)
	}
	for _, t := range b[head : len(b)-tail] {
		next()
		d.put(added, t.text)
	}
	for _, t := range a[len(a)-tail:] {
		next()
		d.put(same, t.text)
	}
}
