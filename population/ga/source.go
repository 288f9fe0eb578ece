package ga

import (
	"math"
	"math/rand"
	"slices"

	"jird/population"
)

// GP names the source that is built in: the operators.
const GP = "gp"

// Source is one way to make children: the operators, or a proposer.
type Source struct {
	Name   string
	Share  float64 // weight beside other sources; 0 where Bandit
	Bandit bool    // of a group that weighs 1 for each member, among which the more helpful are asked more
}

// Credit is what came of all that a source was asked for in a run.
type Credit struct {
	Asked    int     // children
	Answered int     // of them, made
	Gain     float64 // sum over them of the improvement on the first parent, each from 0 to 1
}

// what a member's operator says beside the operators' own names.
var takenNames = append([]string{"seed", "random", "elite", kept}, operatorNames...)

func (c Config) checkSources(need func(ok bool, format string, args ...any)) {
	total := 0.0
	for i, s := range c.Sources {
		need(s.Name != "", "source %d has no name: use %s or a proposer's", i+1, GP)
		need(!slices.Contains(takenNames, s.Name), "source %q: the ledger means something else by that name, use another", s.Name)
		need(!slices.ContainsFunc(c.Sources[:i], func(o Source) bool { return o.Name == s.Name }), "source %s is given twice: name it once", s.Name)
		need(s.Share >= 0 && !math.IsInf(s.Share, 0), "source %s: share %v: use a finite number of 0 or more", s.Name, s.Share)
		need(!s.Bandit || s.Share == 0, "source %s has a share and is of the bandit: use one or the other", s.Name)
		total += s.weight()
	}
	need(len(c.Sources) == 0 || (total > 0 && !math.IsInf(total, 0)), "the shares of all sources add up to %v: use finite ones, at least one above 0", total)
	need(len(c.Sources) == 0 || !c.Moving, "sources are credited with scores of different generations, and these move: use one or the other")
}

// checkOpen holds an open grammar to what can be done without drawing and varying.
func (c Config) checkOpen(need func(ok bool, format string, args ...any)) {
	need(len(c.Sources) > 0, "the grammar is open and there are no sources: name a proposer")
	need(!slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Name == GP }), "source %s cannot vary an open grammar: use proposers", GP)
	need(c.Control == Evolve, "control %q cannot draw from an open grammar: use none", c.Control)
}

// proposes says whether a run needs a proposer.
func (c Config) proposes() bool {
	return c.Control == Evolve && slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Name != GP })
}

func (s Source) weight() float64 {
	if s.Bandit {
		return 1
	}
	return s.Share
}

// chooser says which source makes one child after another.
type chooser struct {
	sources []Source
	credit  map[string]Credit // after the generation before
	pending map[string]int    // children of this generation
}

func (c chooser) next(rng *rand.Rand) string {
	weights := make([]float64, len(c.sources))
	for i, s := range c.sources {
		weights[i] = s.weight()
	}
	chosen := c.sources[pickWeighted(rng, weights)]
	if chosen.Bandit {
		chosen = c.bandit()
	}
	c.pending[chosen.Name]++
	return chosen.Name
}

// bandit is UCB1 (Auer, Cesa-Bianchi, Fischer 2002) with two changes. Children of this
// generation count as asked before their gain is known, so that a generation spreads.
// And the unit of the mean gains is the largest of them: improvements get small as a run
// goes on, and the bonus, made for rewards that fill 0 to 1, would drown them.
func (c chooser) bandit() Source {
	asked, largest := 0, 0.0
	for _, s := range c.sources {
		if s.Bandit {
			asked += c.asked(s)
			largest = max(largest, c.gain(s))
		}
	}
	best, bound := Source{}, -1.0
	for _, s := range c.sources {
		if !s.Bandit {
			continue
		}
		if c.asked(s) == 0 {
			return s
		}
		b := math.Sqrt(2 * math.Log(float64(asked)) / float64(c.asked(s)))
		if largest > 0 {
			b += c.gain(s) / largest
		}
		if b > bound {
			best, bound = s, b
		}
	}
	return best
}

func (c chooser) asked(s Source) int { return c.credit[s.Name].Asked + c.pending[s.Name] }

// gain is the mean over the children that were measured.
func (c chooser) gain(s Source) float64 {
	return c.credit[s.Name].Gain / float64(max(1, c.credit[s.Name].Asked))
}

// gain is the share of the parent's fitness by which a child is better, from 0 to 1: 1
// as well where the parent failed or was at 0.
func gain(parent, child population.Outcome) float64 {
	p, c := parent.Fitness(), child.Fitness()
	switch {
	case c >= p:
		return 0
	case parent.Status != population.OK:
		return 1
	}
	return min(1, (p-c)/math.Abs(p))
}
