package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/population"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	os.Exit(m.Run())
}

func grammar(t testing.TB) *population.Grammar {
	t.Helper()
	return &population.Grammar{
		Definitions: []population.Definition{{Name: "f", Params: []population.Param{{Name: "x"}}}},
		Functions:   []string{"+", "*"}, Leaves: []sexpr.Value{sexpr.Symbol("x")},
		Constants: []population.ConstantRange{{Low: -1, High: 1}}, MaxDepth: 6, MaxSize: 30,
	}
}

// openOptions isolates fully, or skips the test.
func openOptions(t testing.TB) sandbox.Options {
	t.Helper()
	r, err := sandbox.FindRuntime(context.Background(), "auto")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	if _, err := isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe()); err != nil {
		t.Skipf("skipped: %v", err)
	}
	return sandbox.Options{
		Runtime: r, Policy: isolation.Policy{Level: isolation.Full, Heap: 32 << 20}, Wall: 20 * time.Second,
		Compiler: &sandbox.Compiler{Runtime: r, Cache: sandbox.Cache(t.TempDir()), Level: isolation.Full},
	}
}

// openPool opens a pool over a referee that is given as source.
func openPool(t testing.TB, referee string, wall time.Duration, cases, shadows int) *Pool {
	t.Helper()
	o := openOptions(t)
	o.Wall = wall
	im := sandbox.Image{Files: []sandbox.Source{{Name: "fitness.scm", Code: []byte(referee)}}}
	g := grammar(t)
	one, err := g.Parse([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	im.Definitions = []sandbox.Policy{{Kind: "real", Definition: one.Definitions()[0]}}
	for i := range cases {
		im.Given = append(im.Given, sandbox.Case{Name: string(rune('a' + i)), Data: sexpr.NewInt(int64(i + 1))})
	}
	p, err := OpenPool(context.Background(), im, g, o, 1000, shadows, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func bench(p *Pool) *Bench { return NewBench(p, Cascade{}) }

func genomes(t testing.TB, texts ...string) []*population.Genome {
	t.Helper()
	var all []*population.Genome
	for _, text := range texts {
		g, err := grammar(t).Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func many(t testing.TB, n int) []*population.Genome {
	var texts []string
	for i := range n {
		texts = append(texts, "(+ x "+strings.Repeat("1", i%9+1)+")")
	}
	return genomes(t, texts...)
}

func TestScoresComeFromScheme(t *testing.T) {
	p := openPool(t, "(define (fitness-score case) (cons (f case) 2))", 20*time.Second, 12, 4)
	outcomes, err := bench(p).Evaluate(t.Context(), genomes(t, "(* x x)", "(+ x 1)", "0.5"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{144, 13, 0.5} {
		last := outcomes[i].Scores[11]
		if outcomes[i].Status != population.OK || last.Num != want || last.Den != 2 {
			t.Errorf("genome %d: %+v", i, outcomes[i])
		}
	}
}

// A process that somebody else ends, as a batch system does with all of a job's, is no
// crash of the genome in it, though it is alone there.
func TestEndedFromOutside(t *testing.T) {
	p := openPool(t, "(define (fitness-score case) (thread-sleep! .3) (f case))", 20*time.Second, 1, 1)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s := <-p.idle
		p.idle <- s
		struck := time.AfterFunc(100*time.Millisecond, func() { _ = syscall.Kill(s.PID, signal) })
		outcomes, err := bench(p).Evaluate(t.Context(), genomes(t, "(+ x 1)"))
		if err != nil || outcomes[0].Status != population.OK {
			t.Errorf("%v: %+v, %v", signal, outcomes, err)
		}
		if struck.Stop() {
			t.Errorf("%v came too late", signal)
		}
	}
}

// A referee may report more than a score: the mean over the cases.
func TestRefereeReportsFeatures(t *testing.T) {
	p := openPool(t, `(define (fitness-score case) (if (= case 3) (f case) (list (cons (f case) 2) (cons 'case case) (cons 'part (/ 1 2)))))`, 20*time.Second, 12, 4)
	outcomes, err := bench(p).Evaluate(t.Context(), genomes(t, "(* x x)", "x"))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Status != population.OK || len(o.Scores) != 12 || o.Scores[2].Den != 1 || o.Scores[3].Den != 2 || o.Features["case"] < 6.24 || o.Features["case"] > 6.26 || o.Features["part"] < 0.458 || o.Features["part"] > 0.459 {
			t.Errorf("genome %d: %+v", i, o)
		}
	}
	for _, bad := range []string{"(list 1 'x)", "(list 1 (cons \"x\" 1))", "(list 1 (cons 'x 'y))", "(list)", "(list (cons 1 0))"} {
		_, err := bench(openPool(t, "(define (fitness-score case) "+bad+")", 20*time.Second, 1, 1)).Evaluate(t.Context(), genomes(t, "x"))
		var referee *RefereeError
		if !errors.As(err, &referee) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// favour lets a process, and what it forks from now on, go before all others: where
// others want the processor too it would not come to use it up. Only root may.
func favour(pid int) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, -20)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("-20"), 0)
}

// A genome that fails in company costs the others nothing, and is judged alone.
func TestOneFailureLeavesTheOthersTheirScores(t *testing.T) {
	for name, c := range map[string]struct {
		referee string
		want    population.Status
	}{
		"memory":  {"(define (fitness-score case) (if (< (f 0) 20000000) 1 (let grow ((l '())) (grow (cons (make-vector 1000 0) l)))))", population.Memory},
		"crash":   {"(define (fitness-score case) (if (< (f 0) 20000000) 1 (##exit 9)))", population.Crash},
		"timeout": {"(define (fitness-score case) (if (< (f 0) 20000000) 1 (let loop () (loop))))", population.Timeout},
		"fuel":    {"(define (fitness-score case) (if (< (f 0) 20000000) 1 (let loop () (f 1) (loop))))", population.Fuel},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPool(t, c.referee, 4*time.Second, 2, 3)
			if z, ok := p.engine.(*sandbox.Zygote); ok {
				favour(z.PID()) // a timeout is the candidate's only if it used its time
			}
			all := many(t, 9)
			all = append(append(all, genomes(t, "(+ x 0.25)")...), genomes(t, "(* x 3)", "(* x 4)", "(* x 5)", "(* x 6)", "(* x 7)", "(* x 8)", "(* x 9)", "(* x 10)")...)
			outcomes, err := bench(p).Evaluate(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				want := population.OK
				if i == 8 { // f(0) is 111111111
					want = c.want
				}
				if o.Status != want {
					t.Errorf("%s: %s (%s), want %s", all[i].Expr(), o.Status, o.Detail, want)
				}
			}
		})
	}
}

func TestRefereeFailureIsNotACandidates(t *testing.T) {
	p := openPool(t, `(define (fitness-score case) (error "the referee is broken"))`, 20*time.Second, 1, 2)
	_, err := bench(p).Evaluate(t.Context(), genomes(t, "x"))
	var referee *RefereeError
	if !errors.As(err, &referee) || !strings.Contains(err.Error(), "the referee is broken") {
		t.Error(err)
	}
}

// Shadows that live outlast their zygote; a run that needs a new one ends, and
// says why, instead of waiting.
func TestZygoteGone(t *testing.T) {
	p := openPool(t, "(define (fitness-score case) (if (< (f case) 1000) 1 (exit 9)))", 20*time.Second, 1, 2)
	z, ok := p.engine.(*sandbox.Zygote)
	if !ok {
		t.Skip("skipped: no zygote without gsc and a C compiler")
	}
	if err := syscall.Kill(z.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := bench(p).Evaluate(t.Context(), genomes(t, "x")); err != nil {
		t.Error(err)
	}
	_, err := bench(p).Evaluate(t.Context(), genomes(t, "(* x 1000)"))
	var failure *sandbox.Failure
	if err == nil || errors.As(err, &failure) || !strings.Contains(err.Error(), "the zygote does not serve any more") {
		t.Errorf("got %v", err)
	}
}

func TestEveryShadowScores(t *testing.T) {
	t.Parallel()
	p := openPool(t, "(define (fitness-score case) (f case))", 20*time.Second, 1, 50)
	var texts []string
	for i := range 401 {
		texts = append(texts, "(* x "+sexprInt(i)+")")
	}
	if _, err := bench(p).Evaluate(t.Context(), genomes(t, texts...)); err != nil {
		t.Fatal(err)
	}
	if p.Peak() < 50 {
		t.Errorf("%d shadows scored", p.Peak())
	}
}

func sexprInt(i int) string {
	b, _ := sexpr.Canonical(sexpr.NewInt(int64(i)))
	return string(b)
}

// BenchmarkBatches is the cost of a trivial evaluation in batches, beside that
// of one fresh fork per genome.
func BenchmarkBatches(b *testing.B) {
	p := openPool(b, "(define (fitness-score case) (f case))", 20*time.Second, 1, 8)
	var texts []string
	for i := range 400 {
		texts = append(texts, "(* x "+sexprInt(i)+")")
	}
	all := genomes(b, texts...)
	b.Run("in-batches", func(b *testing.B) {
		for range b.N {
			if _, err := bench(p).Evaluate(context.Background(), all); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(all))/b.Elapsed().Seconds(), "evals/s")
	})
	b.Run("one-fork-each", func(b *testing.B) {
		for range b.N {
			if _, err := p.request(context.Background(), all[:1], unit{[]int{0}, 0, 1}, true); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "evals/s")
	})
}
