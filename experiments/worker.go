package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"jird/orchestrator"
	"jird/orchestrator/remote"
	"jird/population"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Work does the work of runs on other machines until ctx ends. Snapshots are kept in the
// lab's vault. want is a runtime as a spec names one.
func (l *Lab) Work(ctx context.Context, want string, o Options) error {
	box, err := l.box(ctx, want, o.Isolation)
	if err != nil {
		return err
	}
	parallel := o.Workers
	if parallel == 0 {
		parallel = runtime.NumCPU()
	}
	w := l.newWorker(parallel, box.Policy.Level)
	defer w.close()
	offer := remote.Offer(needs(box.Runtime.String(), box.Policy.Level))
	l.Say("working for %s: %s, isolation %s, %d at once", o.Engine.Where, box.Runtime, box.Policy.Level, parallel)
	return remote.Work(ctx, o.Engine.config(""), offer, parallel, w.do, l.Say)
}

// worker scores units for others. It keeps what it opened for the last few benches.
type worker struct {
	lab      *Lab
	parallel int
	level    isolation.Level

	mu    sync.Mutex
	open  map[string]*opened // by the bench's hash
	clock int
}

// opened is a bench at work.
type opened struct {
	once    sync.Once
	err     error
	x       orchestrator.Executor
	grammar *population.Grammar
	users   int
	used    int // by the worker's clock
}

// maxOpened is how many benches are open at once while nobody uses them: that of the
// search and that of the choice of a nominee, of two runs.
const maxOpened = 4

func (l *Lab) newWorker(parallel int, level isolation.Level) *worker {
	return &worker{lab: l, parallel: parallel, level: level, open: map[string]*opened{}}
}

func (w *worker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.open {
		if b.x != nil {
			b.x.Close()
		}
	}
	w.open = map[string]*opened{}
}

// do is a remote.Job.
func (w *worker) do(ctx context.Context, get remote.Get, body []byte) ([]byte, error) {
	var j job
	if err := json.Unmarshal(body, &j); err != nil {
		return nil, fmt.Errorf("the job cannot be read: %w", err)
	}
	b, release := w.take(j.Bench)
	defer release()
	// Whoever comes first opens it for all, so its own ctx must not end that.
	b.once.Do(func() { b.err = w.prepare(context.WithoutCancel(ctx), get, j.Bench, b) })
	if b.err != nil {
		w.forget(j.Bench, b)
		return answer(nil, b.err)
	}
	var genomes []*population.Genome
	for _, source := range j.Genomes {
		g, err := b.grammar.Parse([]byte(source))
		if err != nil {
			return nil, fmt.Errorf("a genome of the job cannot be read: %w", err)
		}
		genomes = append(genomes, g)
	}
	if n := len(b.x.Cases()); j.From < 0 || j.From >= j.To || j.To > n {
		return nil, fmt.Errorf("the job wants cases %d to %d of %d", j.From, j.To, n)
	}
	return answer(b.x.Score(ctx, genomes, j.From, j.To))
}

// answer makes a result. What the submitter should learn is one; any other error is this
// machine's.
func answer(outcomes []population.Outcome, err error) ([]byte, error) {
	var r result
	var referee *orchestrator.RefereeError
	var agent *orchestrator.AgentError
	switch {
	case errors.As(err, &referee):
		r.Referee = &failing{Genome: referee.Genome, Message: referee.Message}
	case errors.As(err, &agent):
		r.Referee = &failing{File: agent.File, Message: agent.Err.Error()}
	case err != nil:
		return nil, err
	}
	for _, o := range outcomes {
		r.Outcomes = append(r.Outcomes, outcome{o.Status, o.Detail, population.Pairs(o.Scores), o.Steps, o.Features})
	}
	return json.Marshal(r)
}

func (w *worker) take(bench string) (b *opened, release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b = w.open[bench]; b == nil {
		b = &opened{}
		w.open[bench] = b
	}
	b.users++
	w.clock++
	b.used = w.clock
	return b, func() {
		w.mu.Lock()
		b.users--
		old := w.outdated()
		w.mu.Unlock()
		if old != nil {
			old.Close()
		}
	}
}

// outdated takes away the executor that was used longest ago, if there are too many.
func (w *worker) outdated() orchestrator.Executor {
	if len(w.open) <= maxOpened {
		return nil
	}
	oldest := ""
	for hash, b := range w.open {
		if b.users == 0 && (oldest == "" || b.used < w.open[oldest].used) {
			oldest = hash
		}
	}
	if oldest == "" {
		return nil
	}
	x := w.open[oldest].x
	delete(w.open, oldest)
	return x
}

// forget lets the next job try to open a bench again.
func (w *worker) forget(bench string, b *opened) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[bench] == b {
		delete(w.open, bench)
	}
}

// prepare opens a bench: the snapshot is fetched if the vault does not have it.
func (w *worker) prepare(ctx context.Context, get remote.Get, hash string, o *opened) error {
	text, err := get(ctx, hash)
	if err != nil {
		return err
	}
	var b bench
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("what the job is about cannot be read: %w", err)
	}
	image, err := w.image(ctx, get, b)
	if err != nil {
		return err
	}
	spec, err := FromJSON(b.Spec)
	if err != nil {
		return err
	}
	p, err := spec.Plan()
	if err != nil {
		return err
	}
	if err := w.lab.complete(ctx, &p, spec.Runtime, Options{Workers: w.parallel, Shadows: w.parallel, Isolation: w.level}); err != nil {
		return err
	}
	if now := p.Sandbox.Runtime.String(); now != b.Runtime {
		return fmt.Errorf("the job is for %s, here is %s", b.Runtime, now)
	}
	recipe, err := sexpr.Read([]byte(b.Recipe))
	if err != nil {
		return err
	}
	work := orchestrator.Work{
		Run:   orchestrator.RunRecord{Evaluator: b.Evaluator},
		Cases: orchestrator.Cases{Count: b.Count, Recipe: recipe}, Seed: b.Seed,
	}
	w.lab.Say("evaluating %s, agent %.12s, on %d cases", spec.Name, b.Agent, b.Count)
	o.grammar = p.Search.Grammar
	o.x, err = orchestrator.OpenWork(ctx, p, image, work)
	return err
}

// image is a snapshot from the vault, or from the queue. Its id is the hash of what it
// holds, so one that is not what was asked for is not found.
func (w *worker) image(ctx context.Context, get remote.Get, b bench) (*snapshots.Image, error) {
	id := snapshots.ID(b.Agent)
	if image, err := w.lab.Vault.Get(id); err == nil {
		return image, nil
	}
	archive, err := get(ctx, b.Archive)
	if err != nil {
		return nil, err
	}
	if _, err := w.lab.Vault.Import(bytes.NewReader(archive)); err != nil {
		return nil, err
	}
	return w.lab.Vault.Get(id)
}
