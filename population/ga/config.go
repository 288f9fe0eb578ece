// Package ga is the genetic loop: eaopt's GA.Minimize with a model of our own.
//
// eaopt v0.4.2 owns the loop, the populations, the migration, the early stop and
// the callback. Its defects are avoided, each with a test that would see it:
// every individual's fitness is set by the model from an outcome, so none is
// stale; a cohort is built anew, so no replacement can overwrite the best; one
// batch per generation is evaluated over all islands, so nothing is chunked;
// the hall of fame is ours and holds no clones; the first cohort is drawn and
// measured before and only dealt out, so that a run can be resumed; the context
// is checked at every evaluation.
//
// A run is a pure function of its configuration, and of what evaluator and proposer
// answer: all randomness is derived from (seed, island, generation), so a run resumed
// from a State equals one that was never interrupted.
package ga

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"

	"jird/population"
)

// Selection names how parents are chosen. Novelty without an archive has no memory: what
// was left behind is new again, and a search goes to and fro.
type Selection struct {
	Kind string // "tournament", "lexicase", "epsilon-lexicase" or "novelty"
	Size int    // contestants of a tournament, or for novelty
}

// Operators are the relative weights of the ways to make a child.
type Operators struct {
	Crossover, SizeFair, Subtree, Point, Constant, Hoist float64
}

// Config is everything that a run depends on.
type Config struct {
	Grammar      *population.Grammar
	Seeds        []*population.Genome // in every island's first cohort, before random genomes
	Seed         uint64
	Islands      int
	Population   int // per island
	Generations  int // after the first cohort; 0: until stopped
	MigrateEvery int // generations; 0: never
	Migrants     int
	Selection    Selection
	Elites       int
	Operators    Operators
	Best         int // size of the hall of fame
	Control      Control
	// Sources make the children beside the elites; none: the operators make all. A control
	// has no use for them.
	Sources  []Source
	Proposer Proposer // of the sources that are not GP
	// Archive keeps the best of each cell over these features, and children are made from
	// it (MAP-Elites); none: from the cohort before.
	Archive []Feature
	// Moving says that what a genome scores changes from generation to generation, as
	// with opponents that evolve too: every cohort is then measured anew, elites as well,
	// and the hall of fame is that of the last generation.
	Moving bool
}

// Control is a way to look for genomes without evolving them, to be compared
// with a run of as many evaluations.
type Control string

// The controls.
const (
	Evolve  Control = ""          // none: the cohorts are bred
	Random  Control = "random"    // every genome is drawn as the first cohort's are
	BestOfN Control = "best-of-n" // every genome is one variation of a seed, nothing is inherited further
)

// Check returns all faults at once.
func (c Config) Check() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	need(c.Islands >= 1 && c.Islands <= 1000, "islands %d: use 1 to 1000", c.Islands)
	need(c.Population >= 2 && c.Population <= 100_000, "population %d: use 2 to 100000", c.Population)
	need(c.Elites >= 0 && c.Elites < c.Population, "elites %d: use 0 to less than the population of %d", c.Elites, c.Population)
	need(c.MigrateEvery >= 0, "migrate-every %d: use 0 (never) or more", c.MigrateEvery)
	need(c.MigrateEvery == 0 || (c.Migrants >= 1 && c.Migrants <= c.Population), "migrants %d: use 1 to the population of %d", c.Migrants, c.Population)
	need(c.Generations >= 0, "generations %d: use 0 (until another stop) or more", c.Generations)
	switch c.Selection.Kind {
	case "lexicase", "epsilon-lexicase":
	case "tournament", "novelty":
		need(c.Selection.Size >= 1, "selection size %d: use 1 or more", c.Selection.Size)
	default:
		need(false, "selection %q: use tournament, lexicase, epsilon-lexicase or novelty", c.Selection.Kind)
	}
	switch c.Control {
	case Evolve, Random, BestOfN:
	default:
		need(false, "control %q: use %q or %q", c.Control, Random, BestOfN)
	}
	total := 0.0
	for _, w := range c.weights() {
		need(w >= 0, "operator weight %v: use 0 or more", w)
		total += w
	}
	c.checkSources(need)
	c.checkArchive(need)
	if c.Grammar != nil && c.Grammar.Open {
		c.checkOpen(need)
	} else {
		need(total > 0, "all operator weights are 0: give at least one a weight")
	}
	return errors.Join(faults...)
}

func (c Config) weights() []float64 {
	o := c.Operators
	return []float64{o.Crossover, o.SizeFair, o.Subtree, o.Point, o.Constant, o.Hoist}
}

// derive makes the generator of one place and moment of a run.
func (c Config) derive(place string, island, generation int) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d/%d", c.Seed, place, island, generation))
	return rand.New(rand.NewSource(int64(binary.BigEndian.Uint64(sum[:8]) >> 1)))
}
