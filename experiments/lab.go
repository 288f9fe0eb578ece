package experiments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/population"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Lab is a state folder: vault and ledger.
type Lab struct {
	Home   string
	Vault  *snapshots.Vault
	Ledger *ledger.Ledger
	Say    func(format string, args ...any) // what a person should know or do
}

// OpenLab opens the state folder and makes what is missing.
func OpenLab(home string, say func(string, ...any)) (*Lab, error) {
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, err
	}
	vault, err := snapshots.Open(filepath.Join(home, "vault"))
	if err != nil {
		return nil, err
	}
	book, err := ledger.Open(filepath.Join(home, "ledger.db"), grammarOf)
	if err != nil {
		vault.Close()
		return nil, err
	}
	return &Lab{Home: home, Vault: vault, Ledger: book, Say: say}, nil
}

// Close closes vault and ledger.
func (l *Lab) Close() error { return errors.Join(l.Ledger.Close(), l.Vault.Close()) }

func grammarOf(spec string) (*population.Grammar, error) {
	s, err := FromJSON(spec)
	if err != nil {
		return nil, err
	}
	return s.population()
}

// Options are what a user may say at each start; none is part of a run's
// identity.
type Options struct {
	Workers   int // 0: the number of cores
	Shadows   int // 0: as the spec says
	Isolation isolation.Level
	Events    func(orchestrator.Event) // news and progress; nil: nobody asks
	Keep      bool                     // keeps what is live, whatever wins
	Engine    Engine
}

// news tells what happened, and asks nothing of anybody.
func (o Options) news(format string, args ...any) {
	if o.Events != nil {
		o.Events(orchestrator.Event{Message: fmt.Sprintf(format, args...)})
	}
}

// Agent returns the live image of the spec's agent. The folder is captured if
// there is none; else what is live is taken, and a difference is said.
func (l *Lab) Agent(s *Spec) (snapshots.ID, error) {
	ref := s.Name + "/live"
	live, err := l.Vault.Ref(ref)
	if errors.Is(err, snapshots.ErrNoRef) {
		if id, err := l.Capture(s.Name, s.Agent, false); !errors.Is(err, fs.ErrNotExist) {
			return id, err
		}
		missing := s.place
		missing.Msg = fmt.Sprintf("agent: there is no folder %s; it is taken from beside this file", s.Agent)
		return "", &SpecError{[]Fault{missing}}
	}
	if err != nil {
		return "", err
	}
	if folder, err := snapshots.ReadDir(s.Name, s.Agent); err == nil {
		image, err := l.Vault.Get(live)
		if err != nil {
			return "", err
		}
		if differing := differ(image, &folder, ""); differing != "" {
			l.Say("%s is taken from the snapshot %.12s; %s differs in %s. `jird snapshot create` takes the folder instead", s.Name, live, s.Agent, differing)
		}
	}
	return live, nil
}

// differ names a file in which two images differ, other than except, or gives "".
func differ(a, b *snapshots.Image, except string) string {
	for _, f := range b.Files {
		if was := a.File(f.Path); f.Path != except && (was == nil || !bytes.Equal(was.Data, f.Data)) {
			return f.Path
		}
	}
	if len(a.Files) != len(b.Files) {
		return "its list of files"
	}
	return ""
}

// Capture stores a folder and makes it what is live; but for an agent that was ever
// served it becomes the candidate, since there only a promotion changes what is live.
// Files that look as they did at the last capture are read again only to verify.
func (l *Lab) Capture(name, dir string, verify bool) (snapshots.ID, error) {
	ref := name + "/live"
	live, err := l.Vault.Ref(ref)
	if err != nil && !errors.Is(err, snapshots.ErrNoRef) {
		return "", err
	}
	var parents []snapshots.ID
	if live != "" {
		parents = []snapshots.ID{live}
	}
	id, err := l.Vault.Capture(name, dir, parents, verify)
	var folder *snapshots.FolderError
	if errors.As(err, &folder) {
		return "", &orchestrator.AgentError{File: "reading the agent", Err: err}
	}
	if err != nil {
		return "", err
	}
	if served, err := l.served(name); err != nil || (served && live != "") {
		l.Say("%s is guarded: %.12s is its candidate; have it judged with `jird promote %.12s`", name, id, id)
		return id, errors.Join(err, l.Vault.ResetRef(name+"/candidate", id))
	}
	err = l.Vault.SwapRef(ref, live, id)
	if errors.Is(err, snapshots.ErrRefMoved) {
		if now, _ := l.Vault.Ref(ref); now == id { // another process captured the same folder
			return id, nil
		}
	}
	return id, err
}

func (l *Lab) complete(ctx context.Context, p *orchestrator.Plan, want string, o Options) error {
	box, err := l.box(ctx, want, o.Isolation)
	if err != nil {
		return err
	}
	p.Sandbox.Runtime, p.Sandbox.Compiler, p.Sandbox.Policy.Level = box.Runtime, box.Compiler, box.Policy.Level
	if o.Shadows > 0 {
		p.Shadows = o.Shadows
	}
	p.Sandbox.Slots = p.Shadows + 8
	p.Workers = o.Workers
	if p.Workers == 0 {
		p.Workers = runtime.NumCPU()
	}
	return nil
}

// Run starts a new run of a spec.
func (l *Lab) Run(ctx context.Context, s *Spec, o Options) (*orchestrator.Result, error) {
	p, _, err := l.planFor(ctx, s, o)
	if err != nil {
		return nil, err
	}
	return l.start(ctx, s, p, o)
}

// start carries out what planFor planned.
func (l *Lab) start(ctx context.Context, s *Spec, p orchestrator.Plan, o Options) (*orchestrator.Result, error) {
	unlock, err := l.identify(s, &p.Record)
	if err != nil {
		return nil, err
	}
	defer unlock()
	who := fmt.Sprintf("%d shadows, %d workers", p.Shadows, p.Workers)
	if o.Engine.Apart() {
		who = "workers of " + o.Engine.Where
	}
	o.news("run %s: %s, seed %d", p.Record.ID, who, p.Record.Seed)
	return l.carryOut(ctx, s, p, o, nil)
}

// carryOut carries a plan of a spec out, from the start or from what is stored.
func (l *Lab) carryOut(ctx context.Context, s *Spec, p orchestrator.Plan, o Options, from *orchestrator.Stored) (result *orchestrator.Result, err error) {
	var clean func()
	if p.Asking, clean, err = s.asking(); err != nil {
		return nil, err
	}
	defer clean()
	f, end, err := l.openFarm(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer end()
	d := l.deps(o)
	if f != nil {
		d.Elsewhere = func(ctx context.Context, local orchestrator.Executor, w orchestrator.Work) (orchestrator.Executor, error) {
			return f.open(ctx, local, p.Sandbox.Policy.Level, w)
		}
	}
	return orchestrator.Run(ctx, p, d, from)
}

// planFor makes a new run's plan, whose record lacks what depends on the repeat, and reads
// the agent that it begins from.
func (l *Lab) planFor(ctx context.Context, s *Spec, o Options) (p orchestrator.Plan, agent *orchestrator.Agent, err error) {
	if p, err = s.Plan(); err != nil {
		return p, nil, err
	}
	if err := l.complete(ctx, &p, s.Runtime, o); err != nil {
		return p, nil, err
	}
	live, err := l.Agent(s)
	if err != nil {
		return p, nil, err
	}
	if agent, err = l.readAgent(live, p); err != nil {
		return p, nil, err
	}
	p.Record = orchestrator.RunRecord{Agent: string(live), Evaluator: agent.Evaluator, Runtime: p.Sandbox.Runtime.String()}
	return p, agent, nil
}

// readAgent takes a stored image apart by a plan's grammar.
func (l *Lab) readAgent(id snapshots.ID, p orchestrator.Plan) (*orchestrator.Agent, error) {
	image, err := l.Vault.Get(id)
	if err != nil {
		return nil, err
	}
	return orchestrator.ReadAgent(image, p.Search.Grammar, p.Evolved)
}

// identify gives a new run its id: that of the first repeat which no other
// process has begun.
func (l *Lab) identify(s *Spec, r *orchestrator.RunRecord) (unlock func(), err error) {
	return l.claim(func(repeat int) string {
		r.Repeat = repeat
		s.Identify(r)
		return r.ID
	})
}

func (l *Lab) deps(o Options) orchestrator.Deps {
	d := orchestrator.Deps{Vault: l.Vault, Recorder: l.Ledger, Events: o.Events, Promote: l.promoteWinner}
	if o.Keep {
		d.Promote = func(context.Context, string, snapshots.ID, snapshots.ID, string) (string, error) {
			return "this run was to keep what is live", nil
		}
	}
	return d
}

// Resume goes on with a run that was interrupted, from its last whole
// generation.
func (l *Lab) Resume(ctx context.Context, run string, o Options) (*orchestrator.Result, error) {
	unlock, err := l.lockAlone(run, "run "+run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	stored, err := l.Ledger.Load(run)
	if err != nil {
		return nil, err
	}
	if stored.Status == orchestrator.RunDone {
		return nil, fmt.Errorf("run %s is done (%s); start it again with `jird run`", run, stored.Stop)
	}
	p, err := l.planOf(ctx, stored, o)
	if err != nil {
		return nil, err
	}
	s, err := FromJSON(stored.Run.Spec)
	if err != nil {
		return nil, err
	}
	return l.carryOut(ctx, s, p, o, stored)
}

// planOf makes the plan of a recorded run again, to add to what it measured.
func (l *Lab) planOf(ctx context.Context, stored *orchestrator.Stored, o Options) (p orchestrator.Plan, err error) {
	if p, err = l.planHere(ctx, stored, o); err != nil {
		return p, err
	}
	if now := p.Sandbox.Runtime.String(); now != stored.Run.Runtime {
		return p, fmt.Errorf("run %s was made with %s, here is %s: scores need not be the same; start a new run", stored.Run.ID, stored.Run.Runtime, now)
	}
	return p, nil
}

// planHere makes the plan of a recorded run again with the runtime of this machine.
func (l *Lab) planHere(ctx context.Context, stored *orchestrator.Stored, o Options) (p orchestrator.Plan, err error) {
	s, err := FromJSON(stored.Run.Spec)
	if err != nil {
		return p, err
	}
	if p, err = s.Plan(); err != nil {
		return p, err
	}
	if err := l.complete(ctx, &p, s.Runtime, o); err != nil {
		return p, err
	}
	p.Record = stored.Run
	return p, nil
}

// Search returns how a recorded run is sought.
func (l *Lab) Search(run string) (Search, error) {
	text, err := l.Ledger.Spec(run)
	if err != nil {
		return Search{}, err
	}
	s, err := FromJSON(text)
	if err != nil {
		return Search{}, err
	}
	return s.Search, nil
}

// Evaluation is one policy's scores on given cases: fractions, lower is better.
type Evaluation struct {
	Genome string             `json:"genome"`
	Scores map[string]float64 `json:"scores"`
	Mean   float64            `json:"mean"`
}

// GivenGenome is the file that an AgentError about Evaluate's genome names.
const GivenGenome = "the genome"

// Given puts cases from outside into an evaluation.
func Given(cases []sandbox.Case) func(*sandbox.Image) {
	return func(im *sandbox.Image) { im.Given = cases }
}

// Drawn has the referee draw the cases of an evaluation by a recipe.
func Drawn(count int, recipe sexpr.Value, seed uint64) func(*sandbox.Image) {
	return func(im *sandbox.Image) { im.Recipe = &sandbox.Recipe{Seed: seed, Count: count, Data: recipe} }
}

// Evaluate scores a genome, or the incumbent for a nil one, on cases as Given or
// Drawn gives them.
func (l *Lab) Evaluate(ctx context.Context, s *Spec, genome []byte, cases func(*sandbox.Image), o Options) (*Evaluation, error) {
	p, agent, err := l.planFor(ctx, s, o)
	if err != nil {
		return nil, err
	}
	g := agent.Incumbent
	if genome != nil {
		if g, err = p.Search.Grammar.Parse(genome); err != nil {
			return nil, &orchestrator.AgentError{File: GivenGenome, Err: err}
		}
	}
	bench, err := orchestrator.OpenBench(ctx, agent, p.Search.Grammar, p.Sandbox, p.Fuel, p.Workers, p.Workers, cases)
	if err != nil {
		return nil, err
	}
	defer bench.Close()
	outcomes, err := bench.Measure(ctx, g)
	var referee *orchestrator.RefereeError
	if errors.As(err, &referee) {
		return nil, fmt.Errorf("a case is not as the agent's fitness.scm wants it, or that is wrong: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if outcomes[0].Status != population.OK {
		return nil, fmt.Errorf("the policy could not be scored: %s %s; raise limits.fuel, limits.wall or limits.heap in the experiment", outcomes[0].Status, outcomes[0].Detail)
	}
	e := &Evaluation{Genome: g.Expr(), Scores: map[string]float64{}, Mean: population.Mean(outcomes[0].Scores)}
	for i, name := range bench.Cases() {
		e.Scores[name] = outcomes[0].Scores[i].Value()
	}
	return e, nil
}

// ForkTime measures how long an isolated shadow takes from fork to its first
// answer, for doctor.
func ForkTime(ctx context.Context, r sandbox.Runtime, home string) (time.Duration, error) {
	o := sandbox.Options{Runtime: r, Policy: isolation.Policy{Level: isolation.Full}, Compiler: &sandbox.Compiler{Runtime: r, Cache: sandbox.Cache(home), Level: isolation.Full}}
	engine, err := sandbox.Open(ctx, o, sandbox.Image{})
	if err != nil {
		return 0, err
	}
	defer engine.Close()
	const forks = 20
	begin := time.Now()
	for range forks {
		s, err := engine.Start(ctx)
		if err != nil {
			return 0, err
		}
		s.Close()
	}
	return time.Since(begin) / forks, nil
}
