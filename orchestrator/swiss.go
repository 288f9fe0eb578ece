package orchestrator

import (
	"slices"

	"jird/orchestrator/rating"
)

// swissPairs is who meets in the next round by Swiss: entrants of about equal standing in
// the tournament's rank, who have not met. It depends on the matches so far and on the
// seed alone, which draws the lots that decide between equals.
func (p TournamentPlan) swissPairs(played []PlayedMatch) (matches []Match, err error) {
	lots := p.playing(0)
	p.generator("lots", 0, 0).Shuffle(len(lots), func(i, j int) { lots[i], lots[j] = lots[j], lots[i] })
	rounds := p.swissRounds(played)
	for _, round := range rounds {
		for i, m := range round {
			round[i].A, round[i].B = slices.Index(lots, m.A), slices.Index(lots, m.B)
		}
	}
	pairs, err := rating.Swiss(len(lots), rounds)
	for _, pair := range pairs {
		matches = append(matches, Match{Blue: lots[pair.A], Red: lots[pair.B]})
	}
	return matches, err
}

// swissRounds are the rounds by Swiss among matches in their order, by what each counts.
// All have as many matches; those of the held-out entrants come after them.
func (p TournamentPlan) swissRounds(played []PlayedMatch) (rounds [][]rating.Worth) {
	return slices.Collect(slices.Chunk(p.worths(played), len(p.playing(0))/2))
}

// worths are what the matches among those who are not held out count.
func (p TournamentPlan) worths(played []PlayedMatch) (all []rating.Worth) {
	for _, m := range played {
		if !p.unmetIn(m) {
			blue, red := p.worth(m.Result)
			all = append(all, rating.Worth{A: m.Blue, B: m.Red, OfA: blue, OfB: red})
		}
	}
	return all
}

// unmetIn says whether a held-out entrant played.
func (p TournamentPlan) unmetIn(m PlayedMatch) bool {
	return p.Entrants[m.Blue].HeldOut || p.Entrants[m.Red].HeldOut
}
