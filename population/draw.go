package population

import (
	"math"
	"math/rand"
	"slices"
)

// Random draws a genome with ramped half-and-half (Koza 1992): depth limits
// spread evenly from 2 to the grammar's, half of the trees full, half grown.
func (g *Grammar) Random(rng *rand.Rand) *Genome {
	depth := 2 + rng.Intn(max(1, min(g.MaxDepth, rampDepth)-1))
	full := rng.Intn(2) == 0
	bodies := make([]*node, len(g.Definitions))
	for i, d := range g.Definitions {
		if d.Shape != nil {
			bodies[i] = d.Shape.random(rng)
		} else {
			bodies[i] = g.tree(rng, i, d.Result, depth, full)
		}
	}
	return newGenome(g, bodies)
}

// rampDepth is Koza's limit for the first cohort: deeper full trees are mostly
// too large to be kept.
const rampDepth = 6

// tree draws an expression within the size limit, by drawing again with less
// depth.
func (g *Grammar) tree(rng *rand.Rand, definition int, kind Kind, depth int, full bool) *node {
	for ; ; depth-- {
		n := g.grow(rng, definition, kind, depth, full)
		if (n.size <= g.MaxSize && n.depth <= g.MaxDepth) || depth <= 1 {
			return n
		}
	}
}

// growLeaf is the chance that grow stops early where full would not.
const growLeaf = 0.3

func (g *Grammar) grow(rng *rand.Rand, definition int, kind Kind, depth int, full bool) *node {
	if depth <= 1 || (!full && rng.Float64() < growLeaf) {
		return g.leaf(rng, definition, kind)
	}
	choices := g.functions(kind)
	if len(choices) == 0 {
		return g.leaf(rng, definition, kind)
	}
	c := choices[rng.Intn(len(choices))]
	kids := make([]*node, len(c.args))
	for i, k := range c.args {
		kids[i] = g.grow(rng, definition, k, depth-1, full)
	}
	return applyNode(c.op, kind, kids...)
}

type choice struct {
	op   string
	args []Kind
}

// functions are what may be drawn for a kind. A truth value is drawn as a comparison
// wherever there is one, never as an if over truth values: those say nothing that a
// comparison does not, and would be half of all that is drawn.
func (g *Grammar) functions(kind Kind) []choice {
	var found []choice
	for _, name := range g.Functions {
		for _, s := range primitives[name] {
			if s.result == kind {
				found = append(found, choice{name, s.args})
			}
		}
	}
	compares := func(c choice) bool { return c.args[0] == Real }
	if kind == Bool && slices.ContainsFunc(found, compares) {
		found = slices.DeleteFunc(found, func(c choice) bool { return c.op == "if" })
	}
	return found
}

// constantShare is the chance that a leaf is a constant.
const constantShare = 0.3

func (g *Grammar) leaf(rng *rand.Rand, definition int, kind Kind) *node {
	leaves := g.leaves(definition, kind)
	if kind == Bool {
		// A comparison of leaves, if the grammar has one, says more than a constant.
		if len(leaves) > 0 && rng.Float64() < 0.5 {
			return leaves[rng.Intn(len(leaves))]
		}
		if c := g.comparison(rng, definition); c != nil {
			return c
		}
		return boolNode(rng.Intn(2) == 0)
	}
	if len(leaves) == 0 || (len(g.Constants) > 0 && rng.Float64() < constantShare) {
		return constantNode(g.constant(rng))
	}
	return leaves[rng.Intn(len(leaves))]
}

func (g *Grammar) comparison(rng *rand.Rand, definition int) *node {
	comparisons := slices.DeleteFunc(g.functions(Bool), func(c choice) bool { return c.args[0] != Real })
	if len(comparisons) == 0 {
		return nil
	}
	c := comparisons[0]
	if len(comparisons) > 1 {
		c = comparisons[rng.Intn(len(comparisons))]
	}
	return applyNode(c.op, Bool, g.leaf(rng, definition, Real), g.leaf(rng, definition, Real))
}

func (g *Grammar) constant(rng *rand.Rand) float64 {
	c := g.Constants[rng.Intn(len(g.Constants))]
	if c.Integer {
		low := math.Ceil(c.Low)
		return low + math.Floor(rng.Float64()*(math.Floor(c.High)-low+1))
	}
	return round4(c.Low + rng.Float64()*(c.High-c.Low))
}
