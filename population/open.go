package population

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"jird/snapshots/sexpr"
)

// Open genomes are any Scheme: the top-level forms of the evolvable file, among them the
// definitions that the grammar names. Nothing is known of what they do, so nothing can be
// drawn or varied here, and whoever measures them gives each a process of its own.

// maxOpen bounds the text of an open genome in bytes: all of it is sent to each process
// that runs it.
const maxOpen = 256 << 10

// openGenome makes a genome of forms. The texts are canonical, so equal code is one genome
// however it is laid out.
func openGenome(g *Grammar, forms []sexpr.Value) (*Genome, error) {
	genome := &Genome{grammar: g, forms: forms}
	seen := map[string]bool{}
	size := 0
	for _, form := range forms {
		text, err := sexpr.TextOf(form)
		if err != nil {
			return nil, err
		}
		if name := Defined(form); name != "" {
			if seen[name] {
				return nil, fmt.Errorf("%s is defined twice", name)
			}
			seen[name] = true
		}
		genome.definitions = append(genome.definitions, text)
		size += len(text) + 1
	}
	for _, d := range g.Definitions {
		if !seen[d.Name] {
			return nil, fmt.Errorf("%s is not defined: write (define (%s ...) ...) or (define %s ...)", d.Name, d.Name, d.Name)
		}
	}
	if size > maxOpen {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", size, maxOpen)
	}
	sum := sha256.Sum256([]byte(genome.Source() + "\n"))
	genome.hash = hex.EncodeToString(sum[:])
	return genome, nil
}

// Defined is the name that (define NAME ...) or (define (NAME ...) ...) defines, or "".
func Defined(form sexpr.Value) string {
	list, _ := form.(sexpr.List)
	if len(list) < 2 || list[0] != sexpr.Symbol("define") {
		return ""
	}
	head := list[1]
	for {
		first, _, isPair := sexpr.Pair(head)
		if !isPair {
			name, _ := head.(sexpr.Symbol)
			return string(name)
		}
		head = first // of a curried definition too
	}
}

// measure counts the atoms and lists of a form, and how deep it is nested.
func measure(v sexpr.Value) (size, depth int) {
	var items []sexpr.Value
	switch v := v.(type) {
	case sexpr.List:
		items = v
	case sexpr.Dotted:
		items = append(slices.Clone(v.Items), v.Tail)
	case sexpr.Vector:
		items = v
	}
	size = 1
	for _, item := range items {
		s, d := measure(item)
		size, depth = size+s, max(depth, d)
	}
	return size, depth + 1
}

// Amend makes the genome that a text makes of this one: each definition in it takes the
// place of the one of its name. Where genomes are open, a definition of a new name, or
// another form, stands before them all. Where one definition is evolved, its body alone
// will do.
func (g *Genome) Amend(src []byte) (*Genome, error) {
	forms, err := sexpr.ReadAll(src)
	if err != nil {
		return nil, err
	}
	if len(forms) == 0 {
		return nil, fmt.Errorf("there is no code in it")
	}
	if !g.grammar.Open {
		return g.amendTyped(forms)
	}
	next := slices.Clone(g.forms)
	var before []sexpr.Value
	given := map[string]bool{}
	for _, form := range forms {
		name := Defined(form)
		if name != "" && given[name] {
			return nil, fmt.Errorf("%s is defined twice", name)
		}
		given[name] = true
		at := slices.IndexFunc(next, func(f sexpr.Value) bool { return name != "" && Defined(f) == name })
		if at >= 0 {
			next[at] = form
		} else {
			before = append(before, form)
		}
	}
	return openGenome(g.grammar, append(before, next...))
}

func (g *Genome) amendTyped(forms []sexpr.Value) (*Genome, error) {
	if len(forms) == 1 && !isDefine(forms[0]) {
		return g.grammar.FromForms(forms)
	}
	bodies := slices.Clone(g.bodies)
	given := map[int]bool{}
	for _, form := range forms {
		i, body, err := g.grammar.definition(form)
		if err != nil {
			return nil, err
		}
		if given[i] {
			return nil, fmt.Errorf("%s is defined twice", g.grammar.Definitions[i].Name)
		}
		given[i], bodies[i] = true, body
	}
	return newGenome(g.grammar, bodies), nil
}

// checkOpen checks what a grammar of open genomes says: names, and nothing to draw from.
func (g *Grammar) checkOpen() (faults []error) {
	for i, d := range g.Definitions {
		if d.Name == "" || strings.ContainsAny(d.Name, " ()\"';\n\t") {
			faults = append(faults, fmt.Errorf("definition %d: %q is not a name", i+1, d.Name))
		}
		if len(d.Params) > 0 || d.Shape != nil || d.Result != Real {
			faults = append(faults, fmt.Errorf("%s: open code says itself what it takes and answers: drop args, returns and items", d.Name))
		}
	}
	if len(g.Functions)+len(g.Leaves)+len(g.Constants) > 0 {
		faults = append(faults, fmt.Errorf("functions, leaves and constants are what a grammar draws from, and open code is not drawn: drop them"))
	}
	return faults
}
