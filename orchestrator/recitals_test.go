package orchestrator

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots"
)

// doubler is an agent whose evolvable file says how to double a number, and a referee that
// counts wrong answers, and reports how many characters the answers have.
func doubler(policy string) *snapshots.Image {
	return &snapshots.Image{Name: "doubler", Files: []snapshots.File{
		{Path: "agent.scm", Data: []byte("(define (agent-handle n) (double n))")},
		{Path: "policy.scm", Data: []byte(policy)},
		{Path: "fitness.scm", Data: []byte(`
(define (transcript-cases count seed)
  (let loop ((i 0)) (if (= i count) '() (cons (cons (number->string i) i) (loop (+ i 1))))))
(define (transcript-requests case) (list case (+ case 1)))
(define seen 0)
(define (transcript-score case answers)
  (set! seen (+ seen 1))
  (let ((wrong (if (equal? answers (list (list 'ok (* 2 case)) (list 'ok (* 2 (+ case 1))))) 0 1)))
    (list (cons wrong 1) (cons 'seen seen) (cons 'case case))))`)},
	}}
}

func recite(t *testing.T, wall time.Duration, sources ...string) []population.Outcome {
	t.Helper()
	g := &population.Grammar{Open: true, Definitions: []population.Definition{{Name: "double"}}}
	agent, err := ReadAgent(doubler("(define (double n) 0)"), g, "policy.scm")
	if err != nil {
		t.Fatal(err)
	}
	o := openOptions(t)
	o.Wall = wall
	b, err := OpenBench(t.Context(), agent, g, o, 0, 4, 2, func(im *sandbox.Image) { im.Recipe = &sandbox.Recipe{Count: 6} })
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(b.Cases(), want) {
		t.Errorf("cases %v", b.Cases())
	}
	var genomes []*population.Genome
	for _, source := range sources {
		one, err := g.Parse([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		genomes = append(genomes, one)
	}
	outcomes, err := b.Evaluate(t.Context(), genomes)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// Each case of an open genome has a fresh process; what it raises is told, what becomes of
// it is its outcome, and what the referee reports is averaged.
func TestOpenGenomesAreRecited(t *testing.T) {
	t.Parallel()
	outcomes := recite(t, 20*time.Second,
		"(define (double n) (+ n n))",
		"(define (double n) (* n n))",
		"(define count 0) (define (double n) (set! count (+ count 1)) (if (> count 2) 'reused (+ n n)))",
		"(define (double n) (if (= n 3) (car n) (+ n n)))",
		"(define (double n) (transcript-score n n))",
		"(define (double n) (if (= n 4) (exit 3) (+ n n)))",
		"(define (double n) (let loop ((l '())) (loop (cons (make-vector 100) l))))",
		"(define (double n) n) (car 5)",
	)
	for i, want := range []struct {
		status  population.Status
		fitness float64
		detail  string
	}{
		{population.OK, 0, ""},
		{population.OK, 1, ""}, // right for 0 and 2, which no case asks for alone
		{population.OK, 0, ""},
		{population.OK, 2. / 6, "case 2, request 2 of 2 raised"},
		{population.OK, 1, "raised"},
		{population.Crash, 0, "status 3"},
		{population.Memory, 0, "filled its heap"},
		{population.Crash, 0, "did not load"},
	} {
		o := outcomes[i]
		if o.Status != want.status || (o.Status == population.OK && o.Fitness() != want.fitness) || !strings.Contains(o.Detail, want.detail) || (want.detail == "") != (o.Detail == "") {
			t.Errorf("genome %d: %+v, fitness %v; want %+v", i, o, o.Fitness(), want)
		}
		if o.Status == population.OK && (o.Features["case"] != 2.5 || o.Features["seen"] != 1) {
			t.Errorf("genome %d: features %v", i, o.Features)
		}
	}
}

func TestOpenGenomesThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wall   time.Duration // a quarter of it is what may be computed: long enough for a machine that is busy
		source string
		status population.Status
		want   string
	}{
		{8 * time.Second, "(define (double n) (let loop () (loop)))", population.Timeout, "processor time"},
		{time.Second, "(define (double n) (thread-sleep! 100))", population.Timeout, "silent"},
		{8 * time.Second, "(define (double n) (thread-sleep! .01) (+ n n))", population.OK, ""},
	} {
		if o := recite(t, c.wall, c.source)[0]; o.Status != c.status || !strings.Contains(o.Detail, c.want) {
			t.Errorf("%s: %+v", c.source, o)
		}
	}
}

// byCase scores a genome on case i as its size times i.
type byCase struct{ asked map[int]int }

func (x *byCase) Score(_ context.Context, genomes []*population.Genome, from, to int) ([]population.Outcome, error) {
	outcomes := make([]population.Outcome, len(genomes))
	for k, g := range genomes {
		outcomes[k].Status, outcomes[k].Steps = population.OK, int64(100*len(genomes))
		for i := from; i < to; i++ {
			x.asked[i]++
			outcomes[k].Scores = append(outcomes[k].Scores, population.Score{Num: float64(g.Size() * (i + 1)), Den: 1})
		}
	}
	return outcomes, nil
}
func (x *byCase) Cases() []string { return []string{"a", "b", "c", "d", "e", "f", "g"} }
func (x *byCase) Parallel() int   { return 1 }
func (x *byCase) Peak() int       { return 0 }
func (x *byCase) Close()          {}

// In a cascade the first cases are asked of all, the others of those that do well, and who
// is beside a genome does not change its outcome.
func TestCascade(t *testing.T) {
	all := genomes(t, "x", "(+ x 1)", "(* x (+ x 1))")
	x := &byCase{map[int]int{}}
	b := NewBench(x, Cascade{Cases: 2, AtMost: 4.5})
	outcomes, err := b.Evaluate(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if outcomes[0].Fitness() != 4 || outcomes[1].Fitness() != 12 || outcomes[2].Status != population.Cascade || !strings.Contains(outcomes[2].Detail, "on the first 2 cases is over 4.5") {
		t.Errorf("%+v", outcomes)
	}
	if x.asked[0] != 3 || x.asked[1] != 3 || x.asked[2] != 2 || x.asked[6] != 2 {
		t.Errorf("asked %v", x.asked)
	}
	for i, g := range all {
		one, err := b.among(t.Context(), 3, g)
		if err != nil || one.Status != outcomes[i].Status || one.Steps != outcomes[i].Steps || !slices.Equal(one.Scores, outcomes[i].Scores) {
			t.Errorf("alone: %+v, among others: %+v, %v", one, outcomes[i], err)
		}
	}
	whole, err := b.Measure(t.Context(), all...)
	if err != nil || whole[2].Fitness() != 20 {
		t.Errorf("without the cascade: %+v, %v", whole, err)
	}
}

// BenchmarkRecitals is how many cases of open genomes are played and scored in a second.
func BenchmarkRecitals(b *testing.B) {
	g := &population.Grammar{Open: true, Definitions: []population.Definition{{Name: "double"}}}
	agent, err := ReadAgent(doubler("(define (double n) 0)"), g, "policy.scm")
	if err != nil {
		b.Fatal(err)
	}
	const cases = 100
	bench, err := OpenBench(b.Context(), agent, g, openOptions(b), 0, 4, runtime.NumCPU(), func(im *sandbox.Image) { im.Recipe = &sandbox.Recipe{Count: cases} })
	if err != nil {
		b.Fatal(err)
	}
	defer bench.Close()
	one, err := g.Parse([]byte("(define (double n) (+ n n))"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := bench.Measure(b.Context(), one); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cases*b.N)/b.Elapsed().Seconds(), "cases/s")
	b.ReportMetric(0, "ns/op")
}
