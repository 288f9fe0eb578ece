package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"jird/orchestrator/promote"
	"jird/population"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// Open code is any Scheme, so it is judged by what it answers: each case is a list
// of requests to a fresh shadow of the whole agent, which sees nothing but them; a
// referee in a process of its own makes the cases and scores the transcripts. The
// referee's file defines
//
//	(transcript-cases COUNT SEED)      -> list of (NAME . CASE)
//	(transcript-requests CASE)         -> list of requests
//	(transcript-score CASE ANSWERS)    -> a number, or (NUM . DEN); lower is better
//
// where an answer is (ok VALUE), (raised TEXT) or (died TEXT), and none follows a
// death.

// Redefine gives an image in which the top-level definition of name is replaced by
// one that gives it the value of expr.
func Redefine(im *snapshots.Image, parent snapshots.ID, name string, expr sexpr.Value) (snapshots.Image, error) {
	next := *im
	next.Parents = []snapshots.ID{parent}
	next.Files = append([]snapshots.File(nil), im.Files...)
	for i, f := range next.Files {
		if path.Ext(f.Path) != ".scm" || f.Path == refereeFile || f.Path == matchFile || f.Path == "memory.scm" {
			continue
		}
		forms, err := sexpr.ReadAll(f.Data)
		if err != nil {
			continue // not of the subset that can be read here; left as it is
		}
		if at := defines(forms, name); at >= 0 {
			forms[at] = sexpr.List{sexpr.Symbol("define"), sexpr.Symbol(name), expr}
			next.Files[i].Data, err = render(forms)
			return next, err
		}
	}
	return next, fmt.Errorf("no file of the agent defines %s at top level, so there is nothing to replace", name)
}

func defines(forms []sexpr.Value, name string) int {
	return slices.IndexFunc(forms, func(form sexpr.Value) bool {
		list, _ := form.(sexpr.List)
		return len(list) > 2 && population.Defined(form) == name
	})
}

func render(forms []sexpr.Value) ([]byte, error) {
	text := []byte(";; Written by jird: a definition was replaced by one that the agent proposed.\n\n")
	for _, form := range forms {
		b, err := sexpr.Canonical(form)
		if err != nil {
			return nil, err
		}
		text = append(append(text, b...), "\n\n"...)
	}
	return text, nil
}

// Transcripts measures images of whole agents on cases of their referee.
type Transcripts struct {
	options sandbox.Options
	engine  sandbox.Engine
	referee *sandbox.Shadow
	names   []string
	cases   []sexpr.Value
}

// OpenTranscripts starts the referee of an image and has it make count cases.
func OpenTranscripts(ctx context.Context, o sandbox.Options, im *snapshots.Image, count int, seed uint64) (*Transcripts, error) {
	file := im.File(refereeFile)
	if file == nil {
		return nil, &AgentError{refereeFile, errors.New("the agent has no referee, so nothing can be judged; it must define transcript-cases, transcript-requests and transcript-score")}
	}
	engine, err := sandbox.Open(ctx, o, sandbox.Image{Files: []sandbox.Source{{Name: file.Path, Code: file.Data}}})
	if err != nil {
		return nil, err
	}
	t := &Transcripts{options: o, engine: engine}
	if t.referee, err = engine.Start(ctx); err != nil {
		engine.Close()
		return nil, err
	}
	if err := t.draw(ctx, count, seed); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close ends the referee.
func (t *Transcripts) Close() {
	t.referee.Close()
	t.engine.Close()
}

// Names are the cases' names.
func (t *Transcripts) Names() []string { return t.names }

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

// ask has the referee apply one of its procedures to data.
func (t *Transcripts) ask(ctx context.Context, procedure string, args ...sexpr.Value) (sexpr.Value, error) {
	call := sexpr.List{sexpr.Symbol(procedure)}
	for _, a := range args {
		call = append(call, sexpr.List{sexpr.Symbol("quote"), a})
	}
	answer, err := t.referee.Ask(ctx, sexpr.List{sexpr.Symbol("eval"), call})
	if err != nil {
		return nil, &AgentError{refereeFile, fmt.Errorf("%s: %w", procedure, err)}
	}
	list, _ := answer.(sexpr.List)
	if len(list) == 2 && list[0] == sexpr.Symbol("value") {
		return list[1], nil
	}
	text := sexpr.String("no answer of the protocol's form")
	if len(list) == 2 {
		text, _ = list[1].(sexpr.String)
	}
	return nil, &AgentError{refereeFile, fmt.Errorf("%s: %s", procedure, text)}
}

// Player plays cases with one image.
type Player struct {
	referee *Transcripts
	engine  sandbox.Engine // nil if the image does not load
	fault   string         // why
}

// Open starts an image whose shadows begin with memory. One that does not load is a
// measurement like another: every case then says so.
func (t *Transcripts) Open(ctx context.Context, im *snapshots.Image, memory sexpr.Value) (*Player, error) {
	image, err := LiveImage(im)
	if err != nil {
		return &Player{referee: t, fault: err.Error()}, nil
	}
	image.Memory = memory
	engine, err := sandbox.Open(ctx, t.options, image)
	var load *sandbox.LoadError
	if errors.As(err, &load) {
		return &Player{referee: t, fault: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	return &Player{referee: t, engine: engine}, nil
}

// Close ends the image's zygote.
func (p *Player) Close() {
	if p.engine != nil {
		p.engine.Close()
	}
}

// Play plays one case in a fresh shadow. An image that dies in it is a measurement;
// an error says that the referee or jird failed.
func (p *Player) Play(ctx context.Context, i int) (population.Outcome, error) {
	if p.engine == nil {
		return population.Outcome{Status: population.Crash, Detail: p.fault}, nil
	}
	data := p.referee.cases[i]
	answers, died, err := p.referee.play(ctx, p.engine, data)
	if err != nil {
		return population.Outcome{}, err
	}
	if died != "" {
		return population.Outcome{Status: population.Crash, Detail: died}, nil
	}
	score, err := p.referee.score(ctx, data, answers)
	return population.Outcome{Status: population.OK, Scores: []population.Score{score}}, err
}

// JudgeOpen declares a decision about two images of an agent and compares them on the
// incumbent's referee's cases, until the evidence suffices or runs out. Both begin
// every case with memory. Whoever asked completes the decision in the recorder.
func JudgeOpen(ctx context.Context, o sandbox.Options, rec Declarer, d *Decision, incumbent, candidate *snapshots.Image, memory sexpr.Value) error {
	d.Evaluator, d.Guardrails = evaluator(incumbent, refereeFile), []promote.Guardrail{promote.Failures()}
	if err := rec.Declare(*d); err != nil {
		return err
	}
	t, err := OpenTranscripts(ctx, o, incumbent, d.Plan.MaxN(), d.Plan.Seed)
	if err != nil {
		return err
	}
	defer t.Close()
	var players [2]*Player
	for i, im := range []*snapshots.Image{incumbent, candidate} {
		if players[i], err = t.Open(ctx, im, memory); err != nil {
			return err
		}
		defer players[i].Close()
	}
	return d.compare(func(from, to int) (more []promote.Observation, err error) {
		for i := from; i < to; i++ {
			o := promote.Observation{Case: t.names[i]}
			if o.Incumbent, err = players[0].Play(ctx, i); err != nil {
				return nil, err
			}
			if o.Winner, err = players[1].Play(ctx, i); err != nil {
				return nil, err
			}
			more = append(more, o)
			if promote.Veto(d.Guardrails, more) != "" {
				break // each death may take a heap full; no further case changes the verdict
			}
		}
		return more, nil
	})
}

// play has a fresh shadow answer a case's requests.
func (t *Transcripts) play(ctx context.Context, engine sandbox.Engine, data sexpr.Value) (answers sexpr.List, died string, err error) {
	v, err := t.ask(ctx, "transcript-requests", data)
	if err != nil {
		return nil, "", err
	}
	requests, ok := v.(sexpr.List)
	if !ok {
		return nil, "", &AgentError{refereeFile, errors.New("transcript-requests must answer a list")}
	}
	shadow, err := engine.Start(ctx)
	if err != nil {
		return nil, "", err
	}
	defer shadow.Close()
	answers, sets := sexpr.List{}, uint64(0)
	for _, request := range requests {
		a, err := shadow.Live(ctx, sets, true, nil, request)
		if err != nil {
			if ctx.Err() != nil {
				return nil, "", ctx.Err()
			}
			return answers, fmt.Sprintf("the process died: %v", err), nil
		}
		if a.Changes() {
			sets++
		}
		if a.Raised {
			answers = append(answers, sexpr.List{sexpr.Symbol("raised"), sexpr.String(a.Text)})
		} else {
			answers = append(answers, sexpr.List{sexpr.Symbol("ok"), a.Value})
		}
	}
	return answers, "", nil
}

func (t *Transcripts) score(ctx context.Context, data sexpr.Value, answers sexpr.List) (population.Score, error) {
	v, err := t.ask(ctx, "transcript-score", data, answers)
	if err != nil {
		return population.Score{}, err
	}
	if n, ok := number(v); ok {
		return population.Score{Num: n, Den: 1}, nil
	}
	if score, ok := ratio(v); ok {
		return score, nil
	}
	text, _ := sexpr.Canonical(v)
	return population.Score{}, &AgentError{refereeFile, fmt.Errorf("transcript-score answered %.80s; it must be a finite number, or a pair of two with the second above zero", text)}
}
