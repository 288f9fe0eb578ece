package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"jird/orchestrator"
	"jird/population"
	"jird/snapshots/sexpr"
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

// Policy is a side of the decision; scores are means, lower is better.
type Policy struct {
	Expr    string  `json:"expr"`
	Train   float64 `json:"train"`
	Holdout float64 `json:"holdout"`
}

// Lineage is where the winner came from, before it was simplified.
type Lineage struct {
	Generation int `json:"generation"` // in which it was first measured
	Ancestors  int `json:"ancestors"`  // distinct ones, without itself
}

// Report is how a run went. Sides and lineage are null before the decision.
type Report struct {
	Info
	Incumbent   *Policy        `json:"incumbent"`
	Winner      *Policy        `json:"winner"`
	Lineage     *Lineage       `json:"lineage"`
	Generations []Generation   `json:"by_generation"`
	Operators   []Operator     `json:"operators"`
	Outcomes    map[string]int `json:"outcomes"`
}

// Verdict is the run's end in a line.
func (r *Report) Verdict() string {
	switch {
	case r.Promoted == nil && r.Status == orchestrator.RunInterrupted:
		return fmt.Sprintf("%s: interrupted; go on with: jird resume %s", r.Run, r.Run)
	case r.Promoted == nil:
		return fmt.Sprintf("%s: %s, not decided", r.Run, r.Status)
	case *r.Promoted:
		return fmt.Sprintf("%s: promoted: %s", r.Run, r.Reason)
	}
	return fmt.Sprintf("%s: kept the incumbent: %s", r.Run, r.Reason)
}

// Report reads a run's course.
func (l *Ledger) Report(run string) (*Report, error) {
	if err := l.want(run); err != nil {
		return nil, err
	}
	runs, err := l.Runs()
	if err != nil {
		return nil, err
	}
	r := &Report{Outcomes: map[string]int{}, Operators: []Operator{}, Generations: []Generation{}}
	r.Info = runs[slices.IndexFunc(runs, func(i Info) bool { return i.Run == run })]
	fitness, err := l.operators(run, r)
	if err != nil {
		return nil, err
	}
	if err := l.sides(run, r); err != nil {
		return nil, err
	}
	rows, err := l.db.Query("SELECT number, evaluations, islands FROM generation WHERE run = ? ORDER BY number", run)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var g Generation
		var islands string
		if err := rows.Scan(&g.Number, &g.Evaluations, &islands); err != nil {
			return nil, l.fault(err)
		}
		var cohorts [][]member
		if err := json.Unmarshal([]byte(islands), &cohorts); err != nil {
			return nil, l.damage("run %s, generation %d: %w", run, g.Number, err)
		}
		summarise(&g, cohorts, fitness)
		r.Generations = append(r.Generations, g)
	}
	return r, l.fault(rows.Err())
}

// sides reads the run's own decision, and traces the winner.
func (l *Ledger) sides(run string, r *Report) error {
	var declared string
	var decided sql.NullString
	err := l.db.QueryRow("SELECT declared, decided FROM decision WHERE run = ? AND number = 1", run).Scan(&declared, &decided)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && !decided.Valid) {
		return nil
	}
	if err != nil {
		return l.fault(err)
	}
	var d Declaration
	var v Evidence
	if err := errors.Join(json.Unmarshal([]byte(declared), &d), json.Unmarshal([]byte(decided.String), &v)); err != nil {
		return l.damage("decision of run %s: %w", run, err)
	}
	if len(v.Looks) == 0 {
		return l.damage("decision of run %s holds no look", run)
	}
	last := v.Looks[len(v.Looks)-1]
	r.Incumbent = &Policy{body(d.Incumbent), d.IncumbentTrain, last.Incumbent}
	r.Winner = &Policy{body(d.Winner), d.WinnerTrain, last.Winner}
	r.Lineage, err = l.lineage(run, d.Winner)
	return err
}

// body is what a genome of one definition answers; of more, all of them.
func body(source string) string {
	v, err := sexpr.Read([]byte(source))
	if define, ok := v.(sexpr.List); err == nil && ok && len(define) == 3 {
		if text, err := sexpr.Canonical(define[2]); err == nil {
			return string(text)
		}
	}
	return source
}

// lineage follows the parents of the genome that became the winner: the best of
// those chosen by validation, unless the winner was not simplified.
func (l *Ledger) lineage(run, winner string) (*Lineage, error) {
	born, parents, err := l.ancestry(run)
	if err != nil {
		return nil, err
	}
	var from string
	err = l.db.QueryRow(`SELECT hash FROM genome WHERE run = ? AND source = ?`, run, winner).Scan(&from)
	if errors.Is(err, sql.ErrNoRows) {
		if from, err = l.nominee(run); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, l.fault(err)
	}
	seen := map[string]bool{from: true}
	for todo := []string{from}; len(todo) > 0; {
		var next []string
		for _, hash := range todo {
			for _, parent := range parents[hash] {
				if !seen[parent] {
					seen[parent] = true
					next = append(next, parent)
				}
			}
		}
		todo = next
	}
	return &Lineage{born[from], len(seen) - 1}, nil
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

// ancestry returns, by hash, each genome's generation and its parents.
func (l *Ledger) ancestry(run string) (born map[string]int, parents map[string][]string, err error) {
	rows, err := l.db.Query("SELECT hash, generation, parents FROM genome WHERE run = ?", run)
	if err != nil {
		return nil, nil, l.fault(err)
	}
	defer rows.Close()
	born, parents = map[string]int{}, map[string][]string{}
	for rows.Next() {
		var hash, text string
		var generation int
		if err := rows.Scan(&hash, &generation, &text); err != nil {
			return nil, nil, l.fault(err)
		}
		var from []string
		if err := json.Unmarshal([]byte(text), &from); err != nil {
			return nil, nil, l.damage("parents of genome %s of run %s: %w", hash, run, err)
		}
		born[hash], parents[hash] = generation, from
	}
	return born, parents, l.fault(rows.Err())
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
		return nil, l.fault(err)
	}
	defer rows.Close()
	fitness, best := map[string]float64{}, population.WorstFitness
	for rows.Next() {
		var hash, operator, scores string
		var o population.Outcome
		if err := rows.Scan(&hash, &operator, &o.Status, &scores); err != nil {
			return nil, l.fault(err)
		}
		var all [][2]float64
		if err := json.Unmarshal([]byte(scores), &all); err != nil {
			return nil, l.damage("genome %s of run %s: %w", hash, run, err)
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
	return fitness, l.fault(rows.Err())
}
