package population

import (
	"cmp"
	"slices"
	"strconv"
)

// Caps on the work of one call: proposals returned, and edits looked at, which
// for a genome that was given rather than drawn can be millions.
const (
	maxShrinks = 400
	maxEdits   = 20_000
)

// edit is a proposal not built yet: the node at place at of a definition
// becomes by.
type edit struct {
	definition, at int
	by             *node
	size           int // of the genome that it makes
}

// Shrinks proposes shorter genomes that may do the same: a subtree replaced by a
// part of itself or by a constant, a constant with fewer digits, or a list without one
// of its items. They are
// distinct, and at most 400: the fewest nodes first, then the shortest text. Each
// is smaller than parent in that order, so taking one after the other ends. Only
// measuring tells which are equivalent.
func (g *Grammar) Shrinks(parent *Genome) []*Genome {
	edits := parent.edits()
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.size, b.size) })
	seen := map[string]bool{parent.Hash(): true}
	var found []*Genome
	for _, e := range edits {
		if len(found) == maxShrinks {
			break
		}
		bodies := slices.Clone(parent.bodies)
		bodies[e.definition] = bodies[e.definition].with(e.at, e.by)
		if made := newGenome(g, bodies); !seen[made.Hash()] {
			seen[made.Hash()] = true
			found = append(found, made)
		}
	}
	slices.SortStableFunc(found, func(a, b *Genome) int {
		return cmp.Or(cmp.Compare(a.Size(), b.Size()), cmp.Compare(len(a.Expr()), len(b.Expr())))
	})
	return found
}

func (g *Genome) edits() []edit {
	var all []edit
	whole := g.Size()
	for d, body := range g.bodies {
		if body.kind == List {
			for _, by := range withoutOne(body) {
				all = append(all, edit{d, 0, by, whole - body.size + by.size})
			}
			continue
		}
		for at := range body.size {
			n := body.at(at)
			for _, by := range shorter(n) {
				all = append(all, edit{d, at, by, whole - n.size + by.size})
			}
			if len(all) >= maxEdits {
				return all
			}
		}
	}
	return all
}

// shorter lists what may stand for a node: its parts of the same kind, and
// constants.
func shorter(n *node) []*node {
	if n.size == 1 {
		return rounded(n)
	}
	var all []*node
	if n.kind == Bool {
		all = append(all, boolNode(false), boolNode(true))
	} else {
		all = append(all, constantNode(0), constantNode(1))
	}
	for inner := 1; inner < n.size && len(all) < maxEdits; inner++ {
		if part := n.at(inner); part.kind == n.kind {
			all = append(all, part)
		}
	}
	return all
}

// rounded is a real constant with fewer digits, where its text gets shorter.
func rounded(n *node) []*node {
	if !n.constant() || n.kind != Real {
		return nil
	}
	var all []*node
	text := canonical(n.expr())
	for digits := 1; digits <= 3; digits++ {
		v, err := strconv.ParseFloat(strconv.FormatFloat(n.value, 'g', digits, 64), 64)
		if by := constantNode(v); err == nil && len(canonical(by.expr())) < len(text) {
			all = append(all, by)
		}
	}
	return all
}
