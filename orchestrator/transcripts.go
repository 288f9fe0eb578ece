package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Transcripts are cases of a referee for open code, with what each asks, and the scoring
// of what was answered. Safe for concurrent use.
type Transcripts struct {
	options  sandbox.Options
	referees sandbox.Engine
	clock    time.Duration // of a process for one case
	names    []string
	cases    []sexpr.Value
	requests []sexpr.List
}

// OpenTranscripts starts the referee of an image and has it make count cases.
func OpenTranscripts(ctx context.Context, o sandbox.Options, im *snapshots.Image, count int, seed uint64) (*Transcripts, error) {
	return openTranscripts(ctx, o, im, sandbox.Image{Recipe: &sandbox.Recipe{Count: count, Seed: seed}})
}

// openTranscripts takes the cases that wanted holds, or has them made by its recipe.
func openTranscripts(ctx context.Context, o sandbox.Options, im *snapshots.Image, wanted sandbox.Image) (*Transcripts, error) {
	file := im.File(refereeFile)
	if file == nil {
		return nil, &AgentError{refereeFile, errors.New("the agent has no referee, so nothing can be judged; it must define transcript-cases, transcript-requests and transcript-score")}
	}
	engine, err := sandbox.Open(ctx, o, sandbox.Image{Files: []sandbox.Source{{Name: file.Path, Code: file.Data}}})
	if err != nil {
		return nil, err
	}
	t := &Transcripts{options: o, referees: engine, clock: cmp.Or(o.Wall, 30*time.Second)}
	t.options.Policy.CPU = processorTime(t.clock)
	for _, c := range wanted.Given {
		t.names, t.cases = append(t.names, c.Name), append(t.cases, c.Data)
	}
	if r := wanted.Recipe; r != nil {
		err = t.draw(ctx, r.Count, r.Seed)
	}
	for i := 0; err == nil && i < len(t.cases); i++ {
		err = t.readRequests(ctx, t.cases[i])
	}
	if err != nil {
		engine.Close()
		return nil, err
	}
	return t, nil
}

// Close ends the referee.
func (t *Transcripts) Close() { t.referees.Close() }

// Cases are the cases' names.
func (t *Transcripts) Cases() []string { return t.names }

func (t *Transcripts) draw(ctx context.Context, count int, seed uint64) error {
	v, err := t.ask(ctx, "transcript-cases", sexpr.NewInt(int64(count)), sexpr.NewInt(int64(seed>>2)))
	if err != nil {
		return err
	}
	list, _ := v.(sexpr.List)
	for _, item := range list {
		name, data, ok := namedCase(item)
		if !ok {
			return &AgentError{refereeFile, errors.New("transcript-cases must answer a list of (name . case), each name a string")}
		}
		t.names, t.cases = append(t.names, name), append(t.cases, data)
	}
	if len(t.cases) != count {
		return &AgentError{refereeFile, fmt.Errorf("transcript-cases answered %d cases, not %d", len(t.cases), count)}
	}
	return nil
}

func namedCase(v sexpr.Value) (name string, data sexpr.Value, ok bool) {
	first, data, _ := sexpr.Pair(v)
	text, ok := first.(sexpr.String)
	return string(text), data, ok
}

func (t *Transcripts) readRequests(ctx context.Context, data sexpr.Value) error {
	v, err := t.ask(ctx, "transcript-requests", data)
	if err != nil {
		return err
	}
	requests, ok := v.(sexpr.List)
	if !ok {
		return &AgentError{refereeFile, errors.New("transcript-requests must answer a list")}
	}
	t.requests = append(t.requests, requests)
	return nil
}

// ask has a fresh process of the referee apply one of its procedures to data: what it did
// before has no say.
func (t *Transcripts) ask(ctx context.Context, procedure string, args ...sexpr.Value) (sexpr.Value, error) {
	referee, err := t.referees.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer referee.Kill()
	call := sexpr.List{sexpr.Symbol(procedure)}
	for _, a := range args {
		call = append(call, sexpr.List{sexpr.Symbol("quote"), a})
	}
	answer, err := referee.Ask(ctx, sexpr.List{sexpr.Symbol("eval"), call})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &AgentError{refereeFile, fmt.Errorf("%s: %w", procedure, err)}
	}
	v, why, ok := valued(answer)
	if !ok {
		return nil, &AgentError{refereeFile, fmt.Errorf("%s: %s", procedure, why)}
	}
	return v, nil
}

// valued reads (value VALUE), or why there is none.
func valued(answer sexpr.Value) (v sexpr.Value, why string, ok bool) {
	list, _ := answer.(sexpr.List)
	if len(list) == 2 && list[0] == sexpr.Symbol("value") {
		return list[1], "", true
	}
	text := sexpr.String("no answer of the protocol's form")
	if len(list) == 2 {
		text, _ = list[1].(sexpr.String)
	}
	return nil, string(text), false
}

// play has a fresh shadow of an engine load what load says, if anything, and answer the
// requests of case i. One that is silent may have been kept from answering by the machine,
// so it is asked again before that counts.
func (t *Transcripts) play(ctx context.Context, engine sandbox.Engine, load sexpr.Value, i int) (population.Outcome, error) {
	for try := 1; ; try++ {
		answers, detail, err := t.recite(ctx, engine, load, i)
		var failure *sandbox.Failure
		var refused *unloadable
		switch {
		case errors.As(err, &failure) && (environmental(failure) || struck(failure) && !usedUp(failure, t.options.Policy.CPU)) && try < environmentTries:
		case failure != nil:
			return t.died(failure), nil
		case errors.As(err, &refused):
			return population.Outcome{Status: population.Crash, Detail: refused.Error()}, nil
		case err != nil:
			return population.Outcome{}, err
		default:
			return t.score(ctx, i, answers, detail)
		}
	}
}

// unloadable says why a shadow could not load code.
type unloadable struct{ text string }

func (e *unloadable) Error() string { return "did not load: " + e.text }

// outOfMemory is the status with which the prelude ends a live process.
const outOfMemory = 71

// died is what became of a process, as the measurement of a candidate.
func (t *Transcripts) died(f *sandbox.Failure) population.Outcome {
	o := population.Outcome{Status: population.Crash, Detail: "the process died: it " + blame("", f, t.options.Policy.CPU).why}
	switch {
	case f.Exit.Code == outOfMemory:
		return population.Outcome{Status: population.Memory, Detail: "the process died: it filled its heap"}
	case usedUp(f, t.options.Policy.CPU):
		o.Status = population.Timeout
	case f.Cause == sandbox.Garbled:
		o.Status = population.Garbage
	}
	if said := shown(f.Exit.Stderr); said != "" {
		o.Detail += ": " + said
	}
	return o
}

// recite has one shadow answer, and says what it raised. A failure tells of all the time
// that it took.
func (t *Transcripts) recite(ctx context.Context, engine sandbox.Engine, load sexpr.Value, i int) (answers sexpr.List, raised string, err error) {
	shadow, err := engine.Start(ctx)
	if err != nil {
		return nil, "", err
	}
	defer shadow.Kill()
	s := &seat{shadow: shadow, clock: t.clock, left: t.clock}
	if load != nil {
		answer, err := s.ask(ctx, load)
		if err != nil {
			return nil, "", err
		}
		if _, why, ok := valued(answer); !ok {
			return nil, "", &unloadable{shown(why)}
		}
	}
	answers = sexpr.List{}
	var sets uint64
	for k, request := range t.requests[i] {
		a, err := s.live(ctx, sets, request)
		if err != nil {
			return nil, "", err
		}
		if a.Changes() {
			sets++
		}
		if a.Raised {
			raised = joinDetail(raised, fmt.Sprintf("case %s, request %d of %d raised: %s", t.names[i], k+1, len(t.requests[i]), shown(a.Text)))
			answers = append(answers, sexpr.List{sexpr.Symbol("raised"), sexpr.String(a.Text)})
		} else {
			answers = append(answers, sexpr.List{sexpr.Symbol("ok"), a.Value})
		}
	}
	return answers, raised, nil
}

func (t *Transcripts) score(ctx context.Context, i int, answers sexpr.List, detail string) (population.Outcome, error) {
	v, err := t.ask(ctx, "transcript-score", t.cases[i], answers)
	if err != nil {
		return population.Outcome{}, err
	}
	score, features, ok := readScore(v)
	if !ok {
		text, _ := sexpr.Canonical(v)
		return population.Outcome{}, &AgentError{refereeFile, fmt.Errorf("transcript-score answered %.80s; it must be a finite number, a pair of two with the second above zero, or a list of one of these and then pairs (FEATURE . NUMBER)", text)}
	}
	return population.Outcome{Status: population.OK, Detail: detail, Scores: []population.Score{score}, Features: features}, nil
}

// readScore reads a score, or (SCORE (FEATURE . NUMBER) ...).
func readScore(v sexpr.Value) (score population.Score, features map[string]float64, ok bool) {
	if list, isList := v.(sexpr.List); isList && len(list) > 0 {
		features = map[string]float64{}
		for _, item := range list[1:] {
			name, value, _ := sexpr.Pair(item)
			symbol, isName := name.(sexpr.Symbol)
			n, isNumber := number(value)
			if !isName || !isNumber {
				return score, nil, false
			}
			features[string(symbol)] = n
		}
		v = list[0]
	}
	if n, isNumber := number(v); isNumber {
		return population.Score{Num: n, Den: 1}, features, true
	}
	score, ok = ratio(v)
	return score, features, ok
}

// recitals is the executor of open genomes. Its zygote holds the agent without what is
// evolved; each case of a genome has a shadow of its own, which loads the genome, sees the
// requests and nothing else, and ends with the case.
type recitals struct {
	*Transcripts
	agent   sandbox.Engine
	workers int
	gauge   // cases that are played
}

func openRecitals(ctx context.Context, a *Agent, o sandbox.Options, workers int, cases func(*sandbox.Image)) (Executor, error) {
	var wanted sandbox.Image
	cases(&wanted)
	t, err := openTranscripts(ctx, o, a.Image, wanted)
	if err != nil {
		return nil, err
	}
	im, err := LiveImage(a.Image)
	if err != nil {
		t.Close()
		return nil, err
	}
	im.Memory, im.Files = a.Image.Memory, without(im.Files, a.Evolved)
	engine, err := sandbox.Open(ctx, t.options, im)
	var load *sandbox.LoadError
	if errors.As(err, &load) {
		err = &AgentError{load.Step, fmt.Errorf("%s; the rest of the agent is loaded before %s, so nothing at its top level may need it", load.Message, a.Evolved)}
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return &recitals{Transcripts: t, agent: engine, workers: workers}, nil
}

func without(files []sandbox.Source, name string) (rest []sandbox.Source) {
	for _, f := range files {
		if f.Name != name {
			rest = append(rest, f)
		}
	}
	return rest
}

// Score implements Executor.
func (r *recitals) Score(ctx context.Context, genomes []*population.Genome, from, to int) ([]population.Outcome, error) {
	outcomes := make([]population.Outcome, len(genomes))
	for k, g := range genomes {
		load := sexpr.List{sexpr.Symbol("load")}
		for _, form := range g.Definitions() {
			load = append(load, form)
		}
		var parts []population.Outcome
		for i := from; i < to; i++ {
			o, err := r.one(ctx, load, i)
			if err != nil {
				return nil, err
			}
			parts = append(parts, o)
			if o.Status != population.OK {
				break
			}
		}
		outcomes[k] = join(parts)
	}
	return outcomes, nil
}

func (r *recitals) one(ctx context.Context, load sexpr.Value, i int) (population.Outcome, error) {
	r.enter()
	defer r.leave()
	return r.play(ctx, r.agent, load, i)
}

// Parallel implements Executor.
func (r *recitals) Parallel() int { return r.workers }

// Close implements Executor.
func (r *recitals) Close() {
	r.agent.Close()
	r.Transcripts.Close()
}
