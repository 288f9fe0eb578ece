package ledger

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"jird/orchestrator"
	"jird/population"
	"jird/population/ga"
)

// evolved is a member of a cohort as it is stored: whole, since what it scored is of its
// generation alone.
type evolved struct {
	Source  string            `json:"source"`
	Op      string            `json:"operator"`
	Parents []string          `json:"parents"`
	Status  population.Status `json:"status"`
	Detail  string            `json:"detail"`
	Steps   int64             `json:"steps"`
	Scores  [][2]float64      `json:"scores"`
}

func evolvedMembers(members []ga.Member) []evolved {
	all := make([]evolved, len(members))
	for i, m := range members {
		o := m.Outcome
		all[i] = evolved{m.Genome.Source(), m.Op, m.Parents, o.Status, o.Detail, o.Steps, population.Pairs(o.Scores)}
	}
	return all
}

// Evolved implements orchestrator.Rounds.
func (l *Ledger) Evolved(tournament string, states [2]*ga.State) error {
	return l.write(func(tx *sql.Tx) error {
		for side, s := range states {
			islands := make([][]evolved, len(s.Islands))
			for i, cohort := range s.Islands {
				islands[i] = evolvedMembers(cohort)
			}
			if _, err := tx.Exec("INSERT INTO coevolution VALUES (?,?,?,?,?,?,?)", tournament, s.Generation, side, s.Evaluations, s.Stagnant,
				text(islands), text(evolvedMembers(s.Best))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Generations implements orchestrator.Rounds.
func (l *Ledger) Generations(tournament string, grammars []*population.Grammar) (all orchestrator.Generations, err error) {
	rows, err := l.db.Query("SELECT generation, side, evaluations, stagnant, islands, best FROM coevolution WHERE tournament = ? ORDER BY generation, side", tournament)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		s := &ga.State{}
		var side int
		var islands, best string
		if err := rows.Scan(&s.Generation, &side, &s.Evaluations, &s.Stagnant, &islands, &best); err != nil {
			return nil, l.fault(err)
		}
		var cohorts [][]evolved
		var hall []evolved
		if err := json.Unmarshal([]byte(islands), &cohorts); err != nil {
			return nil, l.damage("generation %d of tournament %s: %w", s.Generation, tournament, err)
		}
		if err := json.Unmarshal([]byte(best), &hall); err != nil {
			return nil, l.damage("generation %d of tournament %s: %w", s.Generation, tournament, err)
		}
		for _, cohort := range append(cohorts, hall) {
			members, err := restored(grammars[side], cohort)
			if err != nil {
				return nil, l.damage("generation %d of tournament %s: %w", s.Generation, tournament, err)
			}
			s.Islands = append(s.Islands, members)
		}
		s.Best, s.Islands = s.Islands[len(cohorts)], s.Islands[:len(cohorts)]
		if side == 0 {
			all = append(all, [2]*ga.State{})
		}
		if len(all) != s.Generation+1 {
			return nil, l.damage("tournament %s lacks a generation before %d", tournament, s.Generation)
		}
		all[s.Generation][side] = s
	}
	return all, l.fault(rows.Err())
}

// Champion is the best of a side's generation.
type Champion struct {
	Generation int
	Source     string
}

// Champions are a side's distinct champions, each at the generation that it was the best
// of first.
func (l *Ledger) Champions(tournament string, side int) (all []Champion, err error) {
	rows, err := l.db.Query(`SELECT min(generation), best ->> '$[0].source' AS source FROM coevolution
		WHERE tournament = ? AND side = ? AND source IS NOT NULL GROUP BY source ORDER BY 1`, tournament, side)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c Champion
		if err := rows.Scan(&c.Generation, &c.Source); err != nil {
			return nil, l.fault(err)
		}
		all = append(all, c)
	}
	return all, l.fault(rows.Err())
}

// Reign is the best of a side's generation and how it did then: a mean against the
// opponents of that generation, which is no measure across generations.
type Reign struct {
	Generation  int      `json:"generation"`
	Side        int      `json:"side"`
	Evaluations int      `json:"evaluations"` // so far
	Source      string   `json:"source"`
	Score       *float64 `json:"score"` // lower is better; null if it failed
}

// Reigns are the best of both sides' generations, in order.
func (l *Ledger) Reigns(tournament string) (all []Reign, err error) {
	rows, err := l.db.Query(`SELECT generation, side, evaluations, best -> '$[0]' AS first FROM coevolution
		WHERE tournament = ? AND first IS NOT NULL ORDER BY generation, side`, tournament)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Reign
		var text string
		if err := rows.Scan(&r.Generation, &r.Side, &r.Evaluations, &text); err != nil {
			return nil, l.fault(err)
		}
		var first evolved
		if err := json.Unmarshal([]byte(text), &first); err != nil {
			return nil, l.damage("generation %d of tournament %s: %w", r.Generation, tournament, err)
		}
		r.Source = first.Source
		if o := (population.Outcome{Status: first.Status, Scores: population.FromPairs(first.Scores)}); o.Fitness() < population.WorstFitness {
			score := o.Fitness()
			r.Score = &score
		}
		all = append(all, r)
	}
	return all, l.fault(rows.Err())
}

func restored(grammar *population.Grammar, members []evolved) ([]ga.Member, error) {
	var all []ga.Member
	for _, m := range members {
		g, err := grammar.Parse([]byte(m.Source))
		if err != nil {
			return nil, err
		}
		o := population.Outcome{Status: m.Status, Detail: m.Detail, Steps: m.Steps, Scores: population.FromPairs(m.Scores)}
		all = append(all, ga.Member{Genome: g, Outcome: o, Op: m.Op, Parents: m.Parents})
	}
	return all, nil
}

// Enter implements orchestrator.Rounds.
func (l *Ledger) Enter(tournament string, entrants []orchestrator.Entrant) error {
	return l.write(func(tx *sql.Tx) error {
		var next int
		if err := tx.QueryRow("SELECT count(*) FROM entrant WHERE tournament = ?", tournament).Scan(&next); err != nil {
			return err
		}
		return enter(tx, tournament, next, entrants)
	})
}

func enter(tx *sql.Tx, tournament string, first int, entrants []orchestrator.Entrant) error {
	for i, e := range entrants {
		if _, err := tx.Exec("INSERT INTO entrant VALUES (?,?,?,?,?,?,?)", tournament, first+i, e.Name, e.Side, e.HeldOut, e.Code.Hash(), e.Code.Source()); err != nil {
			return err
		}
	}
	return nil
}

// Entrants returns all entrants of a tournament; read is how the source of a side's is
// read.
func (l *Ledger) Entrants(tournament string, read func(side int, source []byte) (orchestrator.Code, error)) (all []orchestrator.Entrant, err error) {
	rows, err := l.db.Query("SELECT name, side, held_out, source FROM entrant WHERE tournament = ? ORDER BY number", tournament)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e orchestrator.Entrant
		var source string
		if err := rows.Scan(&e.Name, &e.Side, &e.HeldOut, &source); err != nil {
			return nil, l.fault(err)
		}
		if e.Code, err = read(e.Side, []byte(source)); err != nil {
			return nil, l.damage("entrant %s of tournament %s: %w", e.Name, tournament, err)
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("tournament %s has no entrants", tournament)
	}
	return all, l.fault(rows.Err())
}
