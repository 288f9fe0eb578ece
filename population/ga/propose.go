package ga

import (
	"context"

	"jird/population"
)

// Ask is one child that is wanted of a proposer.
type Ask struct {
	Proposer     string   // its name
	Seed         uint64   // of this ask alone, derived from the run's seed and the child's place
	Parent       Member   // what it is to improve
	Inspirations []Member // others that did well, best first
}

// Round is all that is asked in one generation.
type Round struct {
	Generation int
	Asks       []Ask
	Tried      func(hash string) bool // whether the run has measured a genome, or is about to
	Near       []*population.Genome   // what the cohorts and the archive hold now
}

// Proposer makes children by other means than the operators.
type Proposer interface {
	// Propose returns a genome for each ask by index, nil where none came that is worth a
	// measurement. All genomes of a round are new: distinct by hash, none of them tried. An
	// error means that the run cannot go on, not that a proposal is bad. It is called by
	// one goroutine at a time.
	Propose(ctx context.Context, r Round) ([]*population.Genome, error)
}
