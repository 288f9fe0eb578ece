package ledger

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"jird/orchestrator"
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

// scores are stored as [[num, den], ...]: JSON's shortest digits round-trip.
func pairs(scores []population.Score) [][2]float64 {
	all := make([][2]float64, len(scores))
	for i, s := range scores {
		all[i] = [2]float64{s.Num, s.Den}
	}
	return all
}

func unpairs(all [][2]float64) []population.Score {
	var scores []population.Score
	for _, p := range all {
		scores = append(scores, population.Score{Num: p[0], Den: p[1]})
	}
	return scores
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
		_, err := tx.Exec("INSERT INTO place (run, started, status) VALUES (?,?,?)", r.ID, time.Now().UTC().Format(time.RFC3339), orchestrator.RunRunning)
		return err
	})
}

// Generation implements orchestrator.Recorder.
func (l *Ledger) Generation(g orchestrator.GenerationRecord) error {
	return l.write(func(tx *sql.Tx) error {
		var next int
		if err := tx.QueryRow("SELECT count(*) FROM genome WHERE run = ?", g.Run).Scan(&next); err != nil {
			return err
		}
		insert, err := tx.Prepare("INSERT INTO genome VALUES (?,?,?,?,?,?,?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for i, m := range g.Fresh {
			if _, err := insert.Exec(g.Run, next+i, m.Genome.Hash(), m.Genome.Source(), g.State.Generation, m.Op, text(m.Parents),
				string(m.Outcome.Status), m.Outcome.Detail, m.Outcome.Steps, text(pairs(m.Outcome.Scores))); err != nil {
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
		_, err = tx.Exec("INSERT INTO timing VALUES (?,?,?)", g.Run, g.State.Generation, int64(g.Elapsed))
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
				string(o.Status), o.Detail, o.Steps, text(pairs(o.Scores))); err != nil {
				return err
			}
		}
		return nil
	})
}

// declaration and verdict are what is stored of a decision, before the data and
// after.
type declaration struct {
	Incumbent, Winner, Metric   string
	Alpha                       float64
	MaxN                        int
	Seed                        uint64
	IncumbentTrain, WinnerTrain float64
}

type verdict struct {
	Cases                   []string
	Incumbent, Winner       [][2]float64
	IncumbentMean           float64
	WinnerMean              float64
	IncumbentEnd, WinnerEnd population.Status
	P                       float64
	Promoted                bool
	Reason, Snapshot        string
}

// Declare implements orchestrator.Recorder.
func (l *Ledger) Declare(d orchestrator.Decision) error {
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO decision VALUES (?,?,?,NULL)", d.Run, d.Number, text(declaration{
			d.Incumbent.Source(), d.Winner.Source(), d.Metric, d.Alpha, d.MaxN, d.Seed, d.IncumbentTrain, d.WinnerTrain}))
		return err
	})
}

// Decide implements orchestrator.Recorder.
func (l *Ledger) Decide(d orchestrator.Decision) error {
	names := make([]string, len(d.Cases))
	for i, c := range d.Cases {
		names[i] = c.Name
	}
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE decision SET decided = ? WHERE run = ? AND number = ?", text(verdict{
			names, pairs(d.IncumbentHoldout.Scores), pairs(d.WinnerHoldout.Scores), d.IncumbentHoldout.Fitness(), d.WinnerHoldout.Fitness(),
			d.IncumbentHoldout.Status, d.WinnerHoldout.Status, d.P, d.Promoted, d.Reason, d.Snapshot}), d.Run, d.Number)
		return err
	})
}

// Finish implements orchestrator.Recorder.
func (l *Ledger) Finish(run, status, stop string, peak int, isolation string, elapsed time.Duration) error {
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE place SET status=?, stop=?, shadows_peak=max(shadows_peak, ?), isolation=?, elapsed=? WHERE run=?",
			status, stop, peak, isolation, int64(elapsed), run)
		return err
	})
}
