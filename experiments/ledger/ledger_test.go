package ledger

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/orchestrator"
	"jird/orchestrator/promote"
	"jird/population"
	"jird/population/ga"
	"jird/snapshots/sexpr"
)

func grammar(string) (*population.Grammar, error) {
	return &population.Grammar{
		Definitions: []population.Definition{{Name: "f", Params: []population.Param{{Name: "x"}}}},
		Functions:   []string{"+", "*"}, Leaves: []sexpr.Value{sexpr.Symbol("x")},
		Constants: []population.ConstantRange{{Low: -1, High: 1}}, MaxDepth: 6, MaxSize: 30,
	}, nil
}

func open(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path, grammar)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// generations makes records of a run as the loop would, of random genomes.
func generations(run string, count, size int) []orchestrator.GenerationRecord {
	g, _ := grammar("")
	rng := rand.New(rand.NewSource(1))
	seen := map[string]bool{}
	var all []orchestrator.GenerationRecord
	total := 0
	for n := range count {
		s := &ga.State{Generation: n, Stagnant: n % 3}
		var fresh []ga.Member
		for range size {
			m := ga.Member{Genome: g.Random(rng), Op: "random", Parents: []string{"a", "b"}}
			m.Outcome = population.Outcome{Status: population.OK, Steps: rng.Int63n(1000)}
			for range 10 {
				m.Outcome.Scores = append(m.Outcome.Scores, population.Score{Num: rng.Float64(), Den: 3})
			}
			if !seen[m.Genome.Hash()] {
				seen[m.Genome.Hash()] = true
				fresh = append(fresh, m)
			}
		}
		total += len(fresh)
		s.Islands, s.Best, s.Evaluations = [][]ga.Member{fresh[:len(fresh)/2], fresh[len(fresh)/2:]}, fresh[:1], total
		all = append(all, orchestrator.GenerationRecord{Run: run, State: s, Fresh: fresh, Elapsed: time.Duration(rand.Int63n(1e9))})
	}
	return all
}

func fill(t testing.TB, l *Ledger, run string) []orchestrator.GenerationRecord {
	t.Helper()
	if err := l.Begin(orchestrator.RunRecord{ID: run, Spec: "{}", Seed: 1<<63 + 5}); err != nil {
		t.Fatal(err)
	}
	all := generations(run, 4, 20)
	for _, g := range all {
		if err := l.Generation(g); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestLoadGivesBackTheLastGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	all := fill(t, l, "r")
	l.Close()
	got, err := open(t, path).Load("r")
	if err != nil {
		t.Fatal(err)
	}
	want := all[len(all)-1].State
	if got.Run.Seed != 1<<63+5 || got.Last.Generation != want.Generation || got.Last.Evaluations != want.Evaluations || got.Last.Stagnant != want.Stagnant {
		t.Errorf("%+v", got)
	}
	for i, c := range want.Islands {
		for k, m := range c {
			g := got.Last.Islands[i][k]
			if g.Genome.Hash() != m.Genome.Hash() || g.Op != m.Op || !reflect.DeepEqual(g.Parents, m.Parents) || !reflect.DeepEqual(g.Outcome, m.Outcome) {
				t.Fatalf("member %d of island %d came back otherwise: %+v, %+v", k, i, g, m)
			}
		}
	}
}

func TestExportOfEqualRunsIsEqual(t *testing.T) {
	var first, second bytes.Buffer
	for i, to := range []*bytes.Buffer{&first, &second} {
		l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
		fill(t, l, "r")
		if err := l.Finish("r", orchestrator.RunDone, fmt.Sprint(i), i, fmt.Sprint(i), time.Duration(i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Export(to, "r"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) || strings.Count(first.String(), "\n") < 50 {
		t.Errorf("exports of %d and %d bytes differ", first.Len(), second.Len())
	}
	if err := open(t, filepath.Join(t.TempDir(), "l.db")).Export(&first, "none"); err == nil || !strings.Contains(err.Error(), "jird status") {
		t.Error(err)
	}
}

// What was declared and what was found come back as they were, and a decision
// that was declared only says so.
func TestExplain(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, l, "r")
	if _, err := l.Explain("r", 0); err == nil || !strings.Contains(err.Error(), "jird resume r") {
		t.Error(err)
	}
	g, _ := grammar("")
	one, err := g.Parse([]byte("(+ x 1)"))
	if err != nil {
		t.Fatal(err)
	}
	d := orchestrator.Decision{
		Run: "r", Number: 1, Incumbent: one, Winner: one, IncumbentImage: "a", WinnerImage: "b", Evaluator: "e",
		Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1<<61+1), Guardrails: []promote.Guardrail{promote.Failures()},
	}
	if err := l.Declare(d); err != nil {
		t.Fatal(err)
	}
	if e, err := l.Explain("r", 1); err != nil || e.Decided != nil || e.Declared.Seed != 1<<61+1 || e.Declared.MaxN != 40 || e.Declared.Guardrails["failures"] == "" {
		t.Errorf("%+v, %v", e, err)
	}
	bound := 0.25
	d.Looks = []promote.Look{{N: 10, Winner: 0.1, Bound: &bound, Stop: promote.Vetoed}}
	d.Stop, d.Reason = promote.Vetoed, "vetoed: failures"
	d.Observations = []promote.Observation{{
		Case: "c", Incumbent: population.Outcome{Status: population.OK, Scores: []population.Score{{Num: 0.1, Den: 3}}, Steps: 4},
		Winner: population.Outcome{Status: population.Fuel, Detail: "ran out"},
	}}
	if err := l.Decide(d); err != nil {
		t.Fatal(err)
	}
	e, err := l.Explain("r", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := &Evidence{
		Cases: []Compared{{"c", Measured{Status: "ok", Num: 0.1, Den: 3, Steps: 4}, Measured{Status: "fuel", Detail: "ran out"}}},
		Looks: d.Looks, Stop: promote.Vetoed, Reason: "vetoed: failures",
	}
	if e.Number != 1 || !reflect.DeepEqual(e.Decided, want) {
		t.Errorf("%+v", e.Decided)
	}
	if runs, err := l.Runs(); err != nil || runs[0].Promoted == nil || *runs[0].Promoted || runs[0].Reason != "vetoed: failures" {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A generation is written whole or not at all.
func TestGenerationIsOneTransaction(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	all := fill(t, l, "r")
	again := all[3]
	again.State = &ga.State{Generation: 4}
	if err := l.Generation(again); err == nil { // its genomes are there already
		t.Fatal("a genome was written twice")
	}
	s, err := l.Load("r")
	if err != nil || s.Last.Generation != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNewerAndDamagedLedgersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open(t, path).Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path, grammar); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Error(err)
	}
	garbage := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("garbage "), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(garbage, grammar); err == nil {
		t.Error("garbage was opened")
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	a, b := open(t, path), open(t, path)
	var wg sync.WaitGroup
	for name, l := range map[string]*Ledger{"a": a, "b": b} {
		wg.Go(func() {
			if err := l.Begin(orchestrator.RunRecord{ID: name, Spec: "{}"}); err != nil {
				t.Error(err)
			}
			for _, g := range generations(name, 10, 20) {
				if err := l.Generation(g); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	runs, err := a.Runs()
	if err != nil || len(runs) != 2 || runs[0].Generations != 9 || runs[1].Generations != 9 {
		t.Errorf("%+v, %v", runs, err)
	}
}

func BenchmarkGeneration(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "ledger.db"))
	if err := l.Begin(orchestrator.RunRecord{ID: "r", Spec: "{}"}); err != nil {
		b.Fatal(err)
	}
	all := generations("r", b.N, 400)
	b.ResetTimer()
	for i := range b.N {
		if err := l.Generation(all[i]); err != nil {
			b.Fatal(err)
		}
	}
}
