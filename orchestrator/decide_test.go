package orchestrator

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"jird/orchestrator/promote"
	"jird/population"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// alone is (f case) over the case, with a failure where a case asks for one.
const alone = `(define (fitness-score case) (if (and (= case 7) (< (f 0) 0)) (let loop () (f 1) (loop)) (cons (+ 1000 (f case)) 10)))`

func TestEachIsTheSameInAnyOrder(t *testing.T) {
	p := openPool(t, alone, 20*time.Second, 12, 4)
	b := bench(p)
	pair := genomes(t, "(* x x)", "(+ x -1)")
	plain, err := b.MeasureEach(t.Context(), []int{3, 0, 6}, nil, pair...)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(5) {
		shuffled, err := b.MeasureEach(t.Context(), []int{3, 0, 6}, rand.New(rand.NewPCG(seed, 0)), pair...)
		if err != nil {
			t.Fatal(err)
		}
		for g := range pair {
			for i := range shuffled[g] {
				a, b := plain[g][i], shuffled[g][i]
				if a.Status != b.Status || a.Steps != b.Steps || !slices.Equal(a.Scores, b.Scores) {
					t.Errorf("seed %d, genome %d, case %d: %+v, %+v", seed, g, i, a, b)
				}
			}
		}
	}
	if plain[0][0].Scores[0].Num != 1016 || plain[0][1].Scores[0].Num != 1001 || plain[1][2].Status != population.Fuel || plain[1][1].Status != population.OK {
		t.Errorf("%+v", plain)
	}
}

// judged compares a winner with x as the incumbent on 60 cases.
func judged(t *testing.T, referee, winner string) *Decision {
	t.Helper()
	p := openPool(t, referee, 20*time.Second, 60, 4)
	pair := genomes(t, "x", winner)
	d := &Decision{
		Incumbent: pair[0].Source(), Winner: pair[1].Source(), Plan: promote.NewPlan(0.01, 0.05, 0.8, 60, 11),
		Guardrails: []promote.Guardrail{promote.Failures(), promote.Steps(1000)},
	}
	if err := d.compare(inPairs(t.Context(), bench(p), d.Plan, caseOrder(d.Plan, 60), pair[0], pair[1])); err != nil {
		t.Fatal(err)
	}
	if n := d.Looks[len(d.Looks)-1].N; n != len(d.Observations) {
		t.Errorf("%d observations for a last look at %d", len(d.Observations), n)
	}
	return d
}

// An early decision saves the cases that are left.
func TestCompareStops(t *testing.T) {
	plain := "(define (fitness-score case) (cons (+ 100 (f case)) 10))"
	for _, c := range []struct {
		name, referee, winner string
		stop                  promote.Stop
		n                     int // 0: any
		says                  string
	}{
		{"better", plain, "(+ x -50)", promote.Better, 10, "better: on 10 unseen cases"},
		{"worse", plain, "(+ x 50)", promote.Worse, 10, "worse: on 10"},
		{"equal behaviour", plain, "(* x 1)", promote.Inconclusive, 60, "inconclusive at 60"},
		{"same genome", plain, "x", promote.Same, 10, "nothing better than the incumbent"},
		{"fails once", strings.Replace(alone, "(= case 7)", "(< case 30)", 1), "(+ x -50)", promote.Vetoed, 0, "vetoed: failures: on case"},
		{"too many steps", "(define (fitness-score case) (if (< (f 0) 0) (let loop ((i 0)) (if (< i 100) (begin (f 1) (loop (+ i 1)))))) (cons (+ 100 (f case)) 10))", "(+ x -50)", promote.Vetoed, 10, "vetoed: steps: on case"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := judged(t, c.referee, c.winner)
			if d.Stop != c.stop || c.n > 0 && len(d.Observations) != c.n || !strings.Contains(d.Reason, c.says) {
				t.Errorf("%s after %d cases: %s", d.Stop, len(d.Observations), d.Reason)
			}
		})
	}
}

func TestCaseOrderIsAPermutationBySeed(t *testing.T) {
	p := promote.NewPlan(0.01, 0.05, 0.8, 50, 3)
	a, b := caseOrder(p, 50), caseOrder(p, 50)
	p.Seed = 4
	c := caseOrder(p, 50)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Errorf("%v %v %v", a, b, c)
	}
	slices.Sort(a)
	for i, v := range a {
		if i != v {
			t.Fatalf("%v", a)
		}
	}
}

// confirmed is what becomes of a promotion of x-50 whose image holds POLICY.
func confirmed(t *testing.T, policy string) *Decision {
	t.Helper()
	vault, err := snapshots.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	const referee = `(define (fitness-cases recipe count seed) (let loop ((i count) (l '())) (if (= i 0) l (loop (- i 1) (cons (cons (number->string i) i) l)))))
(define (fitness-score case) (cons (+ 100 (f case)) 10))`
	id, err := vault.Put(snapshots.Image{Name: "a", Files: []snapshots.File{
		{Path: "agent.scm", Data: []byte("(define (agent-handle r) r)")}, {Path: "fitness.scm", Data: []byte(referee)}, {Path: "p.scm", Data: []byte("(define (f x) " + policy + ")")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Deps: Deps{Vault: vault}, Plan: Plan{Evolved: "p.scm", Fuel: 1000, Workers: 2, Holdout: Cases{Count: 20, Recipe: sexpr.List{}}, Sandbox: openOptions(t)}}
	r.Search.Grammar = grammar(t)
	d := &Decision{WinnerImage: string(id), Stop: promote.Better}
	order := []int{4, 0, 9}
	for _, c := range order {
		score := population.Score{Num: 100 + float64(c+1) - 50, Den: 10}
		d.Observations = append(d.Observations, promote.Observation{Case: "c", Winner: population.Outcome{Status: population.OK, Scores: []population.Score{score}}})
	}
	if err := r.confirm(t.Context(), d, order); err != nil {
		t.Fatal(err)
	}
	return d
}

// What goes live is what was judged: an image that scores otherwise is refused.
func TestConfirm(t *testing.T) {
	if d := confirmed(t, "(+ x -50)"); d.Stop != promote.Better {
		t.Errorf("%s: %s", d.Stop, d.Reason)
	}
	if d := confirmed(t, "(+ x -49)"); d.Stop != promote.Vetoed || !strings.Contains(d.Reason, "vetoed: image: on case c") {
		t.Errorf("%s: %s", d.Stop, d.Reason)
	}
}
