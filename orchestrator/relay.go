package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// Relay is the Court of open sides. A match has a process for the referee, with what is a
// genome, and one for each open side. They are forked for this match and end with it. A
// side's knows jird's prelude, the side's own code and what it is asked: no referee, no
// other side, nothing of the agent. The referee asks a side through here:
//
//	referee                        relay                side
//	   |  (ask WHO NAME ARG ...)     |  (ask NAME ARG ...) |
//	   |---------------------------->|-------------------->|
//	   |  (answer VALUE)             |  (value VALUE)      |
//	   |<----------------------------|<--------------------|
//
// Everything is data. A side that does not answer with a value has lost; the referee is
// then told (ended REASON), and says what it has noted.
//
// A side that reads a clock may play another match each time; nothing else makes two
// matches of the same sides and seed differ.
type Relay struct {
	referees sandbox.Engine
	players  sandbox.Engine
	fuel     int64
	clock    time.Duration // of each process in a match
	cpu      time.Duration // of an open side's process, from its fork to its end
	matches  chan struct{} // one for each match at once
	turns    turns

	gauge // open sides that have loaded
}

const (
	// maxAsks bounds what a referee may ask in one match. An answer takes a side 50 µs of
	// its CPU time at least, so this is 1 s: no side can lose by being asked too often.
	maxAsks = 20_000
	// maxAnswers bounds the bytes of all answers of a side in a match. A referee may keep
	// them, and what takes the most memory for its text, symbols of three letters, takes
	// 22 times as much: 22 MiB for two sides, in a heap of 64 MiB.
	maxAnswers = 512 << 10
)

// OpenRelay starts the zygote of the referees, which loads the image, and the zygote of
// the open sides. Each match has at most two open sides, and no more of them are alive
// than shadows; no more processes compute at once than workers.
func OpenRelay(ctx context.Context, im sandbox.Image, o sandbox.Options, fuel int64, shadows, workers int) (*Relay, error) {
	atOnce := max(1, shadows/2)
	o.Wall = cmp.Or(o.Wall, 30*time.Second) // as without a relay
	r := &Relay{fuel: fuel, clock: o.Wall, matches: make(chan struct{}, atOnce), turns: make(turns, workers)}
	r.cpu = processorTime(o.Wall)
	o.Slots = atOnce
	var err error
	if r.referees, err = sandbox.Open(ctx, o, im); err != nil {
		return nil, err
	}
	o.Slots, o.Policy.CPU = 2*atOnce, r.cpu
	if r.players, err = sandbox.Open(ctx, o, sandbox.Image{}); err != nil {
		r.referees.Close()
		return nil, err
	}
	return r, nil
}

// Close implements Court.
func (r *Relay) Close() {
	r.players.Close()
	r.referees.Close()
}

// Play implements Court.
func (r *Relay) Play(ctx context.Context, sides []Code, matches []Match, notes bool) ([]MatchResult, error) {
	results := make([]MatchResult, len(matches))
	err := inParallel(ctx, r.matches, len(matches), func(ctx context.Context, i int) (err error) {
		results[i], err = r.play(ctx, game{r, sides[matches[i].Blue], sides[matches[i].Red], matches[i].Seed, notes})
		return err
	})
	return results, err
}

// play plays a match until it counts: a side that was silent may have been kept from
// answering by the machine, so it is asked again in a match from the start.
func (r *Relay) play(ctx context.Context, g game) (result MatchResult, err error) {
	for range environmentTries {
		var silent bool
		failure, err := repeated(func(bool) (err error) {
			result, silent, err = g.play(ctx)
			return err
		})
		if failure != nil {
			return result, g.refereeError(fmt.Sprintf("its process gave no answer: %v", failure))
		}
		if err != nil || !silent {
			return result, err
		}
	}
	return result, nil
}

// game is one match to be played, of which one side or both are open.
type game struct {
	*Relay
	blue, red Code
	seed      uint64
	notes     bool
}

// table is a game under way: the processes in it.
type table struct {
	game
	referee *seat
	open    map[sexpr.Symbol]*seat
}

// play plays the game once. A *sandbox.Failure is the referee's.
func (g game) play(ctx context.Context) (result MatchResult, silent bool, err error) {
	t := &table{game: g, open: map[sexpr.Symbol]*seat{}}
	defer t.end()
	if err = t.sit(ctx); err == nil {
		result, err = t.conduct(ctx)
	}
	var lost *loss
	if errors.As(err, &lost) {
		return forfeited(lost.side, lost.why, result.Notes), lost.silent, nil
	}
	return result, false, err
}

// sit starts the game's processes. Blue loads first, so of two that do not load blue
// has lost.
func (t *table) sit(ctx context.Context) (err error) {
	for _, s := range []struct {
		side sexpr.Symbol
		code Code
	}{{"blue", t.blue}, {"red", t.red}} {
		code, isOpen := s.code.(*Scheme)
		if !isOpen {
			continue
		}
		if t.open[s.side], err = t.seat(ctx, t.players); err != nil {
			return err
		}
		if err = t.load(ctx, s.side, code); err != nil {
			return err
		}
	}
	t.referee, err = t.seat(ctx, t.referees)
	return err
}

func (t *table) seat(ctx context.Context, of sandbox.Engine) (*seat, error) {
	s, err := of.Start(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting a process of a match: %w", err)
	}
	return &seat{shadow: s, clock: t.clock, left: t.clock}, nil
}

// load gives a side's process its code.
func (t *table) load(ctx context.Context, side sexpr.Symbol, code *Scheme) error {
	_, err := t.answer(ctx, side, code.load)
	var lost *loss
	if errors.As(err, &lost) {
		lost.why = "did not load: it " + lost.why
	}
	if err == nil {
		t.enter()
		t.open[side].loaded = true
	}
	return err
}

// end ends what is left of the processes. What a side would still do with a moment of
// grace is of no interest.
func (t *table) end() {
	for _, s := range t.open {
		if s == nil {
			continue
		}
		if s.loaded {
			t.leave()
		}
		s.shadow.Kill()
	}
	if t.referee != nil {
		t.referee.shadow.Kill()
	}
}

// conduct has the referee play the match, and carries what it asks.
func (t *table) conduct(ctx context.Context) (MatchResult, error) {
	sides := []Code{t.blue, t.red}
	frame, err := t.ask(ctx, t.referee, matchRequest(t.fuel, sides, []Match{{0, 1, t.seed}}, t.notes))
	for asks := 0; err == nil; asks++ {
		side, request, isQuestion := t.question(frame)
		if !isQuestion {
			return t.result(frame)
		}
		if asks == maxAsks {
			return MatchResult{}, t.refereeError(fmt.Sprintf("match-play asked more than %d times", maxAsks))
		}
		var value sexpr.Value
		value, err = t.answer(ctx, side, request)
		var lost *loss
		if errors.As(err, &lost) {
			return t.ended(ctx, lost), err
		}
		if err == nil {
			frame, err = t.ask(ctx, t.referee, sexpr.List{sexpr.Symbol("answer"), value})
		}
	}
	return MatchResult{}, err
}

// question reads (ask SIDE NAME ARG ...), and makes it what the side is asked.
func (t *table) question(frame sexpr.Value) (side sexpr.Symbol, request sexpr.Value, ok bool) {
	list, _ := frame.(sexpr.List)
	if len(list) < 3 || list[0] != sexpr.Symbol("ask") {
		return "", nil, false
	}
	side, _ = list[1].(sexpr.Symbol)
	return side, append(sexpr.List{sexpr.Symbol("ask")}, list[2:]...), t.open[side] != nil
}

// ended tells the referee that a side has lost. All that counts of its answer is what it
// has noted, whatever it makes of the rest.
func (t *table) ended(ctx context.Context, lost *loss) MatchResult {
	frame, err := t.ask(ctx, t.referee, sexpr.List{sexpr.Symbol("ended"), sexpr.String(lost.why)})
	if err != nil {
		return MatchResult{}
	}
	result, _ := t.result(frame)
	return MatchResult{Notes: result.Notes}
}

// result reads the referee's last frame. No side can fill the memory of the referee's
// process, so a draw for that is the referee's failure too.
func (t *table) result(frame sexpr.Value) (MatchResult, error) {
	list, _ := frame.(sexpr.List)
	if len(list) != 2 || list[0] != sexpr.Symbol("matches") {
		return MatchResult{}, t.refereeError("its answer is not of the form of the protocol")
	}
	result, err := decodeMatch(list[1], t.blue, t.red)
	if err == nil && result.Verdict == Draw {
		err = t.refereeError(result.Detail)
	}
	return result, err
}

func (g game) refereeError(message string) *RefereeError {
	return &RefereeError{Message: message, Genome: g.blue.Expr() + " against " + g.red.Expr()}
}

// answer has an open side answer with a value. The error is a *loss if it did not.
func (t *table) answer(ctx context.Context, side sexpr.Symbol, request sexpr.Value) (sexpr.Value, error) {
	s := t.open[side]
	frame, err := t.ask(ctx, s, request)
	var failure *sandbox.Failure
	if errors.As(err, &failure) {
		return nil, blame(side, failure, t.cpu)
	}
	if err != nil {
		return nil, err
	}
	list, _ := frame.(sexpr.List)
	switch {
	case len(list) == 2 && list[0] == sexpr.Symbol("value"):
		return s.within(side, list[1])
	case len(list) == 2 && list[0] == sexpr.Symbol("raised"):
		text, _ := list[1].(sexpr.String)
		return nil, &loss{side: side, why: "raised an exception: " + shown(string(text))}
	}
	return nil, &loss{side: side, why: "did not answer in the form of the protocol"}
}

// within is an answer as it is carried on, if the side may say that much.
func (s *seat) within(side sexpr.Symbol, answer sexpr.Value) (sexpr.Value, error) {
	text, err := sexpr.TextOf(answer)
	if err != nil {
		return nil, err
	}
	if s.bytes += len(text); s.bytes > maxAnswers {
		return nil, &loss{side: side, why: fmt.Sprintf("answered more than %d bytes in one match", maxAnswers)}
	}
	return text, nil
}

// ask has a process of the match answer once, in its turn.
func (t *table) ask(ctx context.Context, s *seat, request sexpr.Value) (sexpr.Value, error) {
	end, err := t.turns.take(ctx, s.shadow)
	if err != nil {
		return nil, err
	}
	defer end()
	return s.ask(ctx, request)
}
