package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"jird/orchestrator/rating"
	"jird/population"
	"jird/population/ga"
	"jird/sandbox"
	"jird/snapshots"
)

// Entrant is code that plays, under a name, for a side.
type Entrant struct {
	Name     string
	Side     int  // index of the plan's grammars
	Late     bool // has no part in the evolution before
	HeldOut  bool // met by the champion only, once it is known
	Finalist bool // a champion of the evolution before
	Code     Code
}

// TournamentRecord identifies a tournament. Nothing in it depends on time, place or the
// number of workers.
type TournamentRecord struct {
	ID        string
	Name      string
	Spec      string // effective, as canonical JSON
	SpecHash  string
	Agent     string // snapshot whose match.scm is the referee
	Evaluator string // SHA-256 of match.scm and jird's prelude, hex
	Runtime   string
	Seed      uint64
	Repeat    int
}

// Ranks by which entrants are ordered.
const (
	ByPoints = "points" // mean points of a match
	ByWins   = "wins"   // mean of 1 for a win and 0.5 for a draw
)

// TournamentPlan is a tournament, ready to be played.
type TournamentPlan struct {
	Record    TournamentRecord
	SideNames []string
	Grammars  []*population.Grammar // one side: all meet all; two: each of the first meets each of the second; nil: the side is open
	Entrants  []Entrant
	Seeds     int        // rounds: in each, every two meet once; of one side, the seats change
	Gauntlet  bool       // of two sides: the first entrant of all is judged, on everybody of the second side
	Swiss     bool       // of one side: in each round, everybody meets one of about equal standing
	Rank      string     // ByPoints or ByWins
	Fuel      int64      // steps of a side in a match
	Promotion *Promotion // of the first side's champion; nil: none
	Evolution *Evolution // of both sides, before they meet; nil: none
	Evolved   bool       // the finalists are among the entrants
	Best      float64    // points that no match can exceed; ByPoints only
	Shadows   int
	Workers   int
	Sandbox   sandbox.Options
}

// PlayedMatch is one match of a tournament, by the entrants' numbers.
type PlayedMatch struct {
	Number int // from 0, in the order of the rounds
	Match
	Result MatchResult
}

// Rounds keeps a tournament: every round is one transaction, written or not.
type Rounds interface {
	// BeginTournament records it with its entrants. It is an error if the id is there.
	BeginTournament(TournamentRecord, []Entrant) error
	// Round records one whole round.
	Round(tournament string, number int, matches []PlayedMatch) error
	// Evolved records one generation of both sides.
	Evolved(tournament string, states [2]*ga.State) error
	// Generations returns all that were recorded. The grammars are the sides'.
	Generations(tournament string, grammars []*population.Grammar) (Generations, error)
	// Enter records more entrants, all or none, after those that are there.
	Enter(tournament string, entrants []Entrant) error
	// Played returns the matches of all rounds so far, and how many rounds those are.
	Played(tournament string) (matches []PlayedMatch, rounds int, err error)
}

// Tournament does what was not done yet: it evolves the sides, if the plan says so, and
// plays. It calls after once after each generation and round, and returns all matches,
// and the plan with all entrants. Any number of workers do the same.
func Tournament(ctx context.Context, p TournamentPlan, vault *snapshots.Vault, book Rounds, after func(what string, n, of int)) (TournamentPlan, []PlayedMatch, error) {
	played, done, err := book.Played(p.Record.ID)
	if err != nil {
		return p, nil, err
	}
	if done < p.Rounds() {
		court, err := p.open(ctx, vault)
		if err != nil {
			return p, nil, err
		}
		defer court.Close()
		if p.Evolution != nil && !p.Evolved {
			if p, err = p.withFinalists(ctx, court, book, func(n, of int) { after("generation", n, of) }); err != nil {
				return p, nil, err
			}
		}
		for ; done < p.Seeds; done++ {
			pairs, err := p.pairs(done, played)
			if err != nil {
				return p, nil, err
			}
			if played, err = p.round(ctx, court, book, done, pairs, played); err != nil {
				return p, nil, err
			}
			after("round", done+1, p.Rounds())
		}
		if done < p.Rounds() {
			if played, err = p.round(ctx, court, book, done, p.seated(done, p.unmet(played)), played); err != nil {
				return p, nil, err
			}
			after("round", done+1, p.Rounds())
		}
	}
	return p, played, nil
}

// withFinalists evolves the sides, and enters their champions.
func (p TournamentPlan) withFinalists(ctx context.Context, court Court, book Rounds, after func(n, of int)) (TournamentPlan, error) {
	history, err := book.Generations(p.Record.ID, p.Grammars)
	if err == nil {
		history, err = p.evolve(ctx, court, book, history, after)
	}
	if err != nil {
		return p, err
	}
	finalists := p.finalists(history)
	p.Entrants, p.Evolved = slices.Concat(p.Entrants, finalists), true
	return p, book.Enter(p.Record.ID, finalists)
}

// Rounds is one for each seed, and one of the champions against those they never met.
func (p TournamentPlan) Rounds() int {
	if slices.ContainsFunc(p.Entrants, func(e Entrant) bool { return e.HeldOut }) {
		return p.Seeds + 1
	}
	return p.Seeds
}

func (p TournamentPlan) round(ctx context.Context, court Court, book Rounds, number int, matches []Match, before []PlayedMatch) ([]PlayedMatch, error) {
	for i := range matches {
		m := &matches[i]
		if m.Seed == 0 {
			m.Seed = p.seed(number)
		}
	}
	results, err := court.Play(ctx, p.sides(), matches, false)
	if err != nil {
		return nil, err
	}
	round := make([]PlayedMatch, len(matches))
	for i, m := range matches {
		round[i] = PlayedMatch{len(before) + i, m, results[i]}
	}
	if err := book.Round(p.Record.ID, number, round); err != nil {
		return nil, err
	}
	return append(before, round...), nil
}

// pairs is who meets in a round, after those that were played.
func (p TournamentPlan) pairs(number int, played []PlayedMatch) (matches []Match, err error) {
	if p.Swiss {
		return p.swissPairs(played)
	}
	first := p.playing(0)
	pairs := rating.RedBlue(first, p.playing(1))
	if len(p.Grammars) == 1 {
		pairs = nil
		for _, pair := range rating.RoundRobin(len(first)) {
			pairs = append(pairs, rating.Pairing{A: first[pair.A], B: first[pair.B]})
		}
	}
	for _, pair := range pairs {
		matches = append(matches, Match{Blue: pair.A, Red: pair.B})
	}
	return p.seated(number, matches), nil
}

// seated changes the seats of matches of one side in every second round, so that each has
// either as often.
func (p TournamentPlan) seated(number int, matches []Match) []Match {
	if len(p.Grammars) == 1 && number%2 == 1 {
		for i := range matches {
			matches[i].Blue, matches[i].Red = matches[i].Red, matches[i].Blue
		}
	}
	return matches
}

// unmet is each side's champion against the held-out entrants of the other, with seeds
// that no round had.
func (p TournamentPlan) unmet(played []PlayedMatch) (matches []Match) {
	for side := range p.Grammars {
		champion := p.Champion(played, side)
		for i, e := range p.Entrants {
			if !e.HeldOut || (len(p.Grammars) == 2 && e.Side == side) {
				continue
			}
			for s := range p.Seeds {
				m := Match{Blue: champion, Red: i, Seed: p.seed(p.Seeds + s)}
				if len(p.Grammars) == 2 && side == 1 {
					m.Blue, m.Red = m.Red, m.Blue
				}
				matches = append(matches, m)
			}
		}
	}
	return matches
}

// Champion is the entrant of a side with the best mean, the first of equals, as the standings
// have it: those of the held-out entrants do not count.
func (p TournamentPlan) Champion(played []PlayedMatch, side int) int {
	sums, games := make([]float64, len(p.Entrants)), make([]float64, len(p.Entrants))
	for _, m := range played {
		if p.unmetIn(m) {
			continue
		}
		blue, red := p.worth(m.Result)
		sums[m.Blue], sums[m.Red] = sums[m.Blue]+blue, sums[m.Red]+red
		games[m.Blue]++
		games[m.Red]++
	}
	best := -1
	for i, e := range p.Entrants {
		if e.Side != side || e.HeldOut || games[i] == 0 {
			continue
		}
		if best < 0 || sums[i]/games[i] > sums[best]/games[best] {
			best = i
		}
	}
	return best
}

// worth is what a match counts for its two sides in the tournament's rank. Who forfeits
// must not take from the other what a match can be worth, so that one gets the best.
func (p TournamentPlan) worth(r MatchResult) (blue, red float64) {
	if p.Rank == ByPoints && (r.Verdict == Played || p.Best == 0) {
		return r.Blue, r.Red
	}
	return p.most() * r.Score(), p.most() * (1 - r.Score())
}

// most is what a match counts at most.
func (p TournamentPlan) most() float64 {
	if p.Rank == ByPoints && p.Best > 0 {
		return p.Best
	}
	return 1
}

// missing is what blue missed of the most.
func (p TournamentPlan) missing(r MatchResult) float64 {
	blue, _ := p.worth(r)
	return p.most() - blue
}

// FreeName is a name that nobody has taken, as like the wanted one as can be, and takes it.
func FreeName(wanted string, taken map[string]bool) string {
	name := wanted
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s.%d", wanted, n)
	}
	taken[name] = true
	return name
}

// seed derives the seed of a round: it belongs to the experiment and its seed.
func (p TournamentPlan) seed(round int) uint64 {
	return derived("match/%s/%d/%d", p.Record.SpecHash, p.Record.Seed, round) | 4 // not 0 as the referee sees it
}

func (p TournamentPlan) sides() []Code {
	all := make([]Code, len(p.Entrants))
	for i, e := range p.Entrants {
		all[i] = e.Code
	}
	return all
}

// Read reads the source of an entrant of a side.
func (p TournamentPlan) Read(side int, source []byte) (Code, error) {
	if side < 0 || side >= len(p.Grammars) {
		return nil, fmt.Errorf("there is no side %d", side)
	}
	return ReadCode(p.Grammars[side], source)
}

// open opens where the sides meet. If one of them is open, all matches are relayed.
func (p TournamentPlan) open(ctx context.Context, vault *snapshots.Vault) (Court, error) {
	image, err := vault.Get(snapshots.ID(p.Record.Agent))
	if err != nil {
		return nil, err
	}
	im, err := matchImage(image)
	if err != nil {
		return nil, err
	}
	if slices.Contains(p.Grammars, nil) {
		return OpenRelay(ctx, im, p.Sandbox, p.Fuel, p.Shadows, p.Workers)
	}
	return OpenPool(ctx, im, p.Grammars[0], p.Sandbox, p.Fuel, p.Shadows, p.Workers)
}

// matchFile holds the referee of matches.
const matchFile = "match.scm"

// matchImage is what the shadows of matches load: the agent's files, then the referee.
func matchImage(image *snapshots.Image) (im sandbox.Image, err error) {
	referee := image.File(matchFile)
	if referee == nil {
		return im, &AgentError{matchFile, errors.New("the agent folder has no such file; it must define (match-play BLUE RED SEED)")}
	}
	for _, f := range image.Files {
		if path.Ext(f.Path) == ".scm" && f.Path != matchFile && f.Path != refereeFile && f.Path != "memory.scm" {
			im.Files = append(im.Files, sandbox.Source{Name: f.Path, Code: f.Data})
		}
	}
	im.Files = append(im.Files, sandbox.Source{Name: matchFile, Code: referee.Data})
	return im, nil
}

// MatchEvaluator identifies the referee of an image's matches.
func MatchEvaluator(image *snapshots.Image) string { return evaluator(image, matchFile) }

// Replay plays matches of a tournament again, with what the referee notes.
func Replay(ctx context.Context, p TournamentPlan, vault *snapshots.Vault, matches []Match) ([]MatchResult, error) {
	p.Shadows, p.Workers = 1, 1
	court, err := p.open(ctx, vault)
	if err != nil {
		return nil, err
	}
	defer court.Close()
	return court.Play(ctx, p.sides(), matches, true)
}
