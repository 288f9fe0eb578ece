package population

import (
	"math/rand"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"jird/snapshots/sexpr"
)

func packerGrammar(t testing.TB) *Grammar {
	t.Helper()
	gap, err := sexpr.Read([]byte("(- remaining item)"))
	if err != nil {
		t.Fatal(err)
	}
	g := &Grammar{
		Definitions: []Definition{{Name: "priority", Params: []Param{{"item", Real}, {"remaining", Real}}}},
		Functions:   []string{"+", "-", "*", "/", "min", "max", "if", "<", "and", "not"},
		Leaves:      []sexpr.Value{sexpr.Symbol("item"), sexpr.Symbol("remaining"), gap},
		Constants:   []ConstantRange{{-10, 10, true}, {-1, 1, false}}, MaxDepth: 7, MaxSize: 30,
	}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	return g
}

// Whatever is drawn or varied is well typed, within the limits, and read back as
// itself.
func TestGenomesStayInTheGrammar(t *testing.T) {
	g := packerGrammar(t)
	operators := []func(*rand.Rand, *Genome, *Genome) *Genome{
		g.Crossover, g.SizeFair,
		func(r *rand.Rand, a, _ *Genome) *Genome { return g.Subtree(r, a) },
		func(r *rand.Rand, a, _ *Genome) *Genome { return g.Point(r, a) },
		func(r *rand.Rand, a, _ *Genome) *Genome { return g.Constant(r, a) },
		func(r *rand.Rand, a, _ *Genome) *Genome { return g.Hoist(r, a) },
	}
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		a, b := g.Random(rng), g.Random(rng)
		for range 20 {
			a, b = operators[rng.Intn(len(operators))](rng, a, b), a
			if a.Size() > g.MaxSize || a.Depth() > g.MaxDepth {
				t.Fatalf("size %d, depth %d: %s", a.Size(), a.Depth(), a.Expr())
			}
			for _, text := range []string{a.Expr(), a.Source()} {
				back, err := g.Parse([]byte(text))
				if err != nil || back.Hash() != a.Hash() {
					t.Fatalf("%s came back otherwise (%v)", text, err)
				}
			}
		}
	})
}

func TestEveryOperatorChanges(t *testing.T) {
	g := packerGrammar(t)
	rng := rand.New(rand.NewSource(1))
	for name, vary := range map[string]func(a, b *Genome) *Genome{
		"crossover": func(a, b *Genome) *Genome { return g.Crossover(rng, a, b) },
		"size-fair": func(a, b *Genome) *Genome { return g.SizeFair(rng, a, b) },
		"subtree":   func(a, _ *Genome) *Genome { return g.Subtree(rng, a) },
		"point":     func(a, _ *Genome) *Genome { return g.Point(rng, a) },
		"constant":  func(a, _ *Genome) *Genome { return g.Constant(rng, a) },
		"hoist":     func(a, _ *Genome) *Genome { return g.Hoist(rng, a) },
	} {
		changed := 0
		for range 200 {
			a := g.Random(rng)
			if vary(a, g.Random(rng)).Hash() != a.Hash() {
				changed++
			}
		}
		if changed < 40 {
			t.Errorf("%s changed %d of 200 genomes", name, changed)
		}
	}
}

func TestParse(t *testing.T) {
	g := packerGrammar(t)
	for text, want := range map[string]string{
		"(- item remaining)": "(- item remaining)",
		"(define (priority item remaining) (- item remaining))": "(- item remaining)",
		"5":                             "5.",
		"(- item)":                      "(- 0. item)",
		"(+ 1 2 3)":                     "(+ (+ 1. 2.) 3.)",
		"(if (< item 3) 1 (sqrt item))": "(if (< item 3.) 1. (sqrt item))",
	} {
		got, err := g.Parse([]byte(text))
		if err != nil || got.Expr() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"(expt item 2)":                 "expt is not a primitive",
		"capacity":                      "capacity is not one of its arguments",
		"(< item 3)":                    "answers a bool",
		"(if item 1 2)":                 "wrong type",
		"(sqrt 1 2)":                    "takes 1 arguments, not 2",
		"(define (priority a b) a)":     "must be named item",
		"(define (priority item) item)": "takes 1 arguments",
		`"text"`:                        "not an expression",
		"(lambda (x) x)":                "lambda is not a primitive",
		"":                              "priority is not defined",
	} {
		if got, err := g.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error that says %q", text, got, err, want)
		}
	}
}

func cohort(g *Grammar, t testing.TB, scores ...[]float64) []Measured {
	t.Helper()
	rng := rand.New(rand.NewSource(5))
	var all []Measured
	for _, s := range scores {
		m := Measured{Genome: g.Random(rng), Outcome: Outcome{Status: OK}}
		for _, v := range s {
			m.Outcome.Scores = append(m.Outcome.Scores, Score{v, 1})
		}
		if s == nil {
			m.Outcome.Status = Crash
		}
		all = append(all, m)
	}
	return all
}

func drawn(s Selector, n int) map[int]int {
	rng := rand.New(rand.NewSource(9))
	counts := map[int]int{}
	for range n {
		counts[s(rng)]++
	}
	return counts
}

func TestSelection(t *testing.T) {
	g := packerGrammar(t)
	// A specialist for each case, a generalist that is best at none, one that is
	// beaten everywhere, and a crash.
	all := cohort(g, t, []float64{0, 9}, []float64{9, 0}, []float64{3, 3}, []float64{10, 10}, nil)
	if got := drawn(Lexicase(all), 1000); got[0]+got[1] != 1000 || got[0] < 300 || got[1] < 300 {
		t.Errorf("lexicase drew %v: want the two specialists alone", got)
	}
	if got := drawn(EpsilonLexicase(all), 1000); got[2] == 0 || got[3] != 0 || got[4] != 0 {
		t.Errorf("epsilon-lexicase drew %v: want the generalist too, never the beaten", got)
	}
	if got := drawn(Tournament(all, 3), 1000); got[2] <= got[0] || got[2] <= got[3] || got[4] > got[3] {
		t.Errorf("tournament drew %v: want the best mean most often", got)
	}
	if got := drawn(Lexicase(cohort(g, t, nil, nil)), 10); len(got) == 0 {
		t.Error("a cohort of failures gives no parents")
	}
}

func TestShrinksAreShorter(t *testing.T) {
	g := packerGrammar(t)
	a, err := g.Parse([]byte("(+ (if (< item 3.) item item) (* 0. remaining))"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, s := range g.Shrinks(a) {
		if s.Size() >= a.Size() {
			t.Errorf("%s is not shorter", s.Expr())
		}
		found[s.Expr()] = true
	}
	for _, want := range []string{"(+ item (* 0. remaining))", "(+ (if (< item 3.) item item) 0.)", "(if (< item 3.) item item)"} {
		if !found[want] {
			t.Errorf("%s is not proposed", want)
		}
	}
}

func TestCheckSaysAllFaults(t *testing.T) {
	g := &Grammar{Functions: []string{"expt"}, Constants: []ConstantRange{{0, 5000, false}}, MaxDepth: 1, MaxSize: 1}
	err := g.Check()
	for _, want := range []string{"no definition", "expt", "5000", "max-depth", "max-size"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}
