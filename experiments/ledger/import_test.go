package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"jird/orchestrator"
	"jird/orchestrator/promote"
	"jird/population"
	"jird/population/ga"
)

func specHash(spec string) string {
	sum := sha256.Sum256([]byte(spec))
	return hex.EncodeToString(sum[:])
}

// told is a ledger with a decided run "r", and an undecided tournament "t" of two sides.
func told(t testing.TB) (l *Ledger, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ledger.db")
	l = open(t, path)
	spec := `{"a":"<\u003c","b":1.50}`
	all := generations("r", 3, 10)
	all[0].Fresh[0].Parents = nil
	winner := all[0].Fresh[0].Genome
	d := orchestrator.Decision{Run: "r", Number: 1, Incumbent: winner.Source(), Winner: winner.Source(), IncumbentImage: "a", WinnerImage: "b", Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1<<61+1)}
	err := l.Begin(orchestrator.RunRecord{ID: "r", Spec: spec, SpecHash: specHash(spec), Seed: 1<<63 + 5})
	for _, g := range all {
		err = errors.Join(err, l.Generation(g))
	}
	long := 0.1 // and 0.2 take all 17 digits
	long += 0.2
	scored := population.Outcome{Status: population.OK, Scores: []population.Score{{Num: long, Den: 3}}, Steps: 4}
	err = errors.Join(err, l.Measured("r", []orchestrator.Measurement{{Genome: winner, Purpose: "validate", Outcome: scored}}), l.Declare(d))
	d.Looks = []promote.Look{{N: 1, Stop: promote.Better}}
	d.Promoted, d.Snapshot, d.Observations = true, "b", []promote.Observation{{Case: "c\n,", Incumbent: scored, Winner: scored}}
	err = errors.Join(err, l.Decide(d))
	entrants := []orchestrator.Entrant{{Name: "x", Code: winner}, {Name: "y", Side: 1, HeldOut: true, Code: all[0].Fresh[1].Genome}}
	err = errors.Join(err, l.BeginTournament(orchestrator.TournamentRecord{ID: "t", Spec: "{}", SpecHash: specHash("{}"), Seed: 1 << 63}, entrants))
	for n, round := range []float64{1. / 3, 1e-300} {
		result := orchestrator.PlayedMatch{Number: n}
		result.Blue, result.Red, result.Seed = 0, 1, 1<<63+1
		result.Result.Verdict, result.Result.Blue, result.Result.Red = "played", round, long
		err = errors.Join(err, l.Round("t", n, []orchestrator.PlayedMatch{result}))
		s := &ga.State{Generation: n, Islands: [][]ga.Member{all[0].Fresh[:2]}, Best: all[0].Fresh[:1]}
		err = errors.Join(err, l.Evolved("t", [2]*ga.State{s, s}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

func exported(t testing.TB, l *Ledger, ids ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, id := range ids {
		if err := l.Export(&b, id); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestImportGivesTheSameLedger(t *testing.T) {
	from, _ := told(t)
	text := exported(t, from, "r", "t")
	to := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	if in, err := to.Import(strings.NewReader(text)); err != nil || !reflect.DeepEqual(in, &Imported{[]string{"r", "t"}, []string{}}) {
		t.Fatalf("%+v, %v", in, err)
	}
	if again := exported(t, to, "r", "t"); again != text {
		t.Error("what was imported is exported otherwise")
	}
	if in, err := to.Import(strings.NewReader(text)); err != nil || !reflect.DeepEqual(in, &Imported{[]string{}, []string{"r", "t"}}) {
		t.Errorf("again: %+v, %v", in, err)
	}
	if c, err := to.Check(); err != nil || len(c.Faults) > 0 || c.Runs != 1 || c.Tournaments != 1 || c.Decisions != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	want, _ := from.Load("r")
	if got, err := to.Load("r"); err != nil || got.Status != orchestrator.RunDone || !reflect.DeepEqual(got.Run, want.Run) || got.Last.Evaluations != want.Last.Evaluations {
		t.Errorf("%+v, %v", got, err)
	}
	before, _, _ := from.Played("t")
	if after, rounds, err := to.Played("t"); err != nil || rounds != 2 || !reflect.DeepEqual(before, after) {
		t.Errorf("%+v, %v", after, err)
	}
	if runs, err := to.Runs(); err != nil || len(runs) != 1 || runs[0].Promoted == nil {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A run of the same id with other content is named, and nothing else of the file is taken.
func TestImportRefusesOtherContent(t *testing.T) {
	from, _ := told(t)
	text := exported(t, from, "t", "r")
	to := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, to, "r")
	before := exported(t, to, "r")
	if _, err := to.Import(strings.NewReader(text)); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "run r") {
		t.Error(err)
	}
	if has, err := to.HasTournament("t"); has || err != nil || exported(t, to, "r") != before {
		t.Error("a part was taken", err)
	}
}

func TestImportRefusesWhatWasNotExported(t *testing.T) {
	from, _ := told(t)
	run, tournament := exported(t, from, "r"), exported(t, from, "t")
	lines := strings.SplitAfter(strings.TrimSuffix(run, "\n"), "\n")
	without := func(at int) string {
		return strings.Join(append(append([]string{}, lines[:at]...), lines[at+1:]...), "") + "\n"
	}
	last := strings.LastIndex(run, `{"table":"generation"`)
	for what, text := range map[string]string{
		"nothing":             "",
		"no JSON":             "hello\n",
		"another table":       `{"table":"place","run":"r"}` + "\n",
		"no run before":       strings.Join(lines[1:], "") + "\n",
		"cut in a line":       run[:len(run)/2],
		"no end of line":      strings.TrimSuffix(run, "\n"),
		"a genome missing":    without(3),
		"a generation gone":   strings.Replace(run, run[strings.Index(run, `{"table":"generation"`):last], "", 1),
		"a line twice":        strings.Replace(run, lines[2], lines[2]+lines[2], 1),
		"another order":       strings.Replace(run, lines[1]+lines[2], lines[2]+lines[1], 1),
		"a field more":        strings.Replace(run, `"table":"run",`, `"table":"run","x":1,`, 1),
		"a field less":        strings.Replace(run, `"repeat":0`, `"again":0`, 1),
		"a source changed":    strings.Replace(run, `"source":"(define (f x) `, `"source":"(define (f x)  `, 1),
		"a spec changed":      strings.Replace(run, `"b":1.50`, `"b":1.51`, 1),
		"another image":       strings.Replace(run, `"snapshot":"b"`, `"snapshot":"c"`, 1),
		"a match of a run":    run + tournament[strings.Index(tournament, `{"table":"match"`):],
		"a side missing":      strings.Replace(tournament, tournament[strings.Index(tournament, `{"table":"coevolution"`):strings.Index(tournament, `{"table":"match"`)], `{"table":"coevolution","generation":0,"side":1,"evaluations":0,"stagnant":0,"islands":[],"best":[]}`+"\n", 1),
		"a match of nobody":   strings.Replace(tournament, `"red":1`, `"red":7`, 1),
		"a text for a number": strings.Replace(run, `"sequence":1,`, `"sequence":"1",`, 1),
		"injection":           strings.Replace(run, `"table":"run"`, `"table":"run; DROP TABLE run"`, 1),
	} {
		if text == run || text == tournament {
			t.Errorf("%s: changes nothing", what)
		}
		to := open(t, filepath.Join(t.TempDir(), "ledger.db"))
		var bad *ImportError
		if _, err := to.Import(strings.NewReader(text)); !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
		if c, err := to.Check(); err != nil || c.Runs+c.Tournaments+c.Decisions > 0 {
			t.Errorf("%s: something was taken: %+v, %v", what, c, err)
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for harm, want := range map[string]string{
		"UPDATE run SET spec = '{}'":                                             "run r: the spec has another hash",
		"UPDATE tournament SET spec = '{} '":                                     "tournament t: the spec has another hash",
		"DELETE FROM generation WHERE number = 1":                                "run r: generation 1 is missing",
		"DELETE FROM generation WHERE number = 2":                                "is of generation 2, which is missing",
		"DELETE FROM genome WHERE sequence = 4":                                  "run r: genome 4 is missing",
		"UPDATE genome SET generation = 9 WHERE sequence = 4":                    "run r: genome 5 is of generation 0, after one of generation 9",
		"UPDATE genome SET source = '(define (f x) 1)' WHERE sequence = 4":       "its source has another hash",
		"UPDATE genome SET scores = '[]' WHERE sequence = 4":                     "it ended with ok and has 0 scores",
		"UPDATE genome SET status = 'fuel' WHERE sequence = 4":                   "it ended with fuel and has 10 scores",
		"UPDATE genome SET scores = '[[1,0]]' WHERE sequence = 4":                "[1 0] is no score",
		"UPDATE genome SET scores = '[[1' WHERE sequence = 4":                    "its scores: ",
		"UPDATE generation SET evaluations = 1 WHERE number = 0":                 "run r, generation 0: 1 genomes were evaluated up to it",
		"UPDATE generation SET best = '[[\"0123\",\"x\"]]' WHERE number = 0":     "it names genome 0123",
		"UPDATE generation SET best = '[[]]' WHERE number = 0":                   "is no genome with an operator",
		"UPDATE generation SET islands = '[' WHERE number = 0":                   "its cohorts cannot be read",
		"UPDATE measurement SET source = 'x'":                                    "its source has another hash",
		"UPDATE decision SET number = 3":                                         "decision 3 of r: number 1 is missing before it",
		"UPDATE decision SET declared = '['":                                     "decision 1 of r: what was declared",
		"UPDATE decision SET decided = '['":                                      "decision 1 of r: what was decided",
		"UPDATE decision SET decided = replace(decided, '\"b\"', '\"c\"')":       "it promoted image c, declared was b",
		"UPDATE decision SET decided = replace(decided, '\"n\":1,', '\"n\":2,')": "a look at 2 cases after 0, of 1",
		"UPDATE entrant SET source = 'x' WHERE number = 1":                       "tournament t, entrant 1: its source has another hash",
		"DELETE FROM entrant WHERE number = 0":                                   "tournament t: entrant 0 is missing",
		"DELETE FROM match WHERE number = 0":                                     "tournament t: match 0 is missing",
		"UPDATE match SET round = 5 WHERE number = 1":                            "match 1 is of round 5, after one of round 0",
		"UPDATE match SET red = 2 WHERE number = 1":                              "match 1 is between 0 and 2, there are 2 entrants",
		"DELETE FROM coevolution WHERE generation = 1 AND side = 1":              "side 1 of generation 1 is missing",
		"DELETE FROM coevolution WHERE generation = 0":                           "side 0 of generation 0 is missing",
		"UPDATE coevolution SET best = 'x'":                                      "its cohorts cannot be read",
		"PRAGMA foreign_keys = 0; DELETE FROM run":                               "rows of a run that is not there",
		"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'spec_hash TEXT NOT NULL', 'spec_hash TEXT NOT NULL CHECK (spec_hash = 1)')": "the file: ",
	} {
		l, path := told(t)
		if c, err := l.Check(); err != nil || len(c.Faults) > 0 || l.Damage(c) != nil {
			t.Fatalf("before: %+v, %v", c, err)
		}
		if _, err := l.db.Exec(harm); err != nil {
			t.Fatal(err)
		}
		l.Close()
		l = open(t, path)
		c, err := l.Check()
		if err != nil || !strings.Contains(strings.Join(c.Faults, "\n"), want) {
			t.Errorf("%s: %q, %v", harm, c.Faults, err)
			continue
		}
		wantDamage(t, path, l.Damage(c))
	}
}

func TestExportCSV(t *testing.T) {
	l, _ := told(t)
	for id, want := range map[string][]string{
		"r": {"run,sequence,generation,hash,operator,parents,status,steps,score,source\nr,0,0,", ",random,a b,ok,", "\"(define (f x) "},
		"t": {"tournament,number,round,blue,red,seed,verdict,blue_points,red_points,blue_steps,red_steps,detail\nt,0,0,x,y,", ",0.3333333333333333,0.30000000000000004,"},
	} {
		var b bytes.Buffer
		if err := l.ExportCSV(&b, id); err != nil {
			t.Error(err)
		}
		for _, part := range want {
			if !strings.Contains(b.String(), part) && !strings.Contains(b.String(), strings.Trim(part, `"`)) {
				t.Errorf("%s: no %q in %.500s", id, part, b.String())
			}
		}
	}
	if err := l.ExportCSV(&bytes.Buffer{}, "none"); !errors.Is(err, ErrNoRun) {
		t.Error(err)
	}
}

func TestImages(t *testing.T) {
	l, _ := told(t)
	if _, err := l.db.Exec("UPDATE run SET agent = 'i'; UPDATE tournament SET agent = 'k'"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"r": "[a b i]", "t": "[k]", "": "[a b i k]"} {
		if got, err := l.Images(id); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v", id, got, err)
		}
	}
	if _, err := l.Images("none"); !errors.Is(err, ErrNoRun) {
		t.Error(err)
	}
}
