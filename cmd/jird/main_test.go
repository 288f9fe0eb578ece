package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"jird/sandbox"
	"jird/sandbox/isolation"
)

// asJird makes the test binary behave as the command.
const asJird = "JIRD_TEST_AS_COMMAND"

// noSleep is for commands built with the race detector, which otherwise sleeps for a
// second before a process ends.
const noSleep = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	sandbox.Stage()
	if os.Getenv(asJird) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"jird": main})
}

// place is a folder with an experiment and a state folder.
type place struct {
	t    testing.TB
	dir  string
	home string
	env  []string
}

// newPlace is where a test works; a test runs beside others from here on.
func newPlace(t testing.TB) *place {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	if _, err := sandbox.FindRuntime(t.Context(), "auto"); err != nil {
		t.Skipf("skipped: %v", err)
	}
	if _, err := isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe()); err != nil {
		t.Skipf("skipped: %v", err)
	}
	p := &place{t: t, dir: t.TempDir()}
	p.home = filepath.Join(p.dir, "home")
	p.ok("init", "p")
	return p
}

func (p *place) command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Dir = p.dir
	c.Env = append(append(os.Environ(), asJird+"=1", "JIRD_HOME="+p.home, noSleep), p.env...)
	return c
}

// run runs the command; it fails the test on another status than the given one.
func (p *place) run(status int, args ...string) (stdout, stderr string) {
	p.t.Helper()
	c := p.command(args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("jird %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out.String(), said.String())
	}
	return out.String(), said.String()
}

func (p *place) ok(args ...string) string {
	p.t.Helper()
	out, _ := p.run(0, args...)
	return out
}

// small runs a short experiment; every field of its JSON by name.
func (p *place) small(args ...string) map[string]any {
	p.t.Helper()
	all := append([]string{"run", "p/experiment.yaml", "--generations", "3", "--seed", "7", "--output", "json"}, args...)
	var result map[string]any
	if err := json.Unmarshal([]byte(p.ok(all...)), &result); err != nil {
		p.t.Fatal(err)
	}
	return result
}

func (p *place) shrinkExperiment() {
	p.t.Helper()
	p.edit("p/experiment.yaml", "population: 100", "population: 25", "count: 20, ", "count: 10, ", "count: 200,", "count: 10,", "count: 500", "count: 40")
}

func (p *place) edit(name string, pairs ...string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			p.t.Fatalf("%s does not contain %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// Same spec, seed and generations: the same ledger and winner, whatever the
// number of workers and shadows.
func TestLedgerIsTheSameForAnyWorkersAndShadows(t *testing.T) {
	p := newPlace(t)
	p.shrinkExperiment()
	one := p.small("--workers", "1", "--shadows", "4")
	first := p.ok("ledger", "export", one["run"].(string))
	p.home = filepath.Join(p.dir, "other")
	two := p.small("--workers", "16", "--shadows", "64")
	second := p.ok("ledger", "export", two["run"].(string))
	if first != second {
		t.Error("the exported ledgers differ: ", firstDifference(first, second))
	}
	if fmt.Sprint(one["winner"]) != fmt.Sprint(two["winner"]) {
		t.Errorf("winners differ: %v, %v", one["winner"], two["winner"])
	}
	if strings.Count(first, `"table":"genome"`) < 200 {
		t.Error("the ledger holds too few genomes to compare")
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d:\n%.300s\n%.300s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// explain prints what a decision rests on, and the run's own words come from it.
func TestExplain(t *testing.T) {
	p := newPlace(t)
	p.shrinkExperiment()
	r := p.small()
	run := r["run"].(string)
	var e struct {
		Declared struct {
			Alpha, Effect, Power float64
			Looks                []int
			Guardrails           map[string]string
			Evaluator            string
			WinnerImage          string `json:"winner_image"`
		}
		Decided struct {
			Reason string
			Cases  []struct {
				Case              string
				Incumbent, Winner struct{ Num, Den float64 }
			}
			Looks []struct {
				N         int
				Incumbent float64
				Stop      string
			}
		}
	}
	if err := json.Unmarshal([]byte(p.ok("explain", run, "--output", "json")), &e); err != nil {
		t.Fatal(err)
	}
	d := e.Declared
	if d.Alpha != 0.01 || d.Effect != 0.05 || d.Power != 0.8 || !slices.Equal(d.Looks, []int{10, 14, 20, 30, 40}) || len(d.Guardrails) != 2 || len(d.Evaluator) != 64 || len(d.WinnerImage) != 64 {
		t.Errorf("declared: %+v", d)
	}
	var num, den float64
	for _, c := range e.Decided.Cases {
		num, den = num+c.Incumbent.Num, den+c.Incumbent.Den
	}
	last := e.Decided.Looks[len(e.Decided.Looks)-1]
	if len(e.Decided.Cases) != last.N || last.Incumbent != num/den || last.Stop == "" || e.Decided.Reason != r["reason"] || float64(last.N) != r["holdout_cases"] {
		t.Errorf("decided: %+v; the run said %v", e.Decided.Looks, r)
	}
	table := p.ok("explain", run+"/1")
	for _, want := range []string{"guardrail steps", "winner's image", e.Decided.Cases[0].Case, "CHANCE", e.Decided.Reason} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not say %q:\n%s", want, table)
		}
	}
	p.run(exitUsage, "explain", run+"/x")
	p.run(exitFailed, "explain", run+"/2")
	p.run(exitUsage, "explain", "none")
}

// A genome of a run stands against what is live, whatever that is by now, on cases of
// its own, and once only.
func TestPromoteWhatIsBetter(t *testing.T) {
	p := newPlace(t)
	p.shrinkExperiment()
	run := p.small("--generations", "1")["run"].(string)
	var seed string
	for _, line := range strings.Split(p.ok("ledger", "export", run), "\n") {
		var g struct{ Table, Hash, Operator string }
		if json.Unmarshal([]byte(line), &g) == nil && g.Table == "genome" && g.Operator == "seed" {
			seed = g.Hash
		}
	}
	p.edit("p/agent/policy.scm", "(- item remaining)", "(- remaining item)") // the worst fit
	var worst struct{ Snapshot string }
	if err := json.Unmarshal([]byte(p.ok("snapshot", "create", "packer", "p/agent", "--output", "json")), &worst); err != nil {
		t.Fatal(err)
	}
	var e struct {
		Number   int
		Declared struct {
			Seed        uint64
			WinnerImage string `json:"winner_image"`
		}
		Decided struct {
			Promoted bool
			Reason   string
		}
	}
	if err := json.Unmarshal([]byte(p.ok("promote", seed[:12], "--output", "json")), &e); err != nil {
		t.Fatal(err)
	}
	if e.Number != 2 || !e.Decided.Promoted || !strings.Contains(e.Decided.Reason, "better: on") || e.Declared.Seed == 0 {
		t.Errorf("%+v", e)
	}
	if live := p.ok("snapshot", "show", "packer/live"); !strings.Contains(live, e.Declared.WinnerImage) {
		t.Errorf("live is\n%s\nand not %s", live, e.Declared.WinnerImage)
	}
	if _, said := p.run(exitUsage, "promote", e.Declared.WinnerImage[:12]); !strings.Contains(said, "is what is live") {
		t.Error(said)
	}
	if said := p.ok("promote", worst.Snapshot[:12]); !strings.Contains(said, run+"/3: kept the incumbent: worse: on") {
		t.Error(said)
	}
	if _, said := p.run(exitUsage, "promote", worst.Snapshot[:12]); !strings.Contains(said, "judged before: decision "+run+"/3") {
		t.Error(said)
	}
	if said := p.ok("report", run); strings.Contains(said, e.Decided.Reason) {
		t.Errorf("the run's report tells of another decision than its own:\n%s", said)
	}
}

// After capture the run needs nothing of the folder.
func TestRunNeedsOnlyTheSnapshot(t *testing.T) {
	p := newPlace(t)
	p.shrinkExperiment()
	p.ok("snapshot", "create", "packer", "p/agent")
	if err := os.RemoveAll(filepath.Join(p.dir, "p/agent")); err != nil {
		t.Fatal(err)
	}
	if r := p.small(); r["evaluations"].(float64) < 200 {
		t.Errorf("only %v evaluations", r["evaluations"])
	}
}

// Without the interpreter there are no scores: no Go code evaluates a policy.
func TestNoScoreWithoutTheInterpreter(t *testing.T) {
	p := newPlace(t)
	empty := t.TempDir()
	p.env = []string{"PATH=" + empty}
	_, said := p.run(1, "run", "p/experiment.yaml", "--generations", "1")
	if !strings.Contains(said, "apt-get install gambc") {
		t.Errorf("the message names no cure: %s", said)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "c.json"), []byte(`{"a": {"capacity": 10, "items": [5]}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(1, "evaluate", "p/experiment.yaml", "--cases", "c.json")
}

// interrupted starts a run, sends it a signal once a few generations are done,
// and returns its id.
func (p *place) interrupted(sig os.Signal, generations string) (run string, c *exec.Cmd) {
	p.t.Helper()
	c = p.command("run", "p/experiment.yaml", "--generations", generations, "--seed", "7", "--output", "json")
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if time.Now().After(deadline) {
			_ = c.Process.Kill()
			_ = c.Wait()
			p.t.Fatalf("two generations were not done within two minutes; it said %s", said.String())
		}
		time.Sleep(50 * time.Millisecond)
		var status struct {
			Runs []struct {
				Run         string
				Generations int
			}
		}
		out := p.ok("status", "--output", "json")
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			p.t.Fatal(err)
		}
		if runs := status.Runs; len(runs) > 0 && runs[0].Generations >= 2 {
			run = runs[0].Run
			break
		}
	}
	if err := c.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	_ = c.Wait()
	return run, c
}

// A run that was interrupted and resumed has the ledger of one that was not.
func TestResumeEqualsUninterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			p := newPlace(t)
			p.shrinkExperiment()
			const generations = "12"
			run, c := p.interrupted(sig, generations)
			if got := c.ProcessState.ExitCode(); sig == syscall.SIGINT && got != exitInterrupted {
				t.Errorf("status %d after SIGINT, want %d", got, exitInterrupted)
			}
			waitForNone(t, p.dir)
			p.ok("resume", run)
			resumed := p.ok("ledger", "export", run)
			p.home = filepath.Join(p.dir, "whole")
			p.ok("run", "p/experiment.yaml", "--generations", generations, "--seed", "7")
			if whole := p.ok("ledger", "export", run); whole != resumed {
				t.Error("the ledgers differ: ", firstDifference(whole, resumed))
			}
		})
	}
}

// waitForNone fails if a Scheme process outlives its jird. Processes of other tests
// are other jirds' children: these have no parent left but init. Those of a jird that
// another test has just killed are gone in a moment.
func waitForNone(t *testing.T, _ string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		orphans := orphanedSchemes(t)
		if len(orphans) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Scheme processes outlive jird: %v", orphans)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func orphanedSchemes(t *testing.T) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal("cannot read /proc: ", err)
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(data))
		if (fields[1] == "(gsi)" || fields[1] == "(gxi)") && fields[3] == "1" && fields[2] != "Z" {
			pid, _ := strconv.Atoi(fields[0])
			pids = append(pids, pid)
		}
	}
	return pids
}

// What a newcomer gets wrong is said so that it can be put right, with status 3.
func TestInvalidInput(t *testing.T) {
	for _, c := range []struct {
		name  string
		file  string
		edits []string
		says  []string
	}{
		{"agent does not load", "p/agent/agent.scm", []string{"(define bin-capacity 150)", "(define bin-capacity (car 5))"}, []string{"agent.scm"}},
		{"agent with a syntax error", "p/agent/agent.scm", []string{"(define bin-capacity 150)", "(define bin-capacity 150"}, []string{"agent.scm"}},
		{"policy of the wrong arity", "p/agent/policy.scm", []string{"(define (priority item remaining)", "(define (priority item)", "(- item remaining)", "item"}, []string{"policy.scm", "takes 1 arguments", "(define (priority item remaining) ...)"}},
		{"referee answers text", "p/agent/fitness.scm", []string{"(cons (- bins bound) bound)", `"good"`}, []string{"fitness.scm", "fitness-score", "good"}},
		{"referee answers NaN", "p/agent/fitness.scm", []string{"(cons (- bins bound) bound)", "(/ 0. 0.)"}, []string{"fitness.scm", "finite"}},
		{"referee crashes", "p/agent/fitness.scm", []string{"(cons (- bins bound) bound)", "(vector-ref (vector) 3)"}, []string{"fitness.scm", "referee failed"}},
		{"no referee", "p/experiment.yaml", []string{"file: policy.scm", "file: nothing.scm"}, []string{"nothing.scm"}},
		{"unknown key", "p/experiment.yaml", []string{"islands: 4", "island: 4"}, []string{"experiment.yaml:", "did you mean \"islands\"?"}},
		{"wrong type", "p/experiment.yaml", []string{"islands: 4", "islands: four"}, []string{"islands must be a whole number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			p.shrinkExperiment()
			p.edit("p/experiment.yaml", "wall: 30s", "wall: 5s")
			p.edit(c.file, c.edits...)
			_, said := p.run(exitInvalid, "run", "p/experiment.yaml", "--generations", "2", "--shadows", "4")
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("the message does not say %q:\n%s", want, said)
				}
			}
		})
	}
}

// A referee that is slow is told apart from a candidate that is, and from a
// machine that gives it no time.
func TestSlowReferee(t *testing.T) {
	p := newPlace(t)
	p.shrinkExperiment()
	p.edit("p/experiment.yaml", "wall: 30s", "wall: 5s")
	p.edit("p/agent/fitness.scm", "(cons (- bins bound) bound)", "(let loop () (loop))")
	c := p.command("run", "p/experiment.yaml", "--generations", "2", "--shadows", "4")
	if os.Getuid() == 0 { // before all others, so that the referee gets the time to be slow
		first := exec.Command("nice", append([]string{"-n", "-20"}, c.Args...)...)
		first.Dir, first.Env = c.Dir, c.Env
		c = first
	}
	out, _ := c.CombinedOutput()
	said := string(out)
	if strings.Contains(said, "too little time") {
		t.Skipf("the machine is too busy to tell: %s", said)
	}
	if got := c.ProcessState.ExitCode(); got != exitInvalid {
		t.Errorf("status %d", got)
	}
	for _, want := range []string{"fitness.scm", "incumbent itself", "timeout"} {
		if !strings.Contains(said, want) {
			t.Errorf("the message does not say %q:\n%s", want, said)
		}
	}
}

// The winner's expression, written to a file, scores what the run said; and an
// incumbent is what evaluate takes without a genome.
func TestEvaluate(t *testing.T) {
	p := newPlace(t)
	cases := `{"x": {"capacity": 10, "items": [6, 5, 4, 5, 3]}, "wide": {"capacity": 100000, "items": [60000, 50000, 40000, 50000]}}`
	if err := os.WriteFile(filepath.Join(p.dir, "c.json"), []byte(cases), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, genome := range map[string]string{"expression": "(- item remaining)", "definition": "(define (priority item remaining) (- item remaining))"} {
		if err := os.WriteFile(filepath.Join(p.dir, "g.scm"), []byte(genome), 0o644); err != nil {
			t.Fatal(err)
		}
		out := p.ok("evaluate", "p/experiment.yaml", "--genome", "g.scm", "--cases", "c.json", "--output", "json")
		var got struct {
			Scores map[string]float64
			Mean   float64
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		// By hand, best fit: 6 | 6 5 | 6+4 5 | 6+4 5+5 | 3 alone: 3 bins, bound 3.
		// 60000 | 50000 | 60000+40000, 50000+50000: 2 bins, bound 2.
		if got.Scores["x"] != 0 || got.Scores["wide"] != 0 || got.Mean != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Worst fit, by hand: 6 | 6 5 | 6, 5+4 | then 5 fits nowhere: 3 bins | 3 goes
	// to the emptiest, the third: 3 bins. A fresh bin is emptier still, so every
	// item gets its own: 5 bins, bound 3.
	if err := os.WriteFile(filepath.Join(p.dir, "g.scm"), []byte("remaining"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := p.ok("evaluate", "p/experiment.yaml", "--genome", "g.scm", "--cases", "c.json", "--output", "json")
	if !strings.Contains(out, fmt.Sprintf("%v", 2.0/3)) {
		t.Errorf("worst fit: %s", out)
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	got := flagsFirst([]string{"jird", "--home", "h", "evaluate", "e.yaml", "--genome", "g", "--output=json"})
	want := []string{"jird", "--home", "h", "evaluate", "--genome", "g", "--output=json", "e.yaml"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	got = flagsFirst([]string{"jird", "snapshot", "list", "--output", "json"})
	if want = []string{"jird", "snapshot", "list", "--output", "json"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
