package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"jird/population"
)

// Generation is one row of a report. Scores are means; lower is better.
type Generation struct {
	Number      int     `json:"generation"`
	Evaluations int     `json:"evaluations"`
	Best        float64 `json:"best"`
	Median      float64 `json:"median"`
	Failed      int     `json:"failed"` // members without a score
}

// Operator is how often an operator's children were measured, and how often one
// was the best so far.
type Operator struct {
	Name string `json:"operator"`
	Made int    `json:"made"`
	Paid int    `json:"paid"`
}

// Report is how a run went.
type Report struct {
	Info
	Generations []Generation   `json:"by_generation"`
	Operators   []Operator     `json:"operators"`
	Outcomes    map[string]int `json:"outcomes"`
}

// Verdict is the run's end in a line.
func (r *Report) Verdict() string {
	switch {
	case r.Promoted == nil:
		return fmt.Sprintf("%s: %s, not decided", r.Run, r.Status)
	case *r.Promoted:
		return fmt.Sprintf("%s: promoted: %s", r.Run, r.Reason)
	}
	return fmt.Sprintf("%s: kept the incumbent: %s", r.Run, r.Reason)
}

// Report reads a run's course.
func (l *Ledger) Report(run string) (*Report, error) {
	if _, err := l.Load(run); err != nil {
		return nil, err
	}
	runs, err := l.Runs()
	if err != nil {
		return nil, err
	}
	r := &Report{Outcomes: map[string]int{}}
	r.Info = runs[slices.IndexFunc(runs, func(i Info) bool { return i.Run == run })]
	fitness, err := l.operators(run, r)
	if err != nil {
		return nil, err
	}
	rows, err := l.db.Query("SELECT number, evaluations, islands FROM generation WHERE run = ? ORDER BY number", run)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var g Generation
		var islands string
		if err := rows.Scan(&g.Number, &g.Evaluations, &islands); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		var cohorts [][]member
		if err := json.Unmarshal([]byte(islands), &cohorts); err != nil {
			return nil, fmt.Errorf("ledger: run %s, generation %d: %w", run, g.Number, err)
		}
		summarise(&g, cohorts, fitness)
		r.Generations = append(r.Generations, g)
	}
	return r, rows.Err()
}

func summarise(g *Generation, cohorts [][]member, fitness map[string]float64) {
	var scored []float64
	for _, m := range slices.Concat(cohorts...) {
		if f := fitness[m[0]]; f < population.WorstFitness {
			scored = append(scored, f)
		} else {
			g.Failed++
		}
	}
	slices.Sort(scored)
	if len(scored) > 0 {
		g.Best, g.Median = scored[0], scored[len(scored)/2]
	}
}

// operators counts outcomes and operators, and returns every genome's fitness.
func (l *Ledger) operators(run string, r *Report) (map[string]float64, error) {
	rows, err := l.db.Query("SELECT hash, operator, status, scores FROM genome WHERE run = ? ORDER BY sequence", run)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	fitness, best := map[string]float64{}, population.WorstFitness
	for rows.Next() {
		var hash, operator, scores string
		var o population.Outcome
		if err := rows.Scan(&hash, &operator, &o.Status, &scores); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		var all [][2]float64
		if err := json.Unmarshal([]byte(scores), &all); err != nil {
			return nil, errors.Join(sql.ErrNoRows, err)
		}
		o.Scores = unpairs(all)
		fitness[hash] = o.Fitness()
		r.Outcomes[string(o.Status)]++
		at := slices.IndexFunc(r.Operators, func(p Operator) bool { return p.Name == operator })
		if at < 0 {
			r.Operators = append(r.Operators, Operator{Name: operator})
			at = len(r.Operators) - 1
		}
		r.Operators[at].Made++
		if fitness[hash] < best {
			best = fitness[hash]
			r.Operators[at].Paid++
		}
	}
	return fitness, rows.Err()
}
