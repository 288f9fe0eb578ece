package orchestrator

import (
	"time"

	"jird/orchestrator/promote"
	"jird/orchestrator/propose"
	"jird/population"
	"jird/population/ga"
)

// RunRecord identifies a run. Nothing in it depends on time, place or the
// number of workers.
type RunRecord struct {
	ID          string // derived from all the fields below and Repeat
	Name        string // the experiment's name
	Variant     string // empty when the spec has none
	Spec        string // the effective spec as canonical JSON: enough to resume without the file
	SpecHash    string // SHA-256 of Spec, hex
	Agent       string // snapshot that the run started from
	Evaluator   string // SHA-256 of the referee's source and jird's own prelude, hex
	Runtime     string // e.g. "gambit 4.9.3"
	Seed        uint64
	Generations int           // 0: no limit
	Budget      time.Duration // 0: no limit
	Repeat      int           // 0 for the first run with these inputs
}

// GenerationRecord is one whole generation: the unit that is written or not.
type GenerationRecord struct {
	Run     string
	State   *ga.State
	Fresh   []ga.Member     // genomes measured for the first time in this run, in measuring order
	Elapsed time.Duration   // of the run so far; kept in a table of timings
	Spent   []propose.Usage // of the run so far, by its proposers; nil for none
}

// Measurement is one genome measured outside the search: for the choice of the
// nominee or for its simplification.
type Measurement struct {
	Genome  *population.Genome
	Purpose string // "validate" or "simplify"
	Outcome population.Outcome
}

// Decision is the judgement on one nominee, with its evidence.
type Decision struct {
	Run               string // or, for open code, the agent
	Number            int    // 1 for the first, which of a run is its own
	Incumbent, Winner string // source of the policies; of open code, of what differs
	// What is declared before the data. The cases come from the plan's seed.
	IncumbentImage, WinnerImage string // snapshots; the same one when the winner is the incumbent
	Evaluator                   string // SHA-256 as in RunRecord
	Plan                        promote.Plan
	Guardrails                  []promote.Guardrail
	IncumbentTrain, WinnerTrain float64
	// What was found.
	Observations []promote.Observation // in the order of measuring
	Looks        []promote.Look
	Stop         promote.Stop
	Promoted     bool
	Reason       string
	Snapshot     string // the promoted image; empty when refused
}

// Result statuses of a run.
const (
	RunRunning     = "running"
	RunDone        = "done"
	RunInterrupted = "interrupted"
)

// Stored is a run as the ledger knows it.
type Stored struct {
	Run      RunRecord
	Status   string // RunRunning, RunDone or RunInterrupted
	Stop     string // why it ended: "generations", "budget", ...
	Started  time.Time
	Last     *ga.State       // nil before the first whole generation
	Decision *Decision       // nil before the decision
	Elapsed  time.Duration   // of all whole generations so far
	Spent    []propose.Usage // by the end of Last
}

// Declarer keeps what was declared.
type Declarer interface {
	// Declare records what a decision will measure, before any of it is measured.
	Declare(Decision) error
}

// Recorder keeps the truth of a run. The layer above implements it with the
// ledger. Each method is one transaction: on error nothing of it is kept.
// Methods are called by one goroutine at a time.
type Recorder interface {
	// Begin records the run. It is an error if a run of that id exists.
	Begin(RunRecord) error
	// Generation records one whole generation and the genomes that are new in it.
	Generation(GenerationRecord) error
	Declarer
	// Measured records measurements made outside the search.
	Measured(run string, m []Measurement) error
	// Decide completes the declared decision.
	Decide(Decision) error
	// Finish marks the run as ended, with RunDone or RunInterrupted and why.
	Finish(run, status, stop string, shadowsPeak int, isolation string, elapsed time.Duration) error
	// Load returns a run with its last whole generation.
	Load(run string) (*Stored, error)
	// Exchange returns what a proposer's request of a hash was answered, nil where that is
	// not known: see propose.Store. Exchanged keeps it.
	Exchange(run, hash string) (*propose.Exchange, error)
	Exchanged(run string, x propose.Exchange) error
	// Outcomes returns every training outcome of the run by genome hash.
	Outcomes(run string) (map[string]population.Outcome, error)
}
