package ledger

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"jird/orchestrator"
	"jird/orchestrator/promote"
	"jird/population"
	"jird/population/ga"
)

// member is a place in a cohort as it is stored: [hash, operator, parents...].
type member []string

func stored(members []ga.Member) []member {
	all := make([]member, len(members))
	for i, m := range members {
		all[i] = append(member{m.Genome.Hash(), m.Op}, m.Parents...)
	}
	return all
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ledger: " + err.Error()) // plain slices, strings and finite numbers
	}
	return string(b)
}

// Begin implements orchestrator.Recorder.
func (l *Ledger) Begin(r orchestrator.RunRecord) error {
	return l.write(func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO run VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", r.ID, r.Name, r.Variant, r.Spec, r.SpecHash,
			r.Agent, r.Evaluator, r.Runtime, int64(r.Seed), r.Generations, int64(r.Budget), r.Repeat); err != nil {
			return fmt.Errorf("run %s: %w", r.ID, err)
		}
		_, err := tx.Exec("INSERT INTO place (run, started, status, jird) VALUES (?,?,?,?)", r.ID, time.Now().UTC().Format(time.RFC3339), orchestrator.RunRunning, l.Jird)
		return err
	})
}

// Generation implements orchestrator.Recorder.
func (l *Ledger) Generation(g orchestrator.GenerationRecord) error {
	return l.write(func(tx *sql.Tx) error {
		var next int
		if err := tx.QueryRow("SELECT coalesce(max(sequence) + 1, 0) FROM genome WHERE run = ?", g.Run).Scan(&next); err != nil {
			return err
		}
		insert, err := tx.Prepare("INSERT INTO genome VALUES (?,?,?,?,?,?,?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for i, m := range g.Fresh {
			if _, err := insert.Exec(g.Run, next+i, m.Genome.Hash(), m.Genome.Source(), g.State.Generation, m.Op, text(m.Parents),
				string(m.Outcome.Status), m.Outcome.Detail, m.Outcome.Steps, text(population.Pairs(m.Outcome.Scores))); err != nil {
				return err
			}
		}
		islands := make([][]member, len(g.State.Islands))
		for i, cohort := range g.State.Islands {
			islands[i] = stored(cohort)
		}
		if _, err := tx.Exec("INSERT INTO generation VALUES (?,?,?,?,?,?)", g.Run, g.State.Generation, g.State.Evaluations,
			g.State.Stagnant, text(islands), text(stored(g.State.Best))); err != nil {
			return err
		}
		if err := steer(tx, g); err != nil {
			return err
		}
		spent := ""
		if g.Spent != nil {
			spent = text(g.Spent)
		}
		_, err = tx.Exec("INSERT INTO timing VALUES (?,?,?,?)", g.Run, g.State.Generation, int64(g.Elapsed), spent)
		return err
	})
}

// Measured implements orchestrator.Recorder. A repetition after an interruption
// replaces the same rows by equal ones.
func (l *Ledger) Measured(run string, all []orchestrator.Measurement) error {
	return l.write(func(tx *sql.Tx) error {
		for _, m := range all {
			o := m.Outcome
			if _, err := tx.Exec("INSERT OR REPLACE INTO measurement VALUES (?,?,?,?,?,?,?,?)", run, m.Purpose, m.Genome.Hash(), m.Genome.Source(),
				string(o.Status), o.Detail, o.Steps, text(population.Pairs(o.Scores))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Declaration is what was recorded of a decision before the data.
type Declaration struct {
	Incumbent      string            `json:"incumbent"` // source, as the winner's
	Winner         string            `json:"winner"`
	IncumbentImage string            `json:"incumbent_image"`
	WinnerImage    string            `json:"winner_image"`
	Evaluator      string            `json:"evaluator"`
	Metric         string            `json:"metric"`
	Alpha          float64           `json:"alpha"`
	Effect         float64           `json:"effect"`
	Power          float64           `json:"power"`
	MaxN           int               `json:"max_n"`
	Looks          []int             `json:"looks"`
	Seed           uint64            `json:"seed"`
	Guardrails     map[string]string `json:"guardrails"` // rule by name
	IncumbentTrain float64           `json:"incumbent_train"`
	WinnerTrain    float64           `json:"winner_train"`
}

// Measured is one policy on one case. Num and Den are 0 unless it was scored.
type Measured struct {
	Status population.Status `json:"status"`
	Detail string            `json:"detail,omitempty"`
	Num    float64           `json:"num"`
	Den    float64           `json:"den"`
	Steps  int64             `json:"steps"`
}

// Outcome is what was measured, as it was before it was stored.
func (m Measured) Outcome() population.Outcome {
	o := population.Outcome{Status: m.Status, Detail: m.Detail, Steps: m.Steps}
	if m.Status == population.OK {
		o.Scores = []population.Score{{Num: m.Num, Den: m.Den}}
	}
	return o
}

// Compared is one case under both policies.
type Compared struct {
	Case      string   `json:"case"`
	Incumbent Measured `json:"incumbent"`
	Winner    Measured `json:"winner"`
}

// Evidence is what was recorded of a decision when it was made: the cases in the
// order of measuring.
type Evidence struct {
	Cases    []Compared     `json:"cases"`
	Looks    []promote.Look `json:"looks"`
	Stop     promote.Stop   `json:"stop"`
	Promoted bool           `json:"promoted"`
	Reason   string         `json:"reason"`
	Snapshot string         `json:"snapshot"`
}

// Declare implements orchestrator.Recorder.
func (l *Ledger) Declare(d orchestrator.Decision) error {
	rules := map[string]string{}
	for _, g := range d.Guardrails {
		rules[g.Name] = g.Rule
	}
	p := d.Plan
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO decision VALUES (?,?,?,NULL)", d.Run, d.Number, text(Declaration{
			d.Incumbent, d.Winner, d.IncumbentImage, d.WinnerImage, d.Evaluator, promote.Metric,
			p.Alpha, p.Effect, p.Power, p.MaxN(), p.Looks, p.Seed, rules, d.IncumbentTrain, d.WinnerTrain}))
		return err
	})
}

// Decide implements orchestrator.Recorder.
func (l *Ledger) Decide(d orchestrator.Decision) error {
	e := Evidence{Looks: d.Looks, Stop: d.Stop, Promoted: d.Promoted, Reason: d.Reason, Snapshot: d.Snapshot}
	for _, o := range d.Observations {
		e.Cases = append(e.Cases, Compared{o.Case, measured(o.Incumbent), measured(o.Winner)})
	}
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE decision SET decided = ? WHERE run = ? AND number = ?", text(e), d.Run, d.Number)
		return err
	})
}

func measured(o population.Outcome) Measured {
	m := Measured{Status: o.Status, Detail: o.Detail, Steps: o.Steps}
	if o.Status == population.OK {
		m.Num, m.Den = o.Scores[0].Num, o.Scores[0].Den
	}
	return m
}

// Finish implements orchestrator.Recorder.
func (l *Ledger) Finish(run, status, stop string, peak int, isolation string, elapsed time.Duration) error {
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE place SET status=?, stop=?, shadows_peak=max(shadows_peak, ?), isolation=?, elapsed=? WHERE run=?",
			status, stop, peak, isolation, int64(elapsed), run)
		return err
	})
}
