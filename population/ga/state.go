package ga

import "jird/population"

// Member is one individual of a cohort, with where it came from and how it did.
type Member struct {
	Genome  *population.Genome
	Outcome population.Outcome
	Op      string   // what made it: "seed", "random", an operator ("crossover", "subtree", ...), "elite", "kept", or a proposer by its name
	Parents []string // hashes of the parents' genomes, in the operator's order
}

// State is everything that the next generation depends on, apart from the
// configuration: whoever stores it can resume the run exactly. Generation 0 is
// the initial cohort.
type State struct {
	Generation  int        // number of the last whole generation
	Islands     [][]Member // every island's cohort, in cohort order
	Best        []Member   // hall of fame, best first, distinct by genome hash
	Evaluations int        // distinct genomes measured so far
	Stagnant    int        // whole generations since Best[0] last improved

	Archive []Member          // the best of each cell, in the order of the cells; nil without one
	Credit  map[string]Credit // of each source, by name; nil without sources, and before they were asked
}
