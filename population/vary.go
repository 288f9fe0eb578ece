package population

import (
	"math/rand"
	"slices"
)

// change replaces one definition of a genome if the new body keeps the
// grammar's limits; otherwise the genome itself is returned.
func (g *Grammar) change(parent *Genome, definition int, body *node) *Genome {
	if !g.keeps(definition, body) {
		return parent
	}
	bodies := slices.Clone(parent.bodies)
	bodies[definition] = body
	return newGenome(g, bodies)
}

func (g *Grammar) keeps(definition int, body *node) bool {
	if s := g.Definitions[definition].Shape; s != nil {
		return len(body.items) >= s.Min && len(body.items) <= s.Max
	}
	return body.size <= g.MaxSize && body.depth <= g.MaxDepth
}

// point draws a node for variation: nine in ten an inner one where there is
// one (Koza 1992), since leaves would else be most of them.
func point(rng *rand.Rand, root *node) int {
	if root.size == 1 {
		return 0
	}
	inner := rng.Float64() < 0.9
	for {
		i := rng.Intn(root.size)
		if (len(root.at(i).kids) > 0) == inner {
			return i
		}
	}
}

// Crossover replaces a subtree of mother by one of father of the same type, in
// one definition. The result may equal mother where no exchange fits.
func (g *Grammar) Crossover(rng *rand.Rand, mother, father *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	m, f := mother.bodies[d], father.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(mother, d, s.crossover(rng, m, f))
	}
	at := point(rng, m)
	kind := m.at(at).kind
	for range 8 {
		donor := f.at(point(rng, f))
		if donor.kind == kind {
			return g.change(mother, d, m.with(at, donor))
		}
	}
	return mother
}

// SizeFair is crossover in which the donated subtree is at most 1+2*|removed|
// nodes large and drawn so that the mean size does not grow (Langdon 2000).
func (g *Grammar) SizeFair(rng *rand.Rand, mother, father *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	m, f := mother.bodies[d], father.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(mother, d, s.sizeFair(rng, m, f))
	}
	at := point(rng, m)
	removed := m.at(at)
	var smaller, equal, larger []*node
	for i := range f.size {
		switch n := f.at(i); {
		case n.kind != removed.kind || n.size > 1+2*removed.size:
		case n.size < removed.size:
			smaller = append(smaller, n)
		case n.size == removed.size:
			equal = append(equal, n)
		default:
			larger = append(larger, n)
		}
	}
	from := fairChoice(rng, removed.size, smaller, equal, larger)
	if from == nil {
		return mother
	}
	return g.change(mother, d, m.with(at, from[rng.Intn(len(from))]))
}

// fairChoice picks the group of donors: equal size with chance 1/|removed|,
// smaller and larger so that the expected change of size is zero.
func fairChoice(rng *rand.Rand, removed int, smaller, equal, larger []*node) []*node {
	if len(smaller) == 0 || len(larger) == 0 {
		if len(equal) == 0 {
			return nil
		}
		return equal
	}
	if len(equal) > 0 && rng.Float64() < 1/float64(removed) {
		return equal
	}
	var down, up float64
	for _, n := range smaller {
		down += float64(removed-n.size) / float64(len(smaller))
	}
	for _, n := range larger {
		up += float64(n.size-removed) / float64(len(larger))
	}
	if rng.Float64() < up/(up+down) {
		return smaller
	}
	return larger
}

// Subtree replaces a node by a freshly drawn expression.
func (g *Grammar) Subtree(rng *rand.Rand, parent *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	body := parent.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(parent, d, s.subtree(rng, body))
	}
	at := point(rng, body)
	fresh := g.grow(rng, d, body.at(at).kind, 1+rng.Intn(4), false)
	return g.change(parent, d, body.with(at, fresh))
}

// Point replaces one node by another of the same type and arity.
func (g *Grammar) Point(rng *rand.Rand, parent *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	body := parent.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(parent, d, s.point(rng, body))
	}
	at := rng.Intn(body.size)
	old := body.at(at)
	if len(old.kids) == 0 {
		return g.change(parent, d, body.with(at, g.leaf(rng, d, old.kind)))
	}
	var fitting []string
	for _, c := range g.functions(old.kind) {
		if c.op != old.op && matches(old.kids, c.args) {
			fitting = append(fitting, c.op)
		}
	}
	if len(fitting) == 0 {
		return parent
	}
	op := fitting[rng.Intn(len(fitting))]
	return g.change(parent, d, body.with(at, applyNode(op, old.kind, old.kids...)))
}

// Constant moves one constant: by a normally distributed share of itself, or of
// the grammar's ranges.
func (g *Grammar) Constant(rng *rand.Rand, parent *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	body := parent.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(parent, d, s.constant(rng, body))
	}
	var constants []int
	for i := range body.size {
		if n := body.at(i); n.constant() && n.kind == Real {
			constants = append(constants, i)
		}
	}
	if len(constants) == 0 || len(g.Constants) == 0 {
		return parent
	}
	at := constants[rng.Intn(len(constants))]
	value := body.at(at).value
	switch rng.Intn(3) {
	case 0:
		value += rng.NormFloat64() * 0.2 * value
	case 1:
		value += rng.NormFloat64()
	default:
		value = g.constant(rng)
	}
	return g.change(parent, d, body.with(at, constantNode(round4(value))))
}

// Hoist replaces a definition by one of its own subtrees: the way back from
// bloat.
func (g *Grammar) Hoist(rng *rand.Rand, parent *Genome) *Genome {
	d := rng.Intn(len(g.Definitions))
	body := parent.bodies[d]
	if s := g.Definitions[d].Shape; s != nil {
		return g.change(parent, d, s.hoist(rng, body))
	}
	at := point(rng, body)
	within := body.at(at)
	inner := within.at(rng.Intn(within.size))
	if inner.kind != within.kind {
		return parent
	}
	return g.change(parent, d, body.with(at, inner))
}
