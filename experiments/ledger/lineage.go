package ledger

import (
	"database/sql"
	"errors"
	"slices"

	"jird/population"
)

// Lineage is where the winner came from.
type Lineage struct {
	Generation int    `json:"generation"` // in which it was first measured, before it was simplified
	Ancestors  int    `json:"ancestors"`  // distinct ones, without itself
	Path       []Step `json:"path"`       // from the winner through the mothers to the first of them
}

// Step is one of the winner's line.
type Step struct {
	Ancestor
	Father  *Ancestor `json:"father"`  // null unless it had two parents
	Skipped int       `json:"skipped"` // steps left out between this one and the next
}

// Ancestor is a genome that others came from.
type Ancestor struct {
	Hash       string   `json:"genome"`
	Source     string   `json:"source"`
	Operator   string   `json:"operator"`
	Generation int      `json:"generation"`
	Score      *float64 `json:"score"` // null if it failed
}

// Simplified is the operator of a winner that is a shorter form of the genome that the
// validation cases chose.
const Simplified = "simplified"

// pathEnds is how many steps of a long line are kept at each end: what they change can
// be read one by one, of hundreds nobody reads them.
const pathEnds = 12

// lineage follows the parents of the genome that became the winner: the best of those
// chosen by validation, unless the winner was not simplified.
func (l *Ledger) lineage(run, winner string, bred *pedigree) (*Lineage, error) {
	var from string
	err := l.db.QueryRow(`SELECT hash FROM genome WHERE run = ? AND source = ?`, run, winner).Scan(&from)
	simplified := errors.Is(err, sql.ErrNoRows)
	if simplified {
		from, err = l.nominee(run)
	}
	if err != nil {
		return nil, l.fault(err)
	}
	at, ok := bred.at[from]
	if !ok {
		return nil, l.damage("the winner of run %s came from genome %s, which is not there", run, from)
	}
	line := &Lineage{Generation: bred.all[at].generation, Ancestors: bred.ancestors(at)}
	if simplified {
		line.Path = []Step{{Ancestor: Ancestor{Source: winner, Operator: Simplified, Generation: line.Generation}}}
	}
	err = l.follow(run, at, bred, line)
	return line, err
}

// nominee is the genome that the validation cases chose.
func (l *Ledger) nominee(run string) (string, error) {
	all, err := l.measured(run, "SELECT hash, source, status, detail, steps, scores FROM measurement WHERE run = ? AND purpose = 'validate'")
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", l.damage("run %s was decided without a validation", run)
	}
	return slices.MinFunc(all, population.Compare).Genome.Hash(), nil
}

func (p *pedigree) ancestors(of int) int {
	seen := map[int]bool{of: true}
	for todo := []int{of}; len(todo) > 0; {
		var next []int
		for _, at := range todo {
			for _, parent := range p.all[at].parents {
				if !seen[parent] {
					seen[parent] = true
					next = append(next, parent)
				}
			}
		}
		todo = next
	}
	return len(seen) - 1
}

// follow reads the line of mothers, and each father. Parents were measured before their
// children, so it ends.
func (l *Ledger) follow(run string, from int, bred *pedigree, line *Lineage) error {
	mothers := []int{from}
	for at := from; len(bred.all[at].parents) > 0; {
		at = bred.all[at].parents[0]
		mothers = append(mothers, at)
	}
	skipped := max(0, len(mothers)-2*pathEnds)
	for i, at := range mothers {
		if skipped > 0 && i >= pathEnds && i < pathEnds+skipped {
			continue
		}
		s := Step{}
		var err error
		if s.Ancestor, err = l.ancestor(run, at, bred); err != nil {
			return err
		}
		if parents := bred.all[at].parents; len(parents) > 1 {
			father, err := l.ancestor(run, parents[1], bred)
			if err != nil {
				return err
			}
			s.Father = &father
		}
		if skipped > 0 && i == pathEnds-1 {
			s.Skipped = skipped
		}
		line.Path = append(line.Path, s)
	}
	return nil
}

func (l *Ledger) ancestor(run string, at int, bred *pedigree) (a Ancestor, err error) {
	b := bred.all[at]
	a = Ancestor{Hash: b.hash, Operator: bred.operators[b.operator].Name, Generation: b.generation}
	if b.fitness < population.WorstFitness {
		a.Score = &b.fitness
	}
	err = l.db.QueryRow("SELECT source FROM genome WHERE run = ? AND hash = ?", run, b.hash).Scan(&a.Source)
	return a, l.fault(err)
}
