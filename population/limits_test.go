package population

import (
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jird/snapshots/sexpr"
)

func read(t testing.TB, text string) sexpr.Value {
	t.Helper()
	v, err := sexpr.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCheckRefusesWhatCannotBeDrawn(t *testing.T) {
	for want, spoil := range map[string]func(*Grammar){
		"hold no integer":          func(g *Grammar) { g.Constants = []ConstantRange{{0.2, 0.8, true}} },
		"low must be at most high": func(g *Grammar) { g.Constants = []ConstantRange{{math.NaN(), 1, false}} },
		"beyond ±1000":             func(g *Grammar) { g.Leaves = append(g.Leaves, read(t, "(* 1001. item)")) },
		"over max-size 3":          func(g *Grammar) { g.MaxSize, g.Leaves = 3, []sexpr.Value{read(t, "(+ item (+ item item))")} },
		"evolved twice":            func(g *Grammar) { g.Definitions = append(g.Definitions, g.Definitions[0]) },
		"min already means":        func(g *Grammar) { g.Definitions[0].Params[0].Name = "min" },
		"it has no name":           func(g *Grammar) { g.Definitions[0].Name = "" },
		"use only primitives":      func(g *Grammar) { g.Leaves = append(g.Leaves, read(t, "capacity")) },
	} {
		g := packerGrammar(t)
		spoil(g)
		if err := g.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want an error that says %q", err, want)
		}
	}
}

func TestConstantsStayInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(-1000, 998).Draw(t, "low")
		high := rapid.Float64Range(low+1, 1000).Draw(t, "high")
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		whole := &Grammar{Constants: []ConstantRange{{low, high, true}}}
		for range 50 {
			if c := whole.constant(rng); c != math.Trunc(c) || c < low || c > high {
				t.Fatalf("%v is not an integer from %v to %v", c, low, high)
			}
		}
	})
}

// A leaf that names the parameters of one definition is drawn in that one alone.
func TestLeavesBelongToTheirDefinition(t *testing.T) {
	g := &Grammar{
		Definitions: []Definition{{Name: "f", Params: []Param{{"x", Real}}}, {Name: "p", Params: []Param{{"y", Real}}, Result: Bool}},
		Functions:   []string{"+", "<", ">"}, Leaves: []sexpr.Value{read(t, "x"), read(t, "(* y y)")}, MaxDepth: 6, MaxSize: 40,
	}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	compared := map[string]bool{}
	for range 200 {
		made := g.Random(rng)
		back, err := g.Parse([]byte(made.Expr()))
		if err != nil || back.Hash() != made.Hash() {
			t.Fatalf("%s: %v", made.Expr(), err)
		}
		compared[made.bodies[1].op] = true
	}
	if !compared["<"] || !compared[">"] {
		t.Errorf("of the comparisons only %v are drawn", compared)
	}
}

func TestParseFoldsSingleArguments(t *testing.T) {
	g := packerGrammar(t)
	for text, want := range map[string]string{"(+ item)": "item", "(min item)": "item", "(if (and #t) 1 2)": "(if #t 1. 2.)"} {
		if got, err := g.Parse([]byte(text)); err != nil || got.Expr() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"(+)", "(+ #t)", "(and item)"} {
		if got, err := g.Parse([]byte(text)); err == nil {
			t.Errorf("%s became %s", text, got.Expr())
		}
	}
}

// The donors of size-fair crossover are balanced: over many draws the mean
// change of size is zero (Langdon 2000).
func TestFairChoiceIsFair(t *testing.T) {
	sized := func(sizes ...int) (all []*node) {
		for _, s := range sizes {
			all = append(all, &node{size: s})
		}
		return all
	}
	rng := rand.New(rand.NewSource(1))
	const removed, draws = 7, 200_000
	change := 0
	for range draws {
		from := fairChoice(rng, removed, sized(1, 1, 1, 2, 6), sized(7, 7), sized(8, 15))
		change += from[rng.Intn(len(from))].size - removed
	}
	if mean := float64(change) / draws; math.Abs(mean) > 0.05 {
		t.Errorf("the mean change of size is %.3f", mean)
	}
}

// The smallest proposals are there although there are more than are returned,
// and a large genome costs no more than the caps allow.
func TestShrinksAreBounded(t *testing.T) {
	g := packerGrammar(t)
	a, err := g.Parse([]byte(strings.Repeat("(+ item (* remaining ", 200) + "0.4371" + strings.Repeat("))", 200)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	found := g.Shrinks(a)
	if len(found) != maxShrinks || found[0].Size() != 1 || found[maxShrinks-1].Size() > a.Size()/2 {
		t.Errorf("%d proposals, of %d to %d nodes", len(found), found[0].Size(), found[len(found)-1].Size())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Taking any proposal is progress, so simplification ends.
func TestShrinksGetSmaller(t *testing.T) {
	g := packerGrammar(t)
	order := func(a, b *Genome) bool {
		return a.Size() < b.Size() || (a.Size() == b.Size() && len(a.Expr()) < len(b.Expr()))
	}
	rapid.Check(t, func(t *rapid.T) {
		a := g.Random(rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))))
		found := g.Shrinks(a)
		for _, s := range found {
			if !order(s, a) {
				t.Fatalf("%s is no smaller than %s", s.Expr(), a.Expr())
			}
		}
		if !slices.IsSortedFunc(found, func(a, b *Genome) int { return a.Size() - b.Size() }) {
			t.Fatalf("the proposals for %s are not in order", a.Expr())
		}
	})
	a, err := g.Parse([]byte("(* item 0.4371)"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(g.Shrinks(a), func(s *Genome) bool { return s.Expr() == "(* item .4)" || s.Expr() == "(* item 0.4)" }) {
		t.Error("no constant with fewer digits is proposed")
	}
}
