package experiments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"jird/orchestrator"
	"jird/orchestrator/remote"
	"jird/population"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Engine says where a run's search is carried out. None of it changes a result.
type Engine struct {
	// Where is "local" (or ""), "nats" for a queue in this process, or the address of one:
	// nats://HOST:PORT or tls://HOST:PORT.
	Where  string
	Listen string // HOST:PORT where workers may join a queue in this process; "": nobody
	// Keys of those who may join there: public nkeys.
	Workers       []string
	NKey          string // file with our own
	CA, Cert, Key string // PEM files
}

// Away says whether others than this process's own shadows are asked.
func (e Engine) Away() bool { return e.Where != "" && e.Where != "local" }

// Apart says whether the queue is a server's of its own, not this process's.
func (e Engine) Apart() bool { return strings.Contains(e.Where, "://") }

// config is where the queue is and who we are; dir is for the store of one in this process.
func (e Engine) config(dir string) remote.Config {
	cfg := remote.Config{NKey: e.NKey, CA: e.CA, Cert: e.Cert, Key: e.Key}
	if e.Apart() {
		cfg.URL = e.Where
	} else {
		cfg.Dir, cfg.Listen, cfg.Workers = dir, e.Listen, e.Workers
	}
	return cfg
}

// farProtocol is the version of what submitters and workers say to each other.
const farProtocol = 1

// farUnits is how many units of work wait for workers at most: enough for some hundred
// of them, few enough that what is lost with a queue is soon submitted again.
const farUnits = 256

// levels are the isolations, the weakest first.
var levels = []isolation.Level{isolation.None, isolation.Full}

// needs is what work asks of a worker, and a worker says of itself. The evaluator is jird's
// own code around a referee, which comes with the agent.
func needs(runtime string, level isolation.Level) remote.Needs {
	prelude := sha256.Sum256(sandbox.Prelude())
	return remote.Needs{Runtime: runtime, Evaluator: hex.EncodeToString(prelude[:]), Protocol: farProtocol, Isolation: slices.Index(levels, level)}
}

// farm has units of work scored by workers.
type farm struct {
	lab      *Lab
	queue    *remote.Queue
	archives map[snapshots.ID]string // hash of what each image was sent as
}

// openFarm connects to where the search is to be carried out; it is nil for this machine
// alone. close must be called when the run is over.
func (l *Lab) openFarm(ctx context.Context, p orchestrator.Plan, o Options) (f *farm, close func(), err error) {
	e := o.Engine
	// What an earlier process left there is of no use: the ledger has what is done.
	dir := filepath.Join(l.Home, "queue", p.Record.ID)
	discard := func() error {
		defer os.Remove(filepath.Dir(dir)) // if it was the last one's
		return os.RemoveAll(dir)
	}
	if err := discard(); err != nil {
		return nil, nil, fmt.Errorf("the queue of an earlier process: %w", err)
	}
	if !e.Away() {
		return nil, func() {}, nil
	}
	queue, err := remote.Open(ctx, e.config(dir), l.Say)
	if err != nil {
		return nil, nil, err
	}
	f = &farm{lab: l, queue: queue, archives: map[snapshots.ID]string{}}
	if e.Apart() {
		return f, func() { queue.Close() }, nil
	}
	if at := queue.Address(); at != "" {
		scheme, key := "nats", ""
		if e.Cert != "" {
			scheme = "tls"
		}
		if len(e.Workers) > 0 {
			key = " --nkey FILE"
		}
		o.news("workers may join with: jird worker --engine %s://%s%s", scheme, at, key)
	}
	locals := l.newWorker(p.Workers, p.Sandbox.Policy.Level)
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		ended <- queue.Work(working, remote.Offer(needs(p.Record.Runtime, p.Sandbox.Policy.Level)), p.Workers, locals.do)
	}()
	return f, func() {
		stop()
		if err := <-ended; err != nil {
			l.Say("the workers in this process: %v", err)
		}
		locals.close()
		queue.Close()
		discard()
	}, nil
}

// bench is what a worker must know to score units: all that an outcome depends on, and
// nothing else. Its JSON is an object of the queue.
type bench struct {
	Spec      string `json:"spec"`
	Evaluator string `json:"evaluator"`
	Runtime   string `json:"runtime"`
	Agent     string `json:"agent"`   // snapshot
	Archive   string `json:"archive"` // object that holds it
	Count     int    `json:"count"`   // of cases
	Recipe    string `json:"recipe"`
	Seed      uint64 `json:"seed"`
}

// job is one unit of work.
type job struct {
	Bench   string   `json:"bench"` // object
	Genomes []string `json:"genomes"`
	From    int      `json:"from"`
	To      int      `json:"to"`
}

// result is what became of it: an outcome for each genome, or why the referee failed.
type result struct {
	Outcomes []outcome `json:"outcomes,omitempty"`
	Referee  *failing  `json:"referee,omitempty"`
}

type outcome struct {
	Status   population.Status  `json:"status"`
	Detail   string             `json:"detail,omitempty"`
	Scores   [][2]float64       `json:"scores,omitempty"`
	Steps    int64              `json:"steps,omitempty"`
	Features map[string]float64 `json:"features,omitempty"`
}

// failing is a *orchestrator.RefereeError, or, with a file, an *orchestrator.AgentError.
type failing struct {
	File    string `json:"file,omitempty"`
	Genome  string `json:"genome,omitempty"`
	Message string `json:"message"`
}

// open gives the executor of some work, in place of the local one.
func (f *farm) open(ctx context.Context, local orchestrator.Executor, level isolation.Level, w orchestrator.Work) (orchestrator.Executor, error) {
	archive, err := f.send(ctx, snapshots.ID(w.Run.Agent))
	if err != nil {
		return nil, err
	}
	recipe, err := sexpr.Canonical(w.Cases.Recipe)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(bench{
		Spec: w.Run.Spec, Evaluator: w.Run.Evaluator, Runtime: w.Run.Runtime, Agent: w.Run.Agent, Archive: archive,
		Count: w.Cases.Count, Recipe: string(recipe), Seed: w.Seed,
	})
	if err != nil {
		return nil, err
	}
	hash, err := f.queue.Put(ctx, b)
	if err != nil {
		return nil, err
	}
	return &far{local, f, hash, needs(w.Run.Runtime, level)}, nil
}

// send puts an image where workers find it.
func (f *farm) send(ctx context.Context, id snapshots.ID) (hash string, err error) {
	if hash = f.archives[id]; hash != "" {
		return hash, nil
	}
	var b bytes.Buffer
	if err := f.lab.Vault.Export(&b, []snapshots.ID{id}, nil); err != nil {
		return "", err
	}
	hash, err = f.queue.Put(ctx, b.Bytes())
	f.archives[id] = hash
	return hash, err
}

// far is the executor of one bench. The local one knows the cases.
type far struct {
	orchestrator.Executor
	farm  *farm
	bench string
	needs remote.Needs
}

// Parallel implements orchestrator.Executor.
func (x *far) Parallel() int { return farUnits }

// Score implements orchestrator.Executor. The id of the job is the hash of genomes, cases,
// seed and evaluator, which the bench names.
func (x *far) Score(ctx context.Context, genomes []*population.Genome, from, to int) ([]population.Outcome, error) {
	j := job{Bench: x.bench, From: from, To: to}
	for _, g := range genomes {
		j.Genomes = append(j.Genomes, g.Source())
	}
	body, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	answer, err := x.farm.queue.Do(ctx, hex.EncodeToString(sum[:]), x.needs, body)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w; `jird resume` goes on from the last whole generation", err)
	}
	return readResult(answer, len(genomes), to-from)
}

// readResult reads what a worker answered, which is believed, but not to have the form
// that is wanted.
func readResult(answer []byte, genomes, cases int) ([]population.Outcome, error) {
	var r result
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("a worker's answer cannot be read: %w", err)
	}
	if f := r.Referee; f != nil {
		return nil, f.err()
	}
	if len(r.Outcomes) != genomes {
		return nil, fmt.Errorf("a worker answered %d outcomes for %d genomes", len(r.Outcomes), genomes)
	}
	all := make([]population.Outcome, genomes)
	for i, o := range r.Outcomes {
		all[i] = population.Outcome{Status: o.Status, Detail: o.Detail, Scores: population.FromPairs(o.Scores), Steps: o.Steps, Features: o.Features}
		for _, s := range o.Scores {
			if !(s[1] > 0) {
				return nil, fmt.Errorf("a worker answered %v, which is no score", s)
			}
		}
		if wanted := map[bool]int{true: cases}[o.Status == population.OK]; len(o.Scores) != wanted || !slices.Contains(population.Statuses, o.Status) {
			return nil, fmt.Errorf("a worker answered %q with %d scores for %d cases", o.Status, len(o.Scores), cases)
		}
	}
	return all, nil
}

func (f *failing) err() error {
	if f.File != "" {
		return &orchestrator.AgentError{File: f.File, Err: fmt.Errorf("%s", f.Message)}
	}
	return &orchestrator.RefereeError{Message: f.Message, Genome: f.Genome}
}

// CheckEngine says what is wrong with the name of an engine, or nothing.
func CheckEngine(where string) string {
	if where == "" || where == "local" || where == "nats" || strings.HasPrefix(where, "nats://") || strings.HasPrefix(where, "tls://") {
		return ""
	}
	return fmt.Sprintf("must be local, nats, or the address of a queue such as nats://HOST:4222, not %q", where)
}
