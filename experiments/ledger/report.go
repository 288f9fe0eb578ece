package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"jird/orchestrator"
	"jird/orchestrator/propose"
	"jird/snapshots/sexpr"
)

// Policy is a side of the decision; scores are means, lower is better.
type Policy struct {
	Expr    string  `json:"expr"`
	Train   float64 `json:"train"`
	Holdout float64 `json:"holdout"`
}

// Origin is what a run or a tournament was made from.
type Origin struct {
	Name      string          `json:"name"`
	Variant   string          `json:"variant"`
	Spec      json.RawMessage `json:"spec"` // as it was recorded
	SpecHash  string          `json:"spec_hash"`
	Agent     string          `json:"agent"` // snapshot
	Evaluator string          `json:"evaluator"`
	Runtime   string          `json:"runtime"`
	Seed      uint64          `json:"seed"`
	Repeat    int             `json:"repeat"`
	Started   string          `json:"started"`
	Jird      string          `json:"jird"` // that began it; empty: not known
}

// Report is how a run went. Sides and lineage are null before the decision.
type Report struct {
	Info
	Origin      Origin         `json:"origin"`
	Isolation   string         `json:"isolation"`
	Incumbent   *Policy        `json:"incumbent"`
	Winner      *Policy        `json:"winner"`
	Lineage     *Lineage       `json:"lineage"`
	Generations []Generation   `json:"by_generation"`
	Operators   []Operator     `json:"operators"`
	Outcomes    map[string]int `json:"outcomes"`
	Steps       int64          `json:"steps"` // of all training measurements

	Proposers []propose.Usage `json:"proposers,omitempty"` // what they were asked for and used
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

// Numbers are what can be asserted of a run: generations, evaluations, seconds, shadows,
// steps and promoted; best, median and diversity of the last generation; and train,
// holdout and gain of incumbent and winner. What is not known yet is not there.
func (r *Report) Numbers() map[string]float64 {
	n := map[string]float64{}
	if r.Incumbent != nil { // and so the winner
		n = orchestrator.SideNumbers(orchestrator.Summary(*r.Incumbent), orchestrator.Summary(*r.Winner))
	}
	n["generations"], n["evaluations"], n["seconds"] = float64(r.Info.Generations), float64(r.Evaluations), r.Seconds
	n["shadows"], n["steps"] = float64(r.ShadowsPeak), float64(r.Steps)
	if r.Promoted != nil {
		n["promoted"] = map[bool]float64{true: 1}[*r.Promoted]
	}
	if k := len(r.Generations); k > 0 && r.Generations[k-1].Scored() {
		last := r.Generations[k-1]
		n["best"], n["median"], n["diversity"] = last.Best, last.Median, float64(last.Vectors)/float64(last.Members)
	}
	return n
}

// Report reads a run's course.
func (l *Ledger) Report(run string) (*Report, error) {
	r := &Report{Outcomes: map[string]int{}, Operators: []Operator{}}
	var err error
	if r.Info, err = l.Run(run); err != nil {
		return nil, err
	}
	if r.Origin, r.Isolation, err = l.Origin(run); err != nil {
		return nil, err
	}
	bred, err := l.pedigree(run)
	if err != nil {
		return nil, err
	}
	bred.tell(r)
	if err := l.sides(run, r, bred); err != nil {
		return nil, err
	}
	if r.Generations, err = l.course(run, bred); err != nil {
		return nil, err
	}
	if r.Proposers, err = l.spent(run, r.Info.Generations); err != nil {
		return nil, l.damage("what the proposers of run %s used: %w", run, err)
	}
	return r, nil
}

// Origin reads what a run was made from, and what confined its shadows.
func (l *Ledger) Origin(run string) (o Origin, isolation string, err error) {
	var seed int64
	var spec string
	err = l.db.QueryRow(`SELECT name, variant, spec, spec_hash, agent, evaluator, runtime, seed, repeat, started, jird, isolation
		FROM run JOIN place ON place.run = run.id WHERE id = ?`, run).
		Scan(&o.Name, &o.Variant, &spec, &o.SpecHash, &o.Agent, &o.Evaluator, &o.Runtime, &seed, &o.Repeat, &o.Started, &o.Jird, &isolation)
	o.Seed, o.Spec = uint64(seed), json.RawMessage(spec)
	return o, isolation, l.fault(err)
}

// sides reads the run's own decision, and traces the winner.
func (l *Ledger) sides(run string, r *Report, bred *pedigree) error {
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
	r.Incumbent = &Policy{Body(d.Incumbent), d.IncumbentTrain, last.Incumbent}
	r.Winner = &Policy{Body(d.Winner), d.WinnerTrain, last.Winner}
	r.Lineage, err = l.lineage(run, d.Winner, bred)
	return err
}

// Body is what a genome of one definition answers; of more, all of them.
func Body(source string) string {
	v, err := sexpr.Read([]byte(source))
	if define, ok := v.(sexpr.List); err == nil && ok && len(define) == 3 {
		if text, err := sexpr.Canonical(define[2]); err == nil {
			return string(text)
		}
	}
	return source
}
