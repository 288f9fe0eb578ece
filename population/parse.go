package population

import (
	"fmt"
	"math"

	"jird/snapshots/sexpr"
)

// Caps on a genome that is given, not drawn: it may exceed the grammar's own
// limits, but not these.
const (
	maxGivenSize  = 10_000
	maxGivenDepth = 500
)

// Parse reads a genome: all definitions in any order, or, where the grammar has
// one definition, just its body; where genomes are open, all forms of one. Exact integers become flonums; + - * min max and
// or may take one argument or more. The primitives and types
// are checked; whether the grammar would draw it is not.
func (g *Grammar) Parse(src []byte) (*Genome, error) {
	forms, err := sexpr.ReadAll(src)
	if err != nil {
		return nil, err
	}
	return g.FromForms(forms)
}

// FromForms is Parse for what has been read already. Forms that are definitions
// of other names are refused.
func (g *Grammar) FromForms(forms []sexpr.Value) (*Genome, error) {
	if g.Open {
		return openGenome(g, forms)
	}
	if len(forms) == 1 && len(g.Definitions) == 1 && !isDefine(forms[0]) {
		body, err := g.body(forms[0], g.Definitions[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.Definitions[0].Name, err)
		}
		return newGenome(g, []*node{body}), nil
	}
	bodies := make([]*node, len(g.Definitions))
	for _, form := range forms {
		i, body, err := g.definition(form)
		if err != nil {
			return nil, err
		}
		if bodies[i] != nil {
			return nil, fmt.Errorf("%s is defined twice", g.Definitions[i].Name)
		}
		bodies[i] = body
	}
	for i, body := range bodies {
		if body == nil {
			return nil, fmt.Errorf("%s is not defined: write %s", g.Definitions[i].Name, g.Definitions[i].head())
		}
	}
	return newGenome(g, bodies), nil
}

func (d Definition) head() string {
	text := "(define (" + d.Name
	for _, p := range d.Params {
		text += " " + p.Name
	}
	return text + ") ...)"
}

func isDefine(form sexpr.Value) bool {
	list, ok := form.(sexpr.List)
	return ok && len(list) > 0 && list[0] == sexpr.Symbol("define")
}

// Defines returns the index of the definition that a top-level form gives, or
// -1 if the form defines nothing that is evolved.
func (g *Grammar) Defines(form sexpr.Value) int {
	list, ok := form.(sexpr.List)
	if !ok || !isDefine(form) || len(list) < 2 {
		return -1
	}
	name := list[1]
	if head, ok := name.(sexpr.List); ok && len(head) > 0 {
		name = head[0]
	}
	for i, d := range g.Definitions {
		if name == sexpr.Symbol(d.Name) {
			return i
		}
	}
	return -1
}

func (g *Grammar) definition(form sexpr.Value) (int, *node, error) {
	i := g.Defines(form)
	if i < 0 {
		return 0, nil, fmt.Errorf("not a definition of what is evolved: write %s", g.Definitions[0].head())
	}
	d := g.Definitions[i]
	list := form.(sexpr.List)
	head, ok := list[1].(sexpr.List)
	if !ok || len(list) != 3 {
		return 0, nil, fmt.Errorf("%s: one expression must follow its arguments: write %s", d.Name, d.head())
	}
	if len(head)-1 != len(d.Params) {
		return 0, nil, fmt.Errorf("%s takes %d arguments here, the experiment says %d: write %s", d.Name, len(head)-1, len(d.Params), d.head())
	}
	for k, p := range d.Params {
		if head[k+1] != sexpr.Symbol(p.Name) {
			return 0, nil, fmt.Errorf("%s: argument %d must be named %s: write %s", d.Name, k+1, p.Name, d.head())
		}
	}
	body, err := g.body(list[2], d)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	return i, body, nil
}

func (g *Grammar) body(v sexpr.Value, d Definition) (*node, error) {
	if d.Shape != nil {
		return d.Shape.parse(v)
	}
	n, err := g.expression(v, d)
	if err != nil {
		return nil, err
	}
	if n.kind != d.Result {
		return nil, fmt.Errorf("it answers a %s, the experiment says %s", n.kind, d.Result)
	}
	if n.size > maxGivenSize || n.depth > maxGivenDepth {
		return nil, fmt.Errorf("%d nodes and depth %d are over the limits of %d and %d", n.size, n.depth, maxGivenSize, maxGivenDepth)
	}
	return n, nil
}

func (g *Grammar) expression(v sexpr.Value, d Definition) (*node, error) {
	switch v := v.(type) {
	case sexpr.Float:
		return constantNode(float64(v)), nil
	case sexpr.Int:
		f, _ := v.Big().Float64()
		if math.IsInf(f, 0) {
			return nil, fmt.Errorf("a constant is too large")
		}
		return constantNode(f), nil
	case sexpr.Bool:
		return boolNode(bool(v)), nil
	case sexpr.Symbol:
		for _, p := range d.Params {
			if p.Name == string(v) {
				return leafNode(p.Name, p.Kind), nil
			}
		}
		return nil, fmt.Errorf("%s is not one of its arguments", v)
	case sexpr.List:
		return g.application(v, d)
	}
	text, _ := sexpr.Canonical(v)
	return nil, fmt.Errorf("%s is not an expression of the grammar", text)
}

func (g *Grammar) application(list sexpr.List, d Definition) (*node, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("() is not an expression")
	}
	op, ok := list[0].(sexpr.Symbol)
	signatures := primitives[string(op)]
	if !ok || signatures == nil {
		text, _ := sexpr.Canonical(list[0])
		return nil, fmt.Errorf("%s is not a primitive of the grammar", text)
	}
	var kids []*node
	for _, arg := range list[1:] {
		kid, err := g.expression(arg, d)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	return apply(string(op), kids, signatures)
}

// apply makes a node of a call, with more arguments than two taken in pairs
// from the left, as Scheme does; (+ x) and its like are x.
func apply(op string, kids []*node, signatures []signature) (*node, error) {
	switch op {
	case "-":
		if len(kids) == 1 {
			kids = []*node{constantNode(0), kids[0]}
		}
		fallthrough
	case "+", "*", "min", "max", "and", "or":
		if want := signatures[0].args[0]; len(kids) == 1 && kids[0].kind == want {
			return kids[0], nil
		}
		for len(kids) > 2 {
			first, err := apply(op, kids[:2], signatures)
			if err != nil {
				return nil, err
			}
			kids = append([]*node{first}, kids[2:]...)
		}
	}
	for _, s := range signatures {
		if matches(kids, s.args) {
			return applyNode(op, s.result, kids...), nil
		}
	}
	if len(kids) != len(signatures[0].args) {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", op, len(signatures[0].args), len(kids))
	}
	return nil, fmt.Errorf("%s has an argument of the wrong type (real where bool is wanted, or the reverse)", op)
}

func matches(kids []*node, args []Kind) bool {
	if len(kids) != len(args) {
		return false
	}
	for i, k := range kids {
		if k.kind != args[i] {
			return false
		}
	}
	return true
}
