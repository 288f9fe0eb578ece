package ga

import (
	"fmt"
	"math/rand"
	"slices"
	"strconv"

	"jird/population"
)

// kept is the operator of a member that stands where nothing was proposed.
const kept = "kept"

// inspirations are how many others a proposer is shown with a parent.
const inspirations = 3

// slot is a place that a source was chosen for.
type slot struct {
	island, index int
	source        string
}

// brood is the next cohort of an island in the making.
type brood struct {
	rng      *rand.Rand
	parents  []Member
	selected population.Selector
	seen     map[string]bool
	cohort   []Member // without a genome where a proposal is awaited
}

// breed makes the cohorts of a generation from several sources, one island after
// another: a generation is spread over the sources and proposed as a whole. It puts
// each in the place of the cohort before.
func (l *loop) breed(islands [][]Member) ([]slot, error) {
	round := Round{Generation: l.state.Generation + 1}
	choose := chooser{l.cfg.Sources, l.state.Credit, map[string]int{}}
	broods := make([]brood, len(islands))
	var slots, awaited []slot
	for i, members := range islands {
		b := l.brood(i, members)
		shown := l.shown(members)
		for len(b.cohort) < l.cfg.Population {
			s := slot{i, len(b.cohort), choose.next(b.rng)}
			slots = append(slots, s)
			if s.source == GP {
				b.cohort = append(b.cohort, l.cfg.child(b.rng, b.parents, b.selected, b.seen))
				continue
			}
			parent := b.parents[b.selected(b.rng)]
			awaited = append(awaited, s)
			b.cohort = append(b.cohort, Member{Op: s.source, Parents: []string{parent.Genome.Hash()}})
			round.Asks = append(round.Asks, Ask{
				Proposer:     s.source,
				Seed:         l.cfg.derive("ask/"+strconv.Itoa(s.index), i, round.Generation).Uint64(),
				Parent:       parent,
				Inspirations: inspire(b.rng, shown, parent),
			})
		}
		broods[i] = b
	}
	if len(awaited) > 0 {
		if err := l.propose(round, islands, broods, awaited); err != nil {
			return nil, err
		}
	}
	for i, b := range broods {
		copy(islands[i], b.cohort)
	}
	return slots, nil
}

// brood begins with the elites.
func (l *loop) brood(island int, members []Member) brood {
	b := brood{rng: l.cfg.derive("cohort", island, l.state.Generation+1), seen: map[string]bool{}}
	sortMembers(members)
	b.cohort = elites(members, l.cfg.Elites, b.seen)
	b.parents, b.selected = l.cfg.parents(members, l.state.Archive)
	return b
}

// shown are those that inspire: of the archive or, without one, the best of the run and
// of the island.
func (l *loop) shown(members []Member) []Member {
	all := l.state.Archive
	if len(all) == 0 {
		all = bestOf(slices.Concat(l.state.Best, members), max(l.cfg.Best, inspirations+1))
	}
	return slices.DeleteFunc(slices.Clone(all), func(m Member) bool { return m.Outcome.Status != population.OK })
}

// inspire draws a few of those shown, other than the parent.
func inspire(rng *rand.Rand, shown []Member, parent Member) []Member {
	var drawn []Member
	for _, i := range rng.Perm(len(shown)) {
		if len(drawn) < inspirations && shown[i].Genome.Hash() != parent.Genome.Hash() {
			drawn = append(drawn, shown[i])
		}
	}
	sortMembers(drawn)
	return drawn
}

// propose fills the awaited places. Where nothing came stands a child of the operators
// or, in an open grammar, the parent, which costs no measurement.
func (l *loop) propose(round Round, islands [][]Member, broods []brood, awaited []slot) error {
	coming := map[string]bool{}
	seen := map[string]bool{}
	near := func(g *population.Genome) {
		if !seen[g.Hash()] {
			seen[g.Hash()] = true
			round.Near = append(round.Near, g)
		}
	}
	for i, b := range broods {
		for _, m := range islands[i] {
			near(m.Genome)
		}
		for _, m := range b.cohort {
			if m.Genome != nil {
				coming[m.Genome.Hash()] = true
				near(m.Genome)
			}
		}
	}
	for _, m := range l.state.Archive {
		near(m.Genome)
	}
	round.Tried = func(hash string) bool {
		_, known := l.known[hash]
		return known || coming[hash]
	}
	genomes, err := l.cfg.Proposer.Propose(l.ctx, round)
	if err == nil {
		err = checkProposals(round, genomes)
	}
	if err != nil {
		return err
	}
	for i, g := range genomes {
		if g != nil {
			b := broods[awaited[i].island]
			b.cohort[awaited[i].index].Genome = g
			b.seen[g.Hash()] = true
		}
	}
	for i, g := range genomes {
		b := broods[awaited[i].island]
		switch {
		case g != nil:
		case l.cfg.Grammar.Open:
			parent := round.Asks[i].Parent.Genome
			b.cohort[awaited[i].index] = Member{Genome: parent, Op: kept, Parents: []string{parent.Hash()}}
		default:
			b.cohort[awaited[i].index] = l.cfg.child(b.rng, b.parents, b.selected, b.seen)
		}
	}
	return nil
}

// checkProposals holds a proposer to its contract: what is measured once more would
// be spent for nothing, and credited twice.
func checkProposals(round Round, genomes []*population.Genome) error {
	if len(genomes) != len(round.Asks) {
		return fmt.Errorf("ga: the proposer gave %d genomes for %d asks: one or nil for each is needed", len(genomes), len(round.Asks))
	}
	given := map[string]bool{}
	for i, g := range genomes {
		if g == nil {
			continue
		}
		if round.Tried(g.Hash()) || given[g.Hash()] {
			return fmt.Errorf("ga: the genome %.12s of proposer %s is not new: nil is needed where nothing new came", g.Hash(), round.Asks[i].Proposer)
		}
		given[g.Hash()] = true
	}
	return nil
}

// credited is the sources' credit with what a measured generation brought.
func (l *loop) credited(slots []slot, cohorts [][]Member) map[string]Credit {
	credit := map[string]Credit{}
	for _, s := range l.cfg.Sources {
		credit[s.Name] = l.state.Credit[s.Name]
	}
	for _, s := range slots {
		m := cohorts[s.island][s.index]
		c := credit[s.source]
		c.Asked++
		if s.source == GP || m.Op == s.source {
			c.Answered++
			if len(m.Parents) > 0 {
				c.Gain += gain(l.known[m.Parents[0]], m.Outcome)
			}
		}
		credit[s.source] = c
	}
	return credit
}
