package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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

// Lab is a state folder: vault, ledger and cache of compiled code.
type Lab struct {
	Home   string
	Vault  *snapshots.Vault
	Ledger *ledger.Ledger
	Say    func(format string, args ...any) // messages for people
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
	Events    func(orchestrator.Event)
}

// Agent returns the live image of the spec's agent. The folder is captured if
// there is none; else what is live is taken, and a difference is said.
func (l *Lab) Agent(s *Spec) (snapshots.ID, error) {
	ref := s.Name + "/live"
	live, err := l.Vault.Ref(ref)
	if errors.Is(err, snapshots.ErrNoRef) {
		return l.Capture(s.Name, s.Agent)
	}
	if err != nil {
		return "", err
	}
	if folder, err := snapshots.ReadDir(s.Name, s.Agent); err == nil {
		image, err := l.Vault.Get(live)
		if err != nil {
			return "", err
		}
		if differing := differ(image, &folder); differing != "" {
			l.Say("%s is taken from the snapshot %.12s; %s differs in %s. `jird snapshot create` takes the folder instead", s.Name, live, s.Agent, differing)
		}
	}
	return live, nil
}

func differ(a, b *snapshots.Image) string {
	for _, f := range b.Files {
		if was := a.File(f.Path); was == nil || !bytes.Equal(was.Data, f.Data) {
			return f.Path
		}
	}
	if len(a.Files) != len(b.Files) {
		return "its list of files"
	}
	return ""
}

// Capture stores a folder and makes it what is live.
func (l *Lab) Capture(name, dir string) (snapshots.ID, error) {
	image, err := snapshots.ReadDir(name, dir)
	if err != nil {
		return "", err
	}
	live, err := l.Vault.Ref(name + "/live")
	if err != nil && !errors.Is(err, snapshots.ErrNoRef) {
		return "", err
	}
	if live != "" {
		image.Parents = []snapshots.ID{live}
	}
	id, err := l.Vault.Put(image)
	if err != nil {
		return "", err
	}
	return id, l.Vault.SwapRef(name+"/live", live, id)
}

func (l *Lab) complete(ctx context.Context, p *orchestrator.Plan, want string, o Options) error {
	r, err := sandbox.FindRuntime(ctx, want)
	if err != nil {
		return err
	}
	p.Sandbox.Runtime = r
	p.Sandbox.Policy.Level = isolation.Full
	if o.Isolation != "" {
		p.Sandbox.Policy.Level = o.Isolation
	}
	p.Sandbox.Compiler = &sandbox.Compiler{Runtime: r, Cache: filepath.Join(l.Home, "cache"), Level: p.Sandbox.Policy.Level}
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
	p, err := s.Plan()
	if err != nil {
		return nil, err
	}
	if err := l.complete(ctx, &p, s.Runtime, o); err != nil {
		return nil, err
	}
	agent, err := l.Agent(s)
	if err != nil {
		return nil, err
	}
	image, err := l.Vault.Get(agent)
	if err != nil {
		return nil, err
	}
	taken, err := orchestrator.ReadAgent(image, p.Search.Grammar, p.Evolved)
	if err != nil {
		return nil, err
	}
	p.Record = orchestrator.RunRecord{Agent: string(agent), Evaluator: taken.Evaluator, Runtime: p.Sandbox.Runtime.String()}
	s.Identify(&p.Record)
	if p.Record.Repeat, err = l.Ledger.Repeats(p.Record); err != nil {
		return nil, err
	}
	s.Identify(&p.Record)
	l.Say("run %s: %d shadows, %d workers, seed %d", p.Record.ID, p.Shadows, p.Workers, p.Record.Seed)
	return orchestrator.Run(ctx, p, l.deps(o), nil)
}

func (l *Lab) deps(o Options) orchestrator.Deps {
	return orchestrator.Deps{Vault: l.Vault, Recorder: l.Ledger, Events: o.Events, Promote: l.promoteWinner}
}

// Resume goes on with a run that was interrupted, from its last whole
// generation.
func (l *Lab) Resume(ctx context.Context, run string, o Options) (*orchestrator.Result, error) {
	stored, err := l.Ledger.Load(run)
	if err != nil {
		return nil, err
	}
	if stored.Status == orchestrator.RunDone {
		return nil, fmt.Errorf("run %s is done (%s); start it again with `jird run`", run, stored.Stop)
	}
	s, err := FromJSON(stored.Run.Spec)
	if err != nil {
		return nil, err
	}
	p, err := s.Plan()
	if err != nil {
		return nil, err
	}
	if err := l.complete(ctx, &p, s.Runtime, o); err != nil {
		return nil, err
	}
	if now := p.Sandbox.Runtime.String(); now != stored.Run.Runtime {
		return nil, fmt.Errorf("run %s was made with %s, here is %s: scores need not be the same; start a new run", run, stored.Run.Runtime, now)
	}
	p.Record = stored.Run
	return orchestrator.Run(ctx, p, l.deps(o), stored)
}

// Evaluation is one policy's scores on given cases: fractions, lower is better.
type Evaluation struct {
	Genome string             `json:"genome"`
	Scores map[string]float64 `json:"scores"`
	Mean   float64            `json:"mean"`
}

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
	p, err := s.Plan()
	if err != nil {
		return nil, err
	}
	if err := l.complete(ctx, &p, s.Runtime, o); err != nil {
		return nil, err
	}
	id, err := l.Agent(s)
	if err != nil {
		return nil, err
	}
	image, err := l.Vault.Get(id)
	if err != nil {
		return nil, err
	}
	agent, err := orchestrator.ReadAgent(image, p.Search.Grammar, p.Evolved)
	if err != nil {
		return nil, err
	}
	g := agent.Incumbent
	if genome != nil {
		if g, err = p.Search.Grammar.Parse(genome); err != nil {
			return nil, &orchestrator.AgentError{File: "the genome", Err: err}
		}
	}
	bench, err := orchestrator.OpenBench(ctx, agent, p.Search.Grammar, p.Sandbox, p.Fuel, p.Workers, p.Workers, cases)
	if err != nil {
		return nil, err
	}
	defer bench.Close()
	outcomes, err := bench.Measure(ctx, g)
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

// ReadCases reads {"name": {"key": value, ...}, ...}, keeping the order. A case
// becomes an association list, arrays become vectors.
func ReadCases(path string) ([]sandbox.Case, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.UseNumber()
	fail := func(err error) error {
		return &SpecError{[]Fault{{File: path, Msg: fmt.Sprintf("byte %d: %v; cases look like {\"name\": {\"capacity\": 150, \"items\": [20, 30]}}", d.InputOffset(), err)}}}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fail(fmt.Errorf("an object of cases is wanted (%v)", err))
	}
	var cases []sandbox.Case
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fail(err)
		}
		name, _ := t.(string)
		if seen[name] {
			return nil, fail(fmt.Errorf("case %q stands twice", name))
		}
		seen[name] = true
		data, err := jsonDatum(d)
		if err != nil {
			return nil, fail(fmt.Errorf("case %q: %w", name, err))
		}
		cases = append(cases, sandbox.Case{Name: name, Data: data})
	}
	if _, err := d.Token(); err != nil {
		return nil, fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(errors.New("something follows the object"))
	}
	if len(cases) == 0 {
		return nil, fail(errors.New("there is no case"))
	}
	return cases, nil
}

func jsonDatum(d *json.Decoder) (sexpr.Value, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		return sexpr.String(t), nil
	case bool:
		return sexpr.Bool(t), nil
	case json.Number:
		return sexpr.Read([]byte(t))
	case json.Delim:
		if t == '[' {
			vector := sexpr.Vector{}
			for d.More() {
				v, err := jsonDatum(d)
				if err != nil {
					return nil, err
				}
				vector = append(vector, v)
			}
			_, err := d.Token()
			return vector, err
		}
		return jsonObject(d)
	}
	return nil, errors.New("null is not allowed")
}

func jsonObject(d *json.Decoder) (sexpr.Value, error) {
	list := sexpr.List{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := jsonDatum(d)
		if err != nil {
			return nil, err
		}
		name := sexpr.Symbol(key.(string))
		if tail, ok := v.(sexpr.List); ok {
			list = append(list, append(sexpr.List{name}, tail...))
		} else {
			list = append(list, sexpr.Dotted{Items: []sexpr.Value{name}, Tail: v})
		}
	}
	_, err := d.Token()
	return list, err
}

// ForkTime measures how long an isolated shadow takes from fork to its first
// answer, for doctor.
func ForkTime(ctx context.Context, r sandbox.Runtime, cache string) (time.Duration, error) {
	o := sandbox.Options{Runtime: r, Policy: isolation.Policy{Level: isolation.Full}, Compiler: &sandbox.Compiler{Runtime: r, Cache: cache, Level: isolation.Full}}
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
