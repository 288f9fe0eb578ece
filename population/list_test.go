package population

import (
	"math/rand"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"jird/snapshots/sexpr"
)

func listGrammar(t testing.TB, s Shape) *Grammar {
	t.Helper()
	g := &Grammar{Definitions: []Definition{{Name: "network", Result: List, Shape: &s}}, MaxDepth: 8, MaxSize: 40}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	return g
}

// Whatever is drawn or varied keeps the shape, and is read back as itself.
func TestListsKeepTheirShape(t *testing.T) {
	shapes := []Shape{
		{High: 7, Of: 2, Rising: true, Min: 1, Max: 12}, {Low: -3, High: 3, Of: 1, Max: 5}, {High: 1, Of: 3, Min: 8, Max: 8},
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := shapes[rapid.IntRange(0, len(shapes)-1).Draw(rt, "shape")]
		g := listGrammar(t, s)
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(rt, "seed")))
		operators := listOperators(g)
		a, b := g.Random(rng), g.Random(rng)
		for range 40 {
			a, b = operators[rng.Intn(len(operators))].vary(rng, a, b), a
			items := a.bodies[0].items
			if len(items) < s.Min || len(items) > s.Max {
				rt.Fatalf("%d items: %s", len(items), a.Expr())
			}
			for _, item := range items {
				if len(item) != s.Of || slices.Min(item) < s.Low || slices.Max(item) > s.High || (s.Rising && !rising(item)) {
					rt.Fatalf("%v is not of the shape: %s", item, a.Expr())
				}
			}
			for _, text := range []string{a.Expr(), a.Source()} {
				if back, err := g.Parse([]byte(text)); err != nil || back.Hash() != a.Hash() {
					rt.Fatalf("%s came back otherwise (%v)", text, err)
				}
			}
		}
	})
}

type listOperator struct {
	name string
	vary func(*rand.Rand, *Genome, *Genome) *Genome
}

func listOperators(g *Grammar) []listOperator {
	return []listOperator{
		{"crossover", g.Crossover}, {"size-fair", g.SizeFair},
		{"subtree", func(r *rand.Rand, a, _ *Genome) *Genome { return g.Subtree(r, a) }},
		{"point", func(r *rand.Rand, a, _ *Genome) *Genome { return g.Point(r, a) }},
		{"constant", func(r *rand.Rand, a, _ *Genome) *Genome { return g.Constant(r, a) }},
		{"hoist", func(r *rand.Rand, a, _ *Genome) *Genome { return g.Hoist(r, a) }},
	}
}

// Each operator does to a list what its comment says, and nothing else.
func TestOperatorsOnLists(t *testing.T) {
	g := listGrammar(t, Shape{High: 9, Of: 1, Max: 20})
	parse := func(text string) *Genome {
		made, err := g.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	mother, father := parse("'(1 1 1 1 1 1)"), parse("'(2 2 2 2)")
	count := func(made *Genome, n int64) (found int) {
		for _, item := range made.bodies[0].items {
			if item[0] == n {
				found++
			}
		}
		return found
	}
	for _, o := range listOperators(g) {
		changed := 0
		for seed := range int64(200) {
			made := o.vary(rand.New(rand.NewSource(seed)), mother, father)
			if made.Hash() != mother.Hash() {
				changed++
			}
			ones, size := count(made, 1), len(made.bodies[0].items)
			var ok bool
			switch o.name {
			case "crossover":
				ok = ones+count(made, 2) == size && (size == 4 || size == 6) // father's end, or none of it at his length
			case "size-fair":
				ok = size == 6 && ones+count(made, 2) == 6
			case "subtree":
				ok = (size == 7 && ones >= 6) || size == 6
			case "point", "constant":
				ok = size == 6 && ones >= 5
			case "hoist":
				ok = size == 5 && ones == 5
			}
			if !ok {
				t.Fatalf("%s made %s", o.name, made.Expr())
			}
		}
		if changed < 50 {
			t.Errorf("%s changed %d of 200", o.name, changed)
		}
	}
}

func TestShrinksOfAList(t *testing.T) {
	g := listGrammar(t, Shape{High: 9, Of: 1, Max: 20})
	whole, err := g.Parse([]byte("'(1 2 3)"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range g.Shrinks(whole) {
		got = append(got, s.Expr())
	}
	slices.Sort(got)
	if want := "(quote (1 2)) (quote (1 3)) (quote (2 3))"; strings.Join(got, " ") != want {
		t.Fatalf("got %v, want %s", got, want)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	g := listGrammar(t, Shape{High: 7, Of: 2, Rising: true, Min: 1, Max: 12})
	for text, want := range map[string]string{
		"(+ 1 2)": "written as '", "'5": "a list of at most", "'(1)": "of 2 whole numbers", "'((0 8))": "from 0 to 7",
		"'((0 1.5))": "whole", "'((3 3))": "above the one before", "'((4 3))": "above the one before", "'((0 1 2))": "of 2 whole numbers",
		"(define (network x) '())": "takes 1 arguments",
	} {
		if _, err := g.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := g.Parse([]byte("'()")); err != nil {
		t.Errorf("what is given may be shorter than what is drawn: %v", err)
	}
	for _, bad := range []Shape{{Low: 2, High: 1, Of: 1, Max: 3}, {High: 1, Of: 3, Rising: true, Max: 3}, {High: 1, Of: 1, Min: 4, Max: 3}, {High: 1, Of: 0, Max: 3}, {High: 1, Of: 1}} {
		one := &Grammar{Definitions: []Definition{{Name: "network", Result: List, Shape: &bad}}, MaxDepth: 8, MaxSize: 40}
		if one.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// A grammar of truth values alone needs no number: each genome is a table over what it sees.
func TestGrammarOfTruthValues(t *testing.T) {
	g := &Grammar{
		Definitions: []Definition{{Name: "move", Params: []Param{{"mine", Bool}, {"theirs", Bool}}, Result: Bool}},
		Functions:   []string{"and", "or", "not", "if"}, Leaves: []sexpr.Value{sexpr.Symbol("mine"), sexpr.Symbol("theirs")}, MaxDepth: 6, MaxSize: 30,
	}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	distinct := map[string]bool{}
	for range 200 {
		a, b := g.Random(rng), g.Random(rng)
		for _, o := range listOperators(g) {
			a = o.vary(rng, a, b)
		}
		distinct[a.Hash()] = true
		if _, err := g.Parse([]byte(a.Expr())); err != nil {
			t.Fatal(a.Expr(), err)
		}
	}
	if len(distinct) < 50 {
		t.Errorf("%d distinct genomes of 200", len(distinct))
	}
	g.Functions = append(g.Functions, "<")
	if err := g.Check(); err == nil || !strings.Contains(err.Error(), "no leaf of type real") {
		t.Errorf("a comparison without numbers: %v", err)
	}
}
