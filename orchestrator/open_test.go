package orchestrator

import (
	"strings"
	"testing"

	"jird/orchestrator/promote"
	"jird/population"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

func expr(t testing.TB, src string) sexpr.Value {
	t.Helper()
	v, err := sexpr.Read([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// measure plays all cases; the first failure is the outcome.
func measure(t testing.TB, judge *Transcripts, im *snapshots.Image, memory sexpr.Value) (population.Outcome, error) {
	t.Helper()
	p, err := judge.Open(t.Context(), im, memory)
	if err != nil {
		return population.Outcome{}, err
	}
	defer p.Close()
	whole := population.Outcome{Status: population.OK}
	for i := range judge.Cases() {
		o, err := p.Play(t.Context(), i)
		if err != nil || o.Status != population.OK {
			return o, err
		}
		whole.Scores = append(whole.Scores, o.Scores...)
	}
	return whole, nil
}

// declarations is a recorder of what is declared.
type declarations []Decision

func (d *declarations) Declare(one Decision) error { *d = append(*d, one); return nil }

// What the agent proposes is refused or taken by the same rules as every promotion.
func TestJudgeOpen(t *testing.T) {
	t.Parallel()
	im, err := snapshots.ReadDir("notes", "../experiments/examples/self-destruct/agent")
	if err != nil {
		t.Fatal(err)
	}
	plan := promote.NewPlan(0.01, 0.05, 0.8, 40, 7)
	for _, c := range []struct {
		name, expr string
		stop       promote.Stop
		says       string
	}{
		{"note-key", "(lambda (key) (if (symbol? key) (symbol->string key) key))", promote.Better, "better"},
		{"recall", "(lambda (key) (or (recall key) (memory-ref (list 'note key) #f)))", promote.Vetoed, "the process died"},
		{"note-key", "(lambda (key) (list key))", promote.Inconclusive, "inconclusive"},
	} {
		next, err := Redefine(&im, "parent", c.name, expr(t, c.expr))
		if err != nil {
			t.Fatal(err)
		}
		d, declared := Decision{Run: "notes", Number: 1, Incumbent: c.name, Winner: c.expr, Plan: plan}, &declarations{}
		err = JudgeOpen(t.Context(), openOptions(t), declared, &d, &im, &next, sexpr.List{})
		if err != nil || d.Stop != c.stop || !strings.Contains(d.Reason, c.says) || len(d.Looks) == 0 {
			t.Errorf("%s: %s, %s, %v", c.expr, d.Stop, d.Reason, err)
		}
		if len(*declared) != 1 || len((*declared)[0].Observations) != 0 || (*declared)[0].Evaluator == "" {
			t.Errorf("%s: declared before the data: %+v", c.expr, *declared)
		}
	}
}

// The agent that optimises itself: one idea is an endless recursion and dies in its
// shadow, one is a true gain, one is worse, and none sees what scores it.
func TestOpenCodeIsJudgedByTranscripts(t *testing.T) {
	t.Parallel()
	im, err := snapshots.ReadDir("notes", "../experiments/examples/self-destruct/agent")
	if err != nil {
		t.Fatal(err)
	}
	judge, err := OpenTranscripts(t.Context(), openOptions(t), &im, 4, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close()
	memory := expr(t, `((count . 1) ((note "old") . 5))`)
	before, err := measure(t, judge, &im, memory)
	if err != nil || before.Status != population.OK || len(before.Scores) != 4 || before.Fitness() < 0.2 || before.Fitness() > 0.8 {
		t.Fatalf("%+v, %v", before, err)
	}
	for _, c := range []struct {
		name, expr string
		status     population.Status
		fitness    float64
		says       string
	}{
		{"note-key", "(lambda (key) (if (symbol? key) (symbol->string key) key))", population.OK, 0, ""},
		{"recall", "(lambda (key) (or (recall key) (memory-ref (list 'note key) #f)))", population.Memory, 0, "the process died"},
		{"recall", "(lambda (key) (car 5))", population.OK, 1, ""},
		{"recall", "(car 5)", population.Crash, 0, "memory-code.scm"},
		{"recall", "(lambda (key) (transcript-score 1 2))", population.OK, 1, ""},
	} {
		next, err := Redefine(&im, "parent", c.name, expr(t, c.expr))
		if err != nil {
			t.Fatal(err)
		}
		got, err := measure(t, judge, &next, memory)
		if err != nil || got.Status != c.status || !strings.Contains(got.Detail, c.says) || (c.status == population.OK && got.Fitness() != c.fitness) {
			t.Errorf("%s: %+v, %v", c.expr, got, err)
		}
	}
	im.Files = append(im.Files, snapshots.File{Path: matchFile, Data: []byte("(define referee 1)")})
	for _, name := range []string{"nothing", "referee", "transcript-score"} {
		if _, err := Redefine(&im, "parent", name, expr(t, "1")); err == nil {
			t.Errorf("%s was replaced, which no file of the agent's own defines", name)
		}
	}
}

func TestRefereesOfOpenCodeThatFail(t *testing.T) {
	t.Parallel()
	for says, referee := range map[string]string{
		"no referee":                 "",
		"transcript-cases":           "(define x 1)",
		"answered 1 cases, not 2":    `(define (transcript-cases n s) '(("a" . 1)))`,
		"each name a string":         `(define (transcript-cases n s) '((a . 1) (b . 2)))`,
		"must answer a list":         `(define (transcript-cases n s) '(("a" . 1) ("b" . 2))) (define (transcript-requests c) 1)`,
		"it must be a finite number": `(define (transcript-cases n s) '(("a" . 1) ("b" . 2))) (define (transcript-requests c) '((recall x))) (define (transcript-score c a) "good")`,
	} {
		im, err := snapshots.ReadDir("notes", "../experiments/examples/self-destruct/agent")
		if err != nil {
			t.Fatal(err)
		}
		if im.File("fitness.scm").Data = []byte(referee); referee == "" {
			im.File("fitness.scm").Path = "other.scm"
		}
		judge, err := OpenTranscripts(t.Context(), openOptions(t), &im, 2, 1)
		if err == nil {
			_, err = measure(t, judge, &im, sexpr.List{})
			judge.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
}
