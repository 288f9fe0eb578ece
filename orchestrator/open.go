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
//	(transcript-score CASE ANSWERS)    -> a number, (NUM . DEN), or (SCORE (FEATURE . X) ...);
//	                                      lower is better
//
// where an answer is (ok VALUE) or (raised TEXT). The referee begins each of these anew.

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

// Player plays cases with one image.
type Player struct {
	transcripts *Transcripts
	engine      sandbox.Engine // nil if the image does not load
	fault       string         // why
}

// Open starts an image whose shadows begin with memory. One that does not load is a
// measurement like another: every case then says so.
func (t *Transcripts) Open(ctx context.Context, im *snapshots.Image, memory sexpr.Value) (*Player, error) {
	image, err := LiveImage(im)
	if err != nil {
		return &Player{transcripts: t, fault: err.Error()}, nil
	}
	image.Memory = memory
	engine, err := sandbox.Open(ctx, t.options, image)
	var load *sandbox.LoadError
	if errors.As(err, &load) {
		return &Player{transcripts: t, fault: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	return &Player{transcripts: t, engine: engine}, nil
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
	return p.transcripts.play(ctx, p.engine, nil, i)
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
