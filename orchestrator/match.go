package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// A match is played by the referee in the agent's match.scm, which defines
//
//	(match-play BLUE RED SEED) -> (POINTS . POINTS) of blue and red
//
// where BLUE and RED are procedures, (BLUE NAME ARG ...) being what the side's
// definition NAME answers. More points are better. What it tells (match-note! DATUM)
// is kept if it is asked for; (forfeit! SIDE REASON) ends a match that blue or red has
// lost by a move against the rules.

// Court is where matches are played.
type Court interface {
	// Play plays matches and returns their results in the same order, whatever the
	// number of shadows and workers. A failing referee gives a *RefereeError.
	Play(ctx context.Context, sides []Code, matches []Match, notes bool) ([]MatchResult, error)
	// Close ends its processes. No match may be under way.
	Close()
}

// Match is one game of two sides, given by their index.
type Match struct {
	Blue, Red int
	Seed      uint64
}

// Verdict is how a match ended.
type Verdict string

// Played is the end of every match with points; Forfeit is the end of a match that one
// side has lost by running out of steps, by a move against the rules or, if it is open,
// by what became of its process; in a Draw nobody is to blame that could be named, such
// as when both sides together filled the memory of their shadow.
const (
	Played  Verdict = "played"
	Forfeit Verdict = "forfeit"
	Draw    Verdict = "draw"
)

// MatchResult is how a match went. It depends on the two sides, the seed and the fuel
// alone.
type MatchResult struct {
	Verdict   Verdict       `json:"verdict"`
	Detail    string        `json:"detail,omitempty"` // of a forfeit or draw
	Blue      float64       `json:"blue"`             // points; of a forfeit 1 and 0
	Red       float64       `json:"red"`
	BlueSteps int64         `json:"blue_steps"`
	RedSteps  int64         `json:"red_steps"`
	Notes     []sexpr.Value `json:"-"` // what the referee noted, if it was asked to
}

// Score is blue's: 1 for a win, 0.5 for a draw, 0 for a loss.
func (r MatchResult) Score() float64 {
	switch {
	case r.Blue > r.Red:
		return 1
	case r.Blue < r.Red:
		return 0
	}
	return 0.5
}

// Equal says whether two results are the same but for notes.
func (r MatchResult) Equal(o MatchResult) bool {
	return r.Verdict == o.Verdict && r.Blue == o.Blue && r.Red == o.Red && r.BlueSteps == o.BlueSteps && r.RedSteps == o.RedSteps
}

// batchOf is how many of some matches one request holds: enough that a side which plays
// many is not read for each of them, and few enough that no worker has more than a share
// of 1/32 left to do alone.
func batchOf(matches int) int { return min(max(matches/32, 8), 128) }

// Play implements Court for genomes.
func (p *Pool) Play(ctx context.Context, sides []Code, matches []Match, notes bool) ([]MatchResult, error) {
	results := make([]MatchResult, len(matches))
	size := batchOf(len(matches))
	batches := (len(matches) + size - 1) / size
	err := inParallel(ctx, p.tokens, batches, func(ctx context.Context, b int) error {
		from := b * size
		to := min(from+size, len(matches))
		return p.play(ctx, sides, matches[from:to], notes, results[from:to])
	})
	return results, err
}

// play has one shadow play a batch. What fails in company is repeated alone in fresh
// shadows before it counts.
func (p *Pool) play(ctx context.Context, sides []Code, matches []Match, notes bool, results []MatchResult) error {
	err := p.playOnce(ctx, sides, matches, notes, false, results)
	var failure *sandbox.Failure
	if err != nil && !errors.As(err, &failure) {
		return err
	}
	for i := range matches {
		if err == nil && results[i].Verdict != Draw {
			continue
		}
		if err := p.playAlone(ctx, sides, matches[i:i+1], notes, results[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) playAlone(ctx context.Context, sides []Code, match []Match, notes bool, result []MatchResult) error {
	failure, err := repeated(func(bool) error { return p.playOnce(ctx, sides, match, notes, true, result) })
	if failure != nil {
		result[0] = MatchResult{Verdict: Draw, Detail: fmt.Sprintf("the shadow that held both sides ended: %v", failure.Exit)}
	}
	return err
}

func (p *Pool) playOnce(ctx context.Context, sides []Code, matches []Match, notes, fresh bool, results []MatchResult) error {
	request := matchRequest(p.fuel, sides, matches, notes)
	return p.exchange(ctx, request, fresh, func(answer sexpr.Value) error {
		list, _ := answer.(sexpr.List)
		if len(list) != len(matches)+1 || list[0] != sexpr.Symbol("matches") {
			return fmt.Errorf("the answer is not a list of %d matches", len(matches))
		}
		for i, m := range matches {
			r, err := decodeMatch(list[i+1], sides[m.Blue], sides[m.Red])
			if err != nil {
				return err
			}
			results[i] = r
		}
		return nil
	})
}

// matchRequest writes (match FUEL NOTES? (SIDE ...) (BLUE RED SEED) ...) with each side
// once.
func matchRequest(fuel int64, sides []Code, matches []Match, notes bool) sexpr.Value {
	numbers := map[int]int64{}
	var definitions sexpr.List
	number := func(side int) sexpr.Value {
		if _, known := numbers[side]; !known {
			numbers[side] = int64(len(definitions))
			definitions = append(definitions, playable(sides[side]))
		}
		return sexpr.NewInt(numbers[side])
	}
	var games sexpr.List
	for _, m := range matches {
		games = append(games, sexpr.List{number(m.Blue), number(m.Red), sexpr.NewInt(int64(m.Seed >> 2))}) // a fixnum in Gambit
	}
	return append(sexpr.List{sexpr.Symbol("match"), sexpr.NewInt(fuel), sexpr.Bool(notes), definitions}, games...)
}

// playable is code as a referee's shadow takes it: (KIND DEFINITION) of each definition,
// or open.
func playable(c Code) sexpr.Value {
	g, isGenome := c.(*population.Genome)
	if !isGenome {
		return sexpr.Symbol("open")
	}
	return installable(g, kinds(g.Grammar()))
}

// decodeMatch reads what the prelude's jird-match answers.
func decodeMatch(v sexpr.Value, blue, red Code) (MatchResult, error) {
	list, _ := v.(sexpr.List)
	if len(list) < 2 {
		return MatchResult{}, errors.New("a match is not (STATUS DETAIL ...)")
	}
	text, _ := list[1].(sexpr.String)
	switch list[0] {
	case sexpr.Symbol("ok"):
		return decodePoints(list)
	case sexpr.Symbol("fuel"):
		return forfeited(list[1], outOfSteps, nil), nil
	case sexpr.Symbol("forfeit"):
		return decodeForfeit(list)
	case sexpr.Symbol("memory"):
		return MatchResult{Verdict: Draw, Detail: string(text)}, nil
	case sexpr.Symbol("referee"):
		return MatchResult{}, &RefereeError{Message: string(text), Genome: blue.Expr() + " against " + red.Expr()}
	}
	return MatchResult{}, errors.New("a match has an unknown status")
}

const outOfSteps = "ran out of steps"

func decodeForfeit(list sexpr.List) (MatchResult, error) {
	if len(list) < 3 {
		return MatchResult{}, errors.New("a forfeit without a reason")
	}
	reason, _ := list[2].(sexpr.String)
	return forfeited(list[1], string(reason), list[3:]), nil
}

// forfeited is a match that a side, blue or red, has lost.
func forfeited(side sexpr.Value, why string, notes []sexpr.Value) MatchResult {
	if side == sexpr.Symbol("red") {
		return MatchResult{Verdict: Forfeit, Detail: "red " + why, Blue: 1, Notes: notes}
	}
	return MatchResult{Verdict: Forfeit, Detail: "blue " + why, Red: 1, Notes: notes}
}

func decodePoints(list sexpr.List) (r MatchResult, err error) {
	if len(list) < 5 {
		return r, errors.New("a match without steps and points")
	}
	var numbers [4]float64
	for i := range numbers {
		n, ok := number(list[i+1])
		if !ok {
			return r, errors.New("steps and points must be finite numbers")
		}
		numbers[i] = n
	}
	return MatchResult{
		Verdict: Played, BlueSteps: int64(numbers[0]), RedSteps: int64(numbers[1]), Blue: numbers[2], Red: numbers[3], Notes: list[5:],
	}, nil
}
