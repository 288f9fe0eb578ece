// Package orchestrator carries out a run: it has the cohorts of the genetic
// loop measured by shadows, stops it, chooses a nominee, judges it on cases that
// the search never saw, and promotes it or refuses.
//
// It decides and remembers nothing by itself: what happened is told to a
// Recorder, and a run goes on from what the Recorder returns.
package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"jird/orchestrator/promote"
	"jird/orchestrator/propose"
	"jird/population"
	"jird/population/ga"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Cases asks the referee for cases.
type Cases struct {
	Count  int
	Recipe sexpr.Value
}

// Stops are the conditions at which a run ends, checked after whole
// generations; zero values do not apply.
type Stops struct {
	Generations int
	Evaluations int
	Steps       int64 // of all training measurements, as outcomes count them
	Stagnation  int
	Target      *float64
	Budget      time.Duration
	StopFile    string
}

// Plan is a run, ready to be carried out.
type Plan struct {
	Record   RunRecord
	Search   ga.Config
	Evolved  string // path of the evolvable file
	Train    Cases
	Validate Cases
	Holdout  Cases
	Cascade  Cascade // of the training cases
	Stops    Stops
	Asking   Asking
	Alpha    float64 // of the decision, with Effect and Power: see promote.Plan
	Effect   float64
	Power    float64
	Fuel     int64 // steps per case
	Shadows  int   // alive at once
	Workers  int   // computing at once
	Sandbox  sandbox.Options
}

// Asking is whom a run asks for genomes, beside or in place of the operators.
type Asking struct {
	Task      string // what they are told
	Proposers []propose.Source
	Ceilings  propose.Ceilings
}

// Event is progress, for people.
type Event struct {
	Generation  int
	Evaluations int
	Best        float64
	Elapsed     time.Duration
	Message     string // set instead of the numbers when something else happened
}

// Summary is one policy with what it scored; lower is better.
type Summary struct {
	Expr    string  `json:"expr"`
	Train   float64 `json:"train"`
	Holdout float64 `json:"holdout"`
}

// Result is how a run ended.
type Result struct {
	Run         string       `json:"run"`
	Seed        uint64       `json:"seed"`
	Runtime     string       `json:"runtime"`
	Isolation   string       `json:"isolation"`
	Engine      string       `json:"engine"`
	Stop        string       `json:"stop"`
	Evaluations int          `json:"evaluations"`
	Generations int          `json:"generations"`
	ShadowsPeak int          `json:"shadows_peak"`
	Incumbent   Summary      `json:"incumbent"`
	Winner      Summary      `json:"winner"`
	P           float64      `json:"p"`             // at the last look
	Cases       int          `json:"holdout_cases"` // measured until the decision
	Verdict     promote.Stop `json:"verdict"`
	Promoted    bool         `json:"promoted"`
	Reason      string       `json:"reason"`
	Snapshot    string       `json:"snapshot"`
	Interrupted bool         `json:"interrupted"`

	Proposers []propose.Usage `json:"proposers,omitempty"` // what they were asked for and used
}

// Numbers are what can be asserted: train and holdout of winner and incumbent, gain (how
// much lower the winner's holdout is, as a share of the incumbent's), p, cases,
// evaluations, generations and promoted.
func (r *Result) Numbers() map[string]float64 {
	n := SideNumbers(r.Incumbent, r.Winner)
	n["p"], n["cases"] = r.P, float64(r.Cases)
	n["evaluations"], n["generations"] = float64(r.Evaluations), float64(r.Generations)
	n["promoted"] = map[bool]float64{true: 1}[r.Promoted]
	return n
}

// SideNumbers are those of Numbers that tell of both sides of a decision.
func SideNumbers(incumbent, winner Summary) map[string]float64 {
	n := map[string]float64{
		"winner.train": winner.Train, "winner.holdout": winner.Holdout, "incumbent.train": incumbent.Train, "incumbent.holdout": incumbent.Holdout,
	}
	if incumbent.Holdout != 0 {
		n["gain"] = 1 - winner.Holdout/incumbent.Holdout
	}
	return n
}

// Deps are the places that a run works with.
type Deps struct {
	Vault    *snapshots.Vault
	Recorder Recorder
	Events   func(Event)
	// Elsewhere, if not nil, gives an executor that does the search's work on other
	// machines. It closes the local one, which knows the names of the cases.
	Elsewhere func(ctx context.Context, local Executor, w Work) (Executor, error)
	// Promote makes to live in place of from, through whatever guards the agent. It
	// returns why that was refused, or "".
	Promote func(ctx context.Context, agent string, from, to snapshots.ID, reason string) (refused string, err error)
}

// run is one run under way.
type run struct {
	Plan
	Deps
	agent   *Agent
	started time.Time
	before  time.Duration      // spent by earlier parts of a resumed run
	number  int                // of its decision
	asked   *propose.Proposers // nil for none
	steps   int64              // of the search so far
	stop    string
	peak    int
}

// Run carries out a plan from the start, or goes on from what was stored. A
// cancelled context ends it after it was recorded as interrupted: the result
// then says so, and the error is nil.
func Run(ctx context.Context, p Plan, d Deps, from *Stored) (*Result, error) {
	r, err := newRun(p, d, firstDecision)
	if err != nil {
		return nil, err
	}
	r.Search.Seeds = []*population.Genome{r.agent.Incumbent}
	if from == nil {
		if err := d.Recorder.Begin(p.Record); err != nil {
			return nil, err
		}
	} else {
		if r.agent.Evaluator != p.Record.Evaluator {
			return nil, fmt.Errorf("run %s was begun by a jird whose prelude for Scheme is another: scores need not be the same; go on with that jird, or start a new run", p.Record.ID)
		}
		r.before = from.Elapsed
	}
	result, err := r.carryOut(ctx, from)
	if err != nil && ctx.Err() != nil {
		result = &Result{Interrupted: true, Reason: "interrupted; go on with: jird resume " + p.Record.ID}
		r.describe(result)
		return result, d.Recorder.Finish(p.Record.ID, RunInterrupted, "interrupted", r.peak, result.Isolation, r.elapsed())
	}
	if err != nil {
		return nil, err
	}
	r.describe(result)
	return result, d.Recorder.Finish(p.Record.ID, RunDone, r.stop, r.peak, result.Isolation, r.elapsed())
}

func newRun(p Plan, d Deps, number int) (*run, error) {
	r := &run{Plan: p, Deps: d, started: time.Now(), number: number}
	image, err := d.Vault.Get(snapshots.ID(p.Record.Agent))
	if err != nil {
		return nil, err
	}
	r.agent, err = ReadAgent(image, p.Search.Grammar, p.Evolved)
	return r, err
}

// Judge has a policy stand against that of the image p.Record.Agent, by the rules of a
// recorded run and as one more of its decisions, whose number says which cases it gets.
// What would go live is the image winner. An error leaves the decision open.
func Judge(ctx context.Context, p Plan, d Deps, number int, policy *population.Genome, winner snapshots.ID) (*Result, error) {
	r, err := newRun(p, d, number)
	if err != nil {
		return nil, err
	}
	train, err := r.open(ctx, trainCases, r.Train, r.Workers)
	if err != nil {
		return nil, err
	}
	defer train.Close()
	if err := r.preflight(ctx, train); err != nil {
		return nil, err
	}
	return r.decide(ctx, train, policy, winner)
}

func (r *run) elapsed() time.Duration { return r.before + time.Since(r.started) }

func (r *run) describe(result *Result) {
	result.Run, result.Seed, result.Runtime = r.Record.ID, r.Record.Seed, r.Record.Runtime
	result.Isolation, result.Engine = string(r.Sandbox.Policy.Level), r.Sandbox.Kind()
	result.ShadowsPeak, result.Stop = r.peak, r.stop
}

func (r *run) say(format string, args ...any) {
	if r.Events != nil {
		r.Events(Event{Message: fmt.Sprintf(format, args...)})
	}
}

func (r *run) carryOut(ctx context.Context, from *Stored) (*Result, error) {
	train, err := r.open(ctx, trainCases, r.Train, r.Shadows)
	if err != nil {
		return nil, err
	}
	defer train.Close()
	if err := r.preflight(ctx, train); err != nil {
		return nil, err
	}
	r.started = time.Now() // compiling is not searching
	state, err := r.search(ctx, train, from)
	if err != nil {
		return nil, err
	}
	r.peak = train.Peak()
	nominee, err := r.nominate(ctx, train, state)
	if err != nil {
		return nil, err
	}
	result, err := r.decide(ctx, train, nominee, "")
	if err != nil {
		return nil, err
	}
	result.Evaluations, result.Generations = state.Evaluations, state.Generation
	result.Proposers = r.spent()
	return result, nil
}

// The purposes of cases.
const (
	trainCases    = "train"
	validateCases = "validate"
	holdoutCases  = "holdout"
)

// open opens the bench of a purpose. The search's work may be done elsewhere; what decides
// a promotion is measured on this machine alone.
func (r *run) open(ctx context.Context, purpose string, c Cases, shadows int) (*Bench, error) {
	away := r.Elsewhere != nil && purpose != holdoutCases
	if away {
		shadows = 1 // it is asked for the names of the cases only
	}
	x, err := OpenExecutor(ctx, r.agent, r.Search.Grammar, r.Sandbox, r.Fuel, shadows, r.Workers, r.recipe(purpose, c))
	if err != nil {
		return nil, err
	}
	if away {
		far, err := r.Elsewhere(ctx, x, Work{r.Record, c, r.caseSeed(purpose)})
		if err != nil {
			x.Close()
			return nil, err
		}
		x = far
	}
	var cascade Cascade
	if purpose == trainCases {
		cascade = r.Cascade
	}
	return NewBench(x, cascade), nil
}

// Work is what an executor elsewhere must know of a run to score as this machine does.
type Work struct {
	Run   RunRecord
	Cases Cases
	Seed  uint64 // of the cases
}

// OpenWork starts the processes that do a run's work for another machine. The plan is made
// from the run's spec, with limits as it says and the isolation of this machine.
func OpenWork(ctx context.Context, p Plan, image *snapshots.Image, w Work) (Executor, error) {
	agent, err := ReadAgent(image, p.Search.Grammar, p.Evolved)
	if err != nil {
		return nil, err
	}
	if agent.Evaluator != w.Run.Evaluator {
		return nil, errors.New("this work is scored by another jird's prelude for Scheme: scores need not be the same; start its workers with that jird")
	}
	return OpenExecutor(ctx, agent, p.Search.Grammar, p.Sandbox, p.Fuel, p.Workers, p.Workers, w.recipe)
}

func (w Work) recipe(im *sandbox.Image) {
	im.Recipe = &sandbox.Recipe{Seed: w.Seed, Count: w.Cases.Count, Data: w.Cases.Recipe}
}

func (r *run) recipe(purpose string, c Cases) func(*sandbox.Image) {
	return Work{r.Record, c, r.caseSeed(purpose)}.recipe
}

// caseSeed derives the seed of a purpose's cases. Training and validation belong
// to the experiment and its seed; a decision's cases to that one decision, so
// they are never drawn twice.
func (r *run) caseSeed(purpose string) uint64 {
	text := fmt.Sprintf("%s/%s/%d", purpose, r.Record.SpecHash, r.Record.Seed)
	if purpose == holdoutCases {
		text = fmt.Sprintf("%s/%s/%s/%d", purpose, r.Record.SpecHash, r.Record.ID, r.number)
	}
	return CaseSeed("%s", text)
}

// CaseSeed derives the seed of some cases from what belongs to them alone.
func CaseSeed(format string, args ...any) uint64 {
	return derived(format, args...) >> 2 // a fixnum in Gambit
}

func derived(format string, args ...any) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, format, args...))
	return binary.BigEndian.Uint64(sum[:8])
}

// preflight measures the incumbent alone: if that fails, the referee or the
// agent is at fault, not a candidate.
func (r *run) preflight(ctx context.Context, train *Bench) error {
	outcomes, err := train.Measure(ctx, r.agent.Incumbent)
	if err != nil {
		var referee *RefereeError
		if errors.As(err, &referee) {
			return &AgentError{refereeFile, err}
		}
		return err
	}
	if o := outcomes[0]; o.Status != population.OK {
		return &AgentError{refereeFile, fmt.Errorf("the incumbent itself cannot be scored: %s (%s); make the referee faster or raise limits.fuel, limits.wall or limits.heap", o.Status, o.Detail)}
	}
	return nil
}

func (r *run) search(ctx context.Context, train *Bench, from *Stored) (*ga.State, error) {
	var state *ga.State
	var known map[string]population.Outcome
	if from != nil && from.Last != nil {
		var err error
		if known, err = r.Recorder.Outcomes(r.Record.ID); err != nil {
			return nil, err
		}
		for _, o := range known {
			r.steps += o.Steps
		}
		state = from.Last
		if r.stop = r.reached(state); r.stop != "" {
			return state, nil
		}
	}
	cfg := r.Search
	cfg.Seed, cfg.Generations = r.Record.Seed, r.Stops.Generations
	if err := r.openProposers(train, from); err != nil {
		return nil, err
	}
	if r.asked != nil {
		cfg.Proposer = asker{r.asked, r.Record.ID}
	}
	return ga.Run(ctx, cfg, state, train, known, func(s *ga.State, fresh []ga.Member) (bool, error) {
		if err := r.Recorder.Generation(GenerationRecord{r.Record.ID, s, fresh, r.elapsed(), r.spent()}); err != nil {
			return true, err
		}
		for _, m := range fresh {
			r.steps += m.Outcome.Steps
		}
		if r.Events != nil {
			r.Events(Event{Generation: s.Generation, Evaluations: s.Evaluations, Best: s.Best[0].Outcome.Fitness(), Elapsed: r.elapsed()})
		}
		r.stop = r.reached(s)
		return r.stop != "", nil
	})
}

// reached names the stop condition that holds after a generation, or "".
func (r *run) reached(s *ga.State) string {
	c := r.Stops
	switch {
	case c.Generations > 0 && s.Generation >= c.Generations:
		return "generations"
	case c.Evaluations > 0 && s.Evaluations >= c.Evaluations:
		return "evaluations"
	case c.Steps > 0 && r.steps >= c.Steps:
		return "steps"
	case c.Target != nil && s.Best[0].Outcome.Fitness() <= *c.Target:
		return "target"
	case c.Stagnation > 0 && s.Stagnant >= c.Stagnation:
		return "no progress"
	case r.asked != nil && r.Search.Grammar.Open && r.asked.Exhausted(): // nothing else makes genomes
		return "ceilings"
	case c.StopFile != "" && exists(c.StopFile):
		return "stop file"
	case c.Budget > 0 && r.elapsed() >= c.Budget:
		return "budget"
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
