// Package population holds genomes: typed expressions over a closed grammar of
// total, constant-time primitives, and lists of whole numbers. It draws, varies,
// selects and shortens them.
//
// Everything here is pure and seeded: randomness is a parameter, and the same
// seed gives the same genomes. Nothing here evaluates a genome: that is done in
// Scheme, by whoever implements Evaluator.
package population

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"jird/snapshots/sexpr"
)

// Kind is the type of an expression.
type Kind uint8

// The kinds: flonums, truth values, and lists, which are data and no part of an
// expression.
const (
	Real Kind = iota
	Bool
	List
)

func (k Kind) String() string { return [...]string{"real", "bool", "list"}[k] }

// KindOf reads what String writes.
func KindOf(name string) (Kind, error) {
	for _, k := range []Kind{Real, Bool, List} {
		if name == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("type %q is not known: use real, bool or list", name)
}

// Param is an argument of an evolved definition.
type Param struct {
	Name string
	Kind Kind
}

// Definition is the signature of one evolved definition.
type Definition struct {
	Name   string
	Params []Param
	Result Kind
	Shape  *Shape // of a List, else nil
}

// ConstantRange is where drawn constants come from, uniformly; those that are
// not integers are rounded to four significant digits.
type ConstantRange struct {
	Low, High float64
	Integer   bool
}

// MaxConstant bounds what a grammar may draw: a policy should be found, not
// written into a constant.
const MaxConstant = 1000

// Grammar is the language that genomes are drawn from. It must not change once
// it is in use; then all its methods are safe for concurrent use.
type Grammar struct {
	Definitions []Definition
	Functions   []string      // primitives that may be drawn
	Leaves      []sexpr.Value // what may stand at a leaf: a parameter, or an expression such as (- remaining item)
	Constants   []ConstantRange
	MaxDepth    int  // of one definition; a leaf has depth 1
	MaxSize     int  // nodes of one definition
	Open        bool // genomes are any Scheme: nothing can be drawn or varied
}

// signature is the type of a primitive.
type signature struct {
	result Kind
	args   []Kind
}

// primitives is the closed, trusted list. Their meaning is in the prelude; a
// name has two signatures where both branches may be of either kind.
var primitives = map[string][]signature{
	"+": {{Real, []Kind{Real, Real}}}, "-": {{Real, []Kind{Real, Real}}},
	"*": {{Real, []Kind{Real, Real}}}, "/": {{Real, []Kind{Real, Real}}},
	"min": {{Real, []Kind{Real, Real}}}, "max": {{Real, []Kind{Real, Real}}},
	"sqrt": {{Real, []Kind{Real}}}, "abs": {{Real, []Kind{Real}}},
	"if": {{Real, []Kind{Bool, Real, Real}}, {Bool, []Kind{Bool, Bool, Bool}}},
	"<":  {{Bool, []Kind{Real, Real}}}, "<=": {{Bool, []Kind{Real, Real}}},
	">": {{Bool, []Kind{Real, Real}}}, ">=": {{Bool, []Kind{Real, Real}}},
	"=": {{Bool, []Kind{Real, Real}}}, "and": {{Bool, []Kind{Bool, Bool}}},
	"or": {{Bool, []Kind{Bool, Bool}}}, "not": {{Bool, []Kind{Bool}}},
}

// Primitives lists the names of all primitives, sorted.
func Primitives() []string {
	var names []string
	for name := range primitives {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check returns all faults of the grammar at once, each with its cure.
func (g *Grammar) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(g.Definitions) == 0 {
		fault("no definition is to be evolved: name at least one")
	}
	for _, name := range g.Functions {
		if primitives[name] == nil {
			fault("function %q is not a primitive: use some of %s", name, strings.Join(Primitives(), " "))
		}
	}
	for _, c := range g.Constants {
		switch {
		case !(c.Low <= c.High) || math.Abs(c.Low) > MaxConstant || math.Abs(c.High) > MaxConstant:
			fault("constants from %v to %v: low must be at most high, both within ±%d", c.Low, c.High, MaxConstant)
		case c.Integer && math.Ceil(c.Low) > math.Floor(c.High):
			fault("constants from %v to %v hold no integer: widen the range or drop integer", c.Low, c.High)
		}
	}
	if g.MaxDepth < 2 || g.MaxDepth > 50 {
		fault("max-depth %d: use 2 to 50", g.MaxDepth)
	}
	if g.MaxSize < 3 || g.MaxSize > 1000 {
		fault("max-size %d: use 3 to 1000", g.MaxSize)
	}
	for i := range g.Definitions {
		faults = append(faults, g.checkDefinition(i)...)
	}
	for _, leaf := range g.Leaves {
		if err := g.checkLeaf(leaf); err != nil {
			text, _ := sexpr.Canonical(leaf)
			fault("leaf %s %w", text, err)
		}
	}
	return errors.Join(faults...)
}

func (g *Grammar) checkDefinition(i int) (faults []error) {
	d := g.Definitions[i]
	if err := checkName(d.Name); err != nil {
		faults = append(faults, fmt.Errorf("definition %d: %w", i+1, err))
	}
	if slices.ContainsFunc(g.Definitions[:i], func(e Definition) bool { return e.Name == d.Name }) {
		faults = append(faults, fmt.Errorf("%s is to be evolved twice: name it once", d.Name))
	}
	seen := map[string]bool{}
	for k, p := range d.Params {
		if err := checkName(p.Name); err != nil {
			faults = append(faults, fmt.Errorf("%s: parameter %d: %w", d.Name, k+1, err))
		}
		if seen[p.Name] {
			faults = append(faults, fmt.Errorf("%s has two parameters named %s: rename one", d.Name, p.Name))
		}
		seen[p.Name] = true
	}
	if d.Shape != nil {
		return append(faults, d.Shape.check(d)...)
	}
	if g.asksReal(d) && len(g.leaves(i, Real)) == 0 && len(g.Constants) == 0 {
		faults = append(faults, fmt.Errorf("%s has no leaf of type real: add leaves or constants", d.Name))
	}
	return faults
}

// asksReal says whether an expression of a definition may have to have a real part.
func (g *Grammar) asksReal(d Definition) bool {
	return d.Result == Real || slices.ContainsFunc(g.functions(Bool), func(c choice) bool { return slices.Contains(c.args, Real) })
}

// checkName refuses what would mean something else inside an expression.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it has no name: give it one")
	case primitives[name] != nil || name == "define":
		return fmt.Errorf("%s already means something in a policy: rename it", name)
	}
	return nil
}

// checkLeaf says what is wrong with a leaf, to follow its text. It may name the
// parameters of one definition only, so it is read under each.
func (g *Grammar) checkLeaf(leaf sexpr.Value) error {
	for _, d := range g.Definitions {
		n, err := g.expression(leaf, d)
		if err != nil {
			continue
		}
		if n.size > g.MaxSize || n.depth > g.MaxDepth {
			return fmt.Errorf("has %d nodes and depth %d, over max-size %d or max-depth %d: shorten it or raise them", n.size, n.depth, g.MaxSize, g.MaxDepth)
		}
		for i := range n.size {
			if c := n.at(i); c.constant() && math.Abs(c.value) > MaxConstant {
				return fmt.Errorf("has a constant beyond ±%d: a policy should be found, not written into the grammar", MaxConstant)
			}
		}
		return nil
	}
	return errors.New("is not an expression over the parameters of any definition: use only primitives and parameters")
}

// leaves returns the leaf expressions of a kind that a definition can use.
func (g *Grammar) leaves(definition int, kind Kind) []*node {
	var found []*node
	for _, leaf := range g.Leaves {
		if n, err := g.expression(leaf, g.Definitions[definition]); err == nil && n.kind == kind {
			found = append(found, n)
		}
	}
	return found
}
