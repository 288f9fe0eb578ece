package orchestrator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"jird/orchestrator/rating"
)

// Standing is where one entrant stands. Means are of what a match counts in the
// tournament's rank; intervals are of 95 %.
type Standing struct {
	Side   string     `json:"side"`
	Name   string     `json:"name"`
	Rank   float64    `json:"rank"` // 1 is the best of its side; equals share the mean of theirs
	Ranks  [2]float64 `json:"rank_interval"`
	Mean   float64    `json:"mean"`
	Means  [2]float64 `json:"mean_interval"`
	Wins   int        `json:"wins"`
	Draws  int        `json:"draws"`
	Losses int        `json:"losses"`
	Rating float64    `json:"rating"` // Glicko-2, of wins, draws and losses
	RD     float64    `json:"rd"`
	Alpha  *float64   `json:"alpha"` // alpha-rank mass among its side, of wins, draws and losses; null if not all have met
	Expr   string     `json:"expr"`
}

// WinRate is 1 for a win and half for a draw, in the mean.
func (s Standing) WinRate() float64 {
	return (float64(s.Wins) + float64(s.Draws)/2) / float64(max(1, s.Wins+s.Draws+s.Losses))
}

// Generality is how a side's champion did against entrants that it had never met.
type Generality struct {
	Side      string  `json:"side"`
	Champion  string  `json:"champion"`
	Opponents int     `json:"opponents"`
	Matches   int     `json:"matches"`
	Mean      float64 `json:"mean"`
	WinRate   float64 `json:"winrate"`
}

// Standings are how a tournament ended.
type Standings struct {
	Run        string       `json:"run"`
	Seed       uint64       `json:"seed"`
	Runtime    string       `json:"runtime"`
	Rank       string       `json:"rank"`
	Rounds     int          `json:"rounds"`
	Matches    int          `json:"matches"`
	Forfeits   int          `json:"forfeits"`
	Champion   Standing     `json:"champion"` // of the first side
	Champions  []Standing   `json:"champions"`
	Standings  []Standing   `json:"standings"` // by side, then by rank
	Generality []Generality `json:"generality"`
	Warnings   []string     `json:"warnings"`
	Judged     string       `json:"judged"`   // who was to be handed over: the first side's champion or a gauntlet's candidate; or ""
	Promoted   *bool        `json:"promoted"` // null if nobody was to be handed over
	Reason     string       `json:"reason"`
	Seconds    float64      `json:"seconds"` // of this process; the only number that another run does not repeat
}

// resamples of the bootstrap.
const resamples = 1000

// Standings reckons the matches of a tournament up.
func (p TournamentPlan) Standings(played []PlayedMatch) (*Standings, error) {
	s := &Standings{Run: p.Record.ID, Seed: p.Record.Seed, Runtime: p.Record.Runtime, Rank: p.Rank, Rounds: p.Seeds, Generality: []Generality{}, Warnings: []string{}}
	var matches []rating.Match
	for _, m := range played {
		s.Matches++
		if m.Result.Verdict == Forfeit {
			s.Forfeits++
		}
		if !p.unmetIn(m) {
			matches = append(matches, rating.Match{A: m.Blue, B: m.Red, Score: m.Result.Score()})
		}
	}
	ratings, err := rating.Glicko(rating.NewRatings(len(p.Entrants)), matches)
	if err != nil {
		return nil, err
	}
	table, err := rating.Tally(len(p.Entrants), matches)
	if err != nil {
		return nil, err
	}
	s.Warnings = append(s.Warnings, p.warnings(table)...)
	alpha, err := p.alpha(table)
	if err != nil {
		return nil, err
	}
	for side := range p.Grammars {
		standings, err := p.sideStandings(side, played, table)
		if err != nil {
			return nil, err
		}
		for i := range standings {
			n := standings[i].entrant
			standings[i].Rating, standings[i].RD, standings[i].Alpha = ratings[n].Rating, ratings[n].RD, alpha[n]
			s.Standings = append(s.Standings, standings[i].Standing)
		}
		s.Champions = append(s.Champions, standings[0].Standing)
		s.Warnings = append(s.Warnings, doubt(standings[0].Standing)...)
		if g, met := p.generality(side, standings[0].entrant, played); met {
			s.Generality = append(s.Generality, g)
		}
	}
	s.Champion = s.Champions[0]
	if p.Promotion != nil {
		s.Judged = p.Entrants[p.Judged(played)].Name
	}
	if p.Gauntlet && p.Entrants[0].Code.Hash() == p.Entrants[1].Code.Hash() {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s is what is live already: there is nothing to compare", p.Entrants[0].Name))
	}
	return s, nil
}

// doubt says in which way a side's champion may not be its best.
func doubt(s Standing) []string {
	switch {
	case s.Ranks[1] == 1:
		return nil
	case s.Ranks[0] == s.Ranks[1]: // and so with every way to draw the matches anew
		return []string{fmt.Sprintf("%s is one of %g that are equally good for %s", s.Name, 2*s.Rank-1, s.Side)}
	}
	return []string{fmt.Sprintf("%s is not surely the best %s: its rank is from %g to %g; more seeds would tell", s.Name, s.Side, s.Ranks[0], s.Ranks[1])}
}

// Judged is who is to be handed over.
func (p TournamentPlan) Judged(played []PlayedMatch) (entrant int) {
	if p.Gauntlet {
		return 0
	}
	return p.Champion(played, 0)
}

// numbered is a standing with its entrant's number.
type numbered struct {
	Standing
	entrant int
}

func (p TournamentPlan) playing(side int) (entrants []int) {
	for i, e := range p.Entrants {
		if e.Side == side && !e.HeldOut {
			entrants = append(entrants, i)
		}
	}
	return entrants
}

func (p TournamentPlan) sideStandings(side int, played []PlayedMatch, table rating.Table) ([]numbered, error) {
	ranked, err := p.ranked(side, played)
	if err != nil {
		return nil, err
	}
	var all []numbered
	for _, r := range ranked {
		e := p.Entrants[r.Side]
		st := Standing{
			Side: p.SideNames[side], Name: e.Name, Rank: r.Rank, Ranks: [2]float64{r.Ranks.Low, r.Ranks.High},
			Mean: r.Mean, Means: [2]float64{r.Means.Low, r.Means.High}, Expr: e.Code.Expr(),
		}
		for _, cell := range table[r.Side] {
			st.Wins, st.Losses = st.Wins+cell.Wins, st.Losses+cell.Losses
			st.Draws += cell.Games - cell.Wins - cell.Losses
		}
		all = append(all, numbered{st, r.Side})
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Compare(a.Rank, b.Rank) })
	return all, nil
}

// ranked are a side's means and ranks with their intervals.
func (p TournamentPlan) ranked(side int, played []PlayedMatch) ([]rating.Standing, error) {
	if p.Swiss {
		return rating.BootstrapRounds(len(p.Entrants), p.playing(side), p.swissRounds(played), resamples, p.seed(-1))
	}
	return rating.Bootstrap(len(p.Entrants), p.playing(side), p.worths(played), resamples, p.seed(-1))
}

// alpha gives every entrant that plays its alpha-rank mass, or nobody any where the table
// does not tell it.
func (p TournamentPlan) alpha(table rating.Table) ([]*float64, error) {
	mass := make([]*float64, len(p.Entrants))
	set := func(entrants []int, masses []float64) {
		for i := range masses {
			mass[entrants[i]] = &masses[i]
		}
	}
	var rows, columns []float64
	var err error
	first, second := p.playing(0), p.playing(1)
	if len(p.Grammars) == 1 {
		rows, err = rating.AlphaRank(table.Sub(first, first))
	} else {
		rows, columns, err = rating.AlphaRankTwo(table.Sub(first, second))
	}
	set(first, rows)
	set(second, columns)
	if errors.Is(err, rating.ErrNoAlpha) {
		err = nil
	}
	return mass, err
}

func (p TournamentPlan) generality(side, champion int, played []PlayedMatch) (g Generality, met bool) {
	g = Generality{Side: p.SideNames[side], Champion: p.Entrants[champion].Name}
	opponents := map[int]bool{}
	won, sum := 0.0, 0.0
	for _, m := range played {
		blue, red := p.worth(m.Result)
		score, worth, other := m.Result.Score(), blue, m.Red
		if m.Blue != champion {
			score, worth, other = 1-score, red, m.Blue
		}
		if (m.Blue != champion && m.Red != champion) || !p.Entrants[other].HeldOut {
			continue
		}
		opponents[other] = true
		won, sum = won+score, sum+worth
		g.Matches++
	}
	if g.Opponents = len(opponents); g.Matches == 0 {
		return g, false
	}
	g.WinRate, g.Mean = won/float64(g.Matches), sum/float64(g.Matches)
	return g, true
}

// Numbers are what can be asserted: rounds, matches, forfeits, promoted; rank, mean, winrate,
// wins, draws, losses, rating and, where it is known, alpha of champion and of each entrant by name; mean and
// winrate of each side (of its entrants together) and of generality, and of
// generality.SIDE where there are two.
func (s *Standings) Numbers() map[string]float64 {
	n := map[string]float64{"rounds": float64(s.Rounds), "matches": float64(s.Matches), "forfeits": float64(s.Forfeits)}
	put := func(name string, e Standing) {
		n[name+".rank"], n[name+".mean"], n[name+".winrate"] = e.Rank, e.Mean, e.WinRate()
		n[name+".wins"], n[name+".draws"], n[name+".losses"] = float64(e.Wins), float64(e.Draws), float64(e.Losses)
		n[name+".rating"] = e.Rating
		if e.Alpha != nil {
			n[name+".alpha"] = *e.Alpha
		}
	}
	of := map[string]float64{}
	for _, e := range s.Standings {
		of[e.Side]++
		n[e.Side+".mean"] += e.Mean
		n[e.Side+".winrate"] += e.WinRate()
	}
	for side, entrants := range of {
		n[side+".mean"] /= entrants
		n[side+".winrate"] /= entrants
	}
	for _, e := range s.Standings {
		put(e.Name, e)
	}
	put("champion", s.Champion)
	if s.Promoted != nil {
		n["promoted"] = map[bool]float64{true: 1}[*s.Promoted]
	}
	for i, g := range s.Generality {
		name := "generality." + g.Side
		n[name+".mean"], n[name+".winrate"] = g.Mean, g.WinRate
		if i == 0 {
			n["generality.mean"], n["generality.winrate"] = g.Mean, g.WinRate
		}
	}
	return n
}
