package population

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"jird/snapshots/sexpr"
)

// node is one expression. Nodes are immutable and shared between genomes.
type node struct {
	op    string // a primitive, a parameter, or "" for a constant
	value float64
	kind  Kind
	kids  []*node
	items [][]int64 // of a list
	size  int
	depth int
}

func leafNode(name string, kind Kind) *node { return &node{op: name, kind: kind, size: 1, depth: 1} }

func constantNode(value float64) *node {
	if value == 0 {
		value = 0 // -0. and 0. are one constant
	}
	return &node{value: value, kind: Real, size: 1, depth: 1}
}

func boolNode(value bool) *node {
	n := &node{kind: Bool, size: 1, depth: 1}
	if value {
		n.value = 1
	}
	return n
}

func applyNode(op string, kind Kind, kids ...*node) *node {
	n := &node{op: op, kind: kind, kids: kids, size: 1, depth: 1}
	for _, k := range kids {
		n.size += k.size
		n.depth = max(n.depth, k.depth+1)
	}
	return n
}

func (n *node) constant() bool { return n.op == "" }

func (n *node) expr() sexpr.Value {
	switch {
	case n.kind == List:
		return n.list()
	case n.constant() && n.kind == Bool:
		return sexpr.Bool(n.value != 0)
	case n.constant():
		return sexpr.Float(n.value)
	case len(n.kids) == 0:
		return sexpr.Symbol(n.op)
	}
	list := sexpr.List{sexpr.Symbol(n.op)}
	for _, k := range n.kids {
		list = append(list, k.expr())
	}
	return list
}

// at returns the i-th node in prefix order.
func (n *node) at(i int) *node {
	for i > 0 {
		i--
		for _, k := range n.kids {
			if i < k.size {
				n = k
				break
			}
			i -= k.size
		}
	}
	return n
}

// with returns a copy in which the i-th node in prefix order is replaced.
func (n *node) with(i int, by *node) *node {
	if i == 0 {
		return by
	}
	i--
	kids := make([]*node, len(n.kids))
	copy(kids, n.kids)
	for k, kid := range kids {
		if i < kid.size {
			kids[k] = kid.with(i, by)
			break
		}
		i -= kid.size
	}
	return applyNode(n.op, n.kind, kids...)
}

// Genome is one typed expression or list for each of a grammar's definitions, or open
// code. It is immutable and safe for concurrent use.
type Genome struct {
	grammar     *Grammar
	bodies      []*node       // nil where it is open
	forms       []sexpr.Value // of open code
	definitions []sexpr.Text  // written once: a genome is sent to many shadows
	hash        string
}

func newGenome(g *Grammar, bodies []*node) *Genome {
	genome := &Genome{grammar: g, bodies: bodies}
	sum := sha256.New()
	for i := range g.Definitions {
		text := canonical(genome.definition(i))
		genome.definitions = append(genome.definitions, sexpr.Text(text))
		sum.Write([]byte(text + "\n"))
	}
	genome.hash = hex.EncodeToString(sum.Sum(nil))
	return genome
}

// Hash is the hexadecimal SHA-256 of the canonical definitions: a genome's
// identity.
func (g *Genome) Hash() string { return g.hash }

// Grammar is the language that the genome is of.
func (g *Genome) Grammar() *Grammar { return g.grammar }

// Size is the number of nodes of all definitions, of a list that of its items, of open
// code that of its atoms and lists.
func (g *Genome) Size() int {
	size := 0
	for _, form := range g.forms {
		n, _ := measure(form)
		size += n
	}
	for _, b := range g.bodies {
		size += b.size
	}
	return size
}

// Depth is that of the deepest definition; a leaf has depth 1.
func (g *Genome) Depth() int {
	depth := 0
	for _, form := range g.forms {
		_, d := measure(form)
		depth = max(depth, d)
	}
	for _, b := range g.bodies {
		depth = max(depth, b.depth)
	}
	return depth
}

// Definitions returns (define (name arg ...) body) for each definition, in the
// grammar's order, of open code each of its forms. The slice is the genome's own.
func (g *Genome) Definitions() []sexpr.Text { return g.definitions }

func (g *Genome) definition(i int) sexpr.Value {
	d := g.grammar.Definitions[i]
	head := sexpr.List{sexpr.Symbol(d.Name)}
	for _, p := range d.Params {
		head = append(head, sexpr.Symbol(p.Name))
	}
	return sexpr.List{sexpr.Symbol("define"), head, g.bodies[i].expr()}
}

// Expr is the canonical body if the grammar has one definition, else all
// definitions, one on a line: Grammar.Parse reads it back. Of open code, which has no
// short form, it is the word open and digits of its hash.
func (g *Genome) Expr() string {
	if g.grammar.Open {
		return "open " + g.hash[:12]
	}
	if len(g.bodies) == 1 {
		return canonical(g.bodies[0].expr())
	}
	return g.Source()
}

// Source is all definitions in canonical form, one on a line. Grammar.Parse reads it back.
func (g *Genome) Source() string {
	var lines []string
	for _, d := range g.definitions {
		lines = append(lines, string(d))
	}
	return strings.Join(lines, "\n")
}

func canonical(v sexpr.Value) string {
	text, err := sexpr.Canonical(v)
	if err != nil {
		panic("population: a genome without a canonical form: " + err.Error())
	}
	return string(text)
}

// round4 rounds to four significant digits, so that equal constants are equal
// genomes and stay readable.
func round4(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return math.Max(-MaxConstant, math.Min(MaxConstant, r))
}
