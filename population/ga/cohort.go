package ga

import (
	"math/rand"
	"slices"

	"jird/population"
)

// duplicateTries is how often a child that its cohort already has is made anew
// before a random genome takes its place.
const duplicateTries = 4

// first draws the first cohort of an island: the seeds, then random genomes (as a
// control, what the control makes), all distinct where the grammar allows it. An open
// one can draw nothing: copies of the first seed take the places.
func (c Config) first(island int) []Member {
	rng := c.derive("first", island, 0)
	seen := map[string]bool{}
	var cohort []Member
	for _, g := range c.Seeds {
		if !seen[g.Hash()] && len(cohort) < c.Population {
			seen[g.Hash()] = true
			cohort = append(cohort, Member{Genome: g, Op: "seed"})
		}
	}
	for c.Grammar.Open && len(cohort) < c.Population {
		cohort = append(cohort, Member{Genome: c.Seeds[0], Op: "seed"})
	}
	return c.fill(rng, cohort, seen)
}

// fill completes a cohort with genomes that no cohort before has a part in.
func (c Config) fill(rng *rand.Rand, cohort []Member, seen map[string]bool) []Member {
	var seeds []Member
	for _, g := range c.Seeds {
		seeds = append(seeds, Member{Genome: g})
	}
	any := func(rng *rand.Rand) int { return rng.Intn(len(seeds)) }
	for len(cohort) < c.Population {
		if c.Control == BestOfN {
			cohort = append(cohort, c.child(rng, seeds, any, seen))
		} else {
			cohort = append(cohort, c.random(rng, seen))
		}
	}
	return cohort
}

func (c Config) random(rng *rand.Rand, seen map[string]bool) Member {
	for try := 0; ; try++ {
		g := c.Grammar.Random(rng)
		if !seen[g.Hash()] || try == duplicateTries {
			seen[g.Hash()] = true
			return Member{Genome: g, Op: "random"}
		}
	}
}

// next builds an island's cohort from the one before and the archive. A migration
// leaves that one unsorted, and the best may stand anywhere in it: it is put in order,
// which changes the caller's slice.
func (c Config) next(rng *rand.Rand, members, archive []Member) []Member {
	seen := map[string]bool{}
	if c.Control != Evolve {
		return c.fill(rng, nil, seen)
	}
	sortMembers(members)
	cohort := elites(members, c.Elites, seen)
	parents, selected := c.parents(members, archive)
	for len(cohort) < c.Population {
		cohort = append(cohort, c.child(rng, parents, selected, seen))
	}
	return cohort
}

// elites are the best, distinct by their scores: clones of the best would crowd
// out the second best.
func elites(parents []Member, count int, seen map[string]bool) []Member {
	var kept []Member
	for _, m := range parents {
		if len(kept) == count || m.Outcome.Status != population.OK {
			break
		}
		if !slices.ContainsFunc(kept, func(k Member) bool { return slices.Equal(k.Outcome.Scores, m.Outcome.Scores) }) {
			seen[m.Genome.Hash()] = true
			kept = append(kept, Member{Genome: m.Genome, Outcome: m.Outcome, Op: "elite", Parents: []string{m.Genome.Hash()}})
		}
	}
	return kept
}

// selector draws from parents; others are neighbours only.
func (c Config) selector(parents, others []Member) population.Selector {
	cohort := measured(parents)
	switch c.Selection.Kind {
	case "novelty":
		return population.Novelty(cohort, measured(others), c.Selection.Size)
	case "lexicase":
		return population.Lexicase(cohort)
	case "epsilon-lexicase":
		return population.EpsilonLexicase(cohort)
	}
	return population.Tournament(cohort, c.Selection.Size)
}

var operatorNames = []string{"crossover", "size-fair", "subtree", "point", "constant", "hoist"}

func (c Config) child(rng *rand.Rand, parents []Member, selected population.Selector, seen map[string]bool) Member {
	for range duplicateTries {
		mother := parents[selected(rng)].Genome
		made, lineage := mother, []string{mother.Hash()}
		op := pickWeighted(rng, c.weights())
		switch op {
		case 0, 1:
			father := parents[selected(rng)].Genome
			lineage = append(lineage, father.Hash())
			if op == 0 {
				made = c.Grammar.Crossover(rng, mother, father)
			} else {
				made = c.Grammar.SizeFair(rng, mother, father)
			}
		case 2:
			made = c.Grammar.Subtree(rng, mother)
		case 3:
			made = c.Grammar.Point(rng, mother)
		case 4:
			made = c.Grammar.Constant(rng, mother)
		case 5:
			made = c.Grammar.Hoist(rng, mother)
		}
		if !seen[made.Hash()] {
			seen[made.Hash()] = true
			return Member{Genome: made, Op: operatorNames[op], Parents: lineage}
		}
	}
	return c.random(rng, seen)
}

func pickWeighted(rng *rand.Rand, weights []float64) int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	at := rng.Float64() * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return len(weights) - 1
}

func sortMembers(members []Member) {
	slices.SortStableFunc(members, func(a, b Member) int {
		return population.Compare(a.measured(), b.measured())
	})
}

func (m Member) measured() population.Measured {
	return population.Measured{Genome: m.Genome, Outcome: m.Outcome}
}

func measured(members []Member) []population.Measured {
	all := make([]population.Measured, len(members))
	for i, m := range members {
		all[i] = m.measured()
	}
	return all
}
