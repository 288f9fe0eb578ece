package ledger

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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
		Run: "r", Number: 1, Incumbent: one.Source(), Winner: one.Source(), IncumbentImage: "a", WinnerImage: "b", Evaluator: "e",
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
	wantDamage(t, garbage, func() error { _, err := Open(garbage, grammar); return err }())
}

func wantDamage(t *testing.T, path string, err error) {
	t.Helper()
	var damage *DamageError
	if !errors.As(err, &damage) || damage.File != path || !strings.Contains(err.Error(), path) {
		t.Errorf("not said to be damage of %s: %v", path, err)
	}
}

// Damage inside of a file that still opens: a torn page, and rows that are not
// what was written.
func TestDamageWithinIsNamed(t *testing.T) {
	for name, harm := range map[string]string{
		"source":  "UPDATE genome SET source = '(define (f x) (+ x x))'",
		"scores":  "UPDATE genome SET scores = '[[1'",
		"cohort":  "UPDATE generation SET islands = '[[[\"0123\",\"random\"]]]'",
		"missing": "DELETE FROM genome WHERE sequence > 3",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			l := open(t, path)
			fill(t, l, "r")
			if _, err := l.db.Exec(harm); err != nil {
				t.Fatal(err)
			}
			_, err := l.Load("r")
			wantDamage(t, path, err)
		})
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	fill(t, l, "r")
	l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Size() < 20<<10 {
		t.Fatal(info, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(info.Size())-8<<10), 8<<10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l, err = Open(path, grammar)
	if err == nil {
		t.Cleanup(func() { l.Close() })
		_, err = l.Load("r")
	}
	wantDamage(t, path, err)
}

// Any name of a folder will do.
func TestPathIsTakenAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c=d&e%25#f", "ledger.db")
	fill(t, open(t, path), "r")
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Error(info, err)
	}
}

// A row that belongs to no run is refused, and a commit is synced.
func TestPragmasHold(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal", "busy_timeout": "10000"} {
		var got string
		if err := l.db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s (%v)", pragma, got, want, err)
		}
	}
	if err := l.Generation(generations("nobody", 1, 3)[0]); err == nil || !strings.Contains(err.Error(), "FOREIGN KEY") {
		t.Errorf("a generation of no run: %v", err)
	}
}

// The winner's line is followed to its beginning: a and b made c, c made d,
// which was simplified to the winner.
func TestReportTracesTheWinner(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	if err := l.Begin(orchestrator.RunRecord{ID: "r", Spec: "{}"}); err != nil {
		t.Fatal(err)
	}
	g, _ := grammar("")
	parse := func(text string) *population.Genome {
		genome, err := g.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return genome
	}
	scored := func(score float64) population.Outcome {
		return population.Outcome{Status: population.OK, Scores: []population.Score{{Num: score, Den: 1}}}
	}
	a, b, c, d, other, winner := parse("x"), parse("(* x x)"), parse("(+ x x)"), parse("(+ x (* 1 x))"), parse("(+ x 1)"), parse("(+ 0.5 x)")
	first := []ga.Member{{Genome: a, Outcome: scored(5), Op: "seed"}, {Genome: b, Outcome: scored(6), Op: "random"}, {Genome: other, Outcome: scored(3), Op: "random"}}
	second := []ga.Member{
		{Genome: c, Outcome: scored(4), Op: "crossover", Parents: []string{a.Hash(), b.Hash()}},
		{Genome: d, Outcome: scored(2), Op: "point", Parents: []string{c.Hash()}},
		{Genome: parse("(* x 0.5)"), Outcome: population.Outcome{Status: population.Fuel}, Op: "point", Parents: []string{c.Hash()}},
	}
	for i, fresh := range [][]ga.Member{first, second} {
		s := &ga.State{Generation: i, Evaluations: len(fresh), Islands: [][]ga.Member{fresh}, Best: fresh[:1]}
		if err := l.Generation(orchestrator.GenerationRecord{Run: "r", State: s, Fresh: fresh}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := l.Report("r"); err != nil || r.Winner != nil || r.Lineage != nil || len(r.Generations) != 2 {
		t.Errorf("undecided: %+v, %v", r, err)
	}
	decision := orchestrator.Decision{Run: "r", Number: 1, Incumbent: a.Source(), Winner: winner.Source(), IncumbentTrain: 5, WinnerTrain: 2,
		Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1), Looks: []promote.Look{{N: 10, Incumbent: 5.5, Winner: 2.5, Stop: promote.Better}}, Promoted: true}
	if err := errors.Join(
		l.Measured("r", []orchestrator.Measurement{{Genome: other, Purpose: "validate", Outcome: scored(3)}, {Genome: d, Purpose: "validate", Outcome: scored(2)}}),
		l.Measured("r", []orchestrator.Measurement{{Genome: winner, Purpose: "simplify", Outcome: scored(2)}}),
		l.Declare(decision), l.Decide(decision)); err != nil {
		t.Fatal(err)
	}
	r, err := l.Report("r")
	if err != nil {
		t.Fatal(err)
	}
	four, two, five, six := 4.0, 2.0, 5.0, 6.0
	want := Lineage{Generation: 1, Ancestors: 3, Path: []Step{
		{Ancestor: Ancestor{Source: winner.Source(), Operator: Simplified, Generation: 1}},
		{Ancestor: Ancestor{d.Hash(), d.Source(), "point", 1, &two}},
		{Ancestor: Ancestor{c.Hash(), c.Source(), "crossover", 1, &four}, Father: &Ancestor{b.Hash(), b.Source(), "random", 0, &six}},
		{Ancestor: Ancestor{a.Hash(), a.Source(), "seed", 0, &five}},
	}}
	if !reflect.DeepEqual(*r.Lineage, want) {
		t.Errorf("lineage %+v", *r.Lineage)
	}
	if *r.Winner != (Policy{"(+ 0.5 x)", 2, 2.5}) || *r.Incumbent != (Policy{"x", 5, 5.5}) {
		t.Errorf("%+v, %+v", *r.Winner, *r.Incumbent)
	}
	if r.Outcomes["ok"] != 5 || r.Outcomes["fuel"] != 1 {
		t.Errorf("outcomes %v", r.Outcomes)
	}
	if want := (Spread{Members: 3, Failed: 1, Best: 2, Quarter: 2, Median: 4, Three: 4}); r.Generations[1].Spread != want || r.Generations[1].Islands[0] != want {
		t.Errorf("generation 1: %+v", r.Generations[1])
	}
	if r.Generations[1].Genomes != 3 || r.Generations[1].Vectors != 3 {
		t.Errorf("diversity: %+v", r.Generations[1])
	}
	if want := []Operator{{"seed", 1, 0, 1}, {"random", 2, 0, 1}, {"crossover", 1, 1, 0}, {"point", 2, 1, 1}}; !reflect.DeepEqual(r.Operators, want) {
		t.Errorf("operators %v", r.Operators)
	}
}

// Scores come back as they were written, and what is no list of them is damage.
func TestReadScores(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	for range 200 {
		var want []population.Score
		for range rng.Intn(4) {
			want = append(want, population.Score{Num: rng.NormFloat64() * math.Pow(10, float64(rng.Intn(600)-300)), Den: rng.Float64()})
		}
		if got, err := readScores(text(population.Pairs(want))); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v came back as %v, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "[", "[[1]]", "[[1,2],[3]]", "[[1,2]", "[[a,2]]", "[[1,2,3]]", "[[1,2] ,[3,4]]"} {
		if got, err := readScores(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

// A long line keeps its ends, and says how many steps are between them.
func TestLongLineIsCut(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	all := fill(t, l, "r")
	p := &pedigree{operators: []Operator{{Name: "point"}}}
	const long = 3 * pathEnds
	for i := range long {
		b := bred{hash: all[0].Fresh[i%10].Genome.Hash(), generation: i}
		if i > 0 {
			b.parents = []int{i - 1}
		}
		p.all = append(p.all, b)
	}
	var line Lineage
	if err := l.follow("r", long-1, p, &line); err != nil {
		t.Fatal(err)
	}
	if n := len(line.Path); n != 2*pathEnds || line.Path[pathEnds-1].Skipped != pathEnds || line.Path[pathEnds].Generation != pathEnds-1 || line.Path[n-1].Generation != 0 {
		t.Errorf("%d steps: %+v", n, line.Path)
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

// What the first version wrote is there after the second opened it, and then agents may
// have decisions too.
func TestOlderVersionMigrates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(steps[0] + `PRAGMA user_version = 1;
		INSERT INTO run VALUES ('r','n','','{}','','','','',1,1,0,0);
		INSERT INTO place (run, started, status) VALUES ('r','2026-01-01T00:00:00Z','done');
		INSERT INTO decision VALUES ('r',1,'{"incumbent_image":"a","winner_image":"b"}','{"promoted":true,"reason":"because"}');`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	l := open(t, path)
	if e, err := l.Explain("r", 0); err != nil || e.Decided.Reason != "because" {
		t.Errorf("%+v, %v", e, err)
	}
	if number, decided, err := l.Numbered("r", "a", "b"); err != nil || number != 1 || decided == nil || !decided.Promoted {
		t.Errorf("%d, %+v, %v", number, decided, err)
	}
	if number, decided, err := l.Numbered("r", "a", "c"); err != nil || number != 2 || decided != nil {
		t.Errorf("%d, %+v, %v", number, decided, err)
	}
	if err := l.Declare(orchestrator.Decision{Run: "an agent", Number: 1, IncumbentImage: "a", WinnerImage: "b", Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1)}); err != nil {
		t.Fatal(err)
	}
	if number, decided, err := l.Numbered("an agent", "a", "b"); err != nil || number != 1 || decided != nil {
		t.Errorf("declared only: %d, %+v, %v", number, decided, err)
	}
	if run, err := l.NewestRun("n"); err != nil || run != "r" {
		t.Errorf("%s, %v", run, err)
	}
}

// Many processes may be the first to open a ledger: each waits for the others.
func TestOpenedByManyAtOnce(t *testing.T) {
	for range 40 {
		path := filepath.Join(t.TempDir(), "ledger.db")
		var g errgroup.Group
		for range 8 {
			g.Go(func() error {
				l, err := Open(path, nil)
				if err == nil {
					err = l.Close()
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
