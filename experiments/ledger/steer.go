package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"

	"jird/orchestrator"
	"jird/orchestrator/propose"
	"jird/population"
	"jird/population/ga"
)

// steer writes what a generation has beside its cohorts: what the referee reported of new
// genomes, the archive, and what came of each source. Runs without them have no such rows.
func steer(tx *sql.Tx, g orchestrator.GenerationRecord) error {
	for _, m := range g.Fresh {
		if len(m.Outcome.Features) == 0 {
			continue
		}
		if _, err := tx.Exec("INSERT INTO feature VALUES (?,?,?)", g.Run, m.Genome.Hash(), text(m.Outcome.Features)); err != nil {
			return err
		}
	}
	if g.State.Archive == nil && g.State.Credit == nil {
		return nil
	}
	_, err := tx.Exec("INSERT INTO steering VALUES (?,?,?,?)", g.Run, g.State.Generation, text(stored(g.State.Archive)), text(g.State.Credit))
	return err
}

// steering reads back what steer wrote beside a generation.
func (l *Ledger) steering(run string, number int) (archive []member, credit map[string]ga.Credit, err error) {
	var cells, credits string
	err = l.db.QueryRow("SELECT archive, credit FROM steering WHERE run = ? AND number = ?", run, number).Scan(&cells, &credits)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, l.fault(err)
	}
	if err := errors.Join(json.Unmarshal([]byte(cells), &archive), json.Unmarshal([]byte(credits), &credit)); err != nil {
		return nil, nil, l.damage("run %s, what steers generation %d: %w", run, number, err)
	}
	return archive, credit, nil
}

// addFeatures completes outcomes, by genome, with what the referee reported.
func (l *Ledger) addFeatures(run string, outcomes map[string]population.Outcome) error {
	rows, err := l.db.Query("SELECT hash, features FROM feature WHERE run = ?", run)
	if err != nil {
		return l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var hash, features string
		if err := rows.Scan(&hash, &features); err != nil {
			return l.fault(err)
		}
		o := outcomes[hash]
		if err := json.Unmarshal([]byte(features), &o.Features); err != nil {
			return l.damage("features of genome %s of run %s: %w", hash, run, err)
		}
		outcomes[hash] = o
	}
	return l.fault(rows.Err())
}

const exchangeColumns = "hash, proposer, request, answer, failure, attempts, tokens_in, tokens_out, micros"

// Exchange implements orchestrator.Recorder. What any run was answered serves all, and
// becomes part of this one's record; what failed is told to the run alone in which it did,
// so that a resumed one goes on as if it had not been interrupted.
func (l *Ledger) Exchange(run, hash string) (*propose.Exchange, error) {
	var x propose.Exchange
	var of string
	err := l.db.QueryRow("SELECT run, "+exchangeColumns+" FROM exchange WHERE hash = ?2 AND (run = ?1 OR failure = '') ORDER BY run <> ?1, run LIMIT 1", run, hash).
		Scan(&of, &x.Hash, &x.Proposer, &x.Request, &x.Answer, &x.Failure, &x.Attempts, &x.TokensIn, &x.TokensOut, &x.Micros)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, l.fault(err)
	}
	if of != run {
		return &x, l.Exchanged(run, x)
	}
	return &x, nil
}

// Exchanged implements orchestrator.Recorder.
func (l *Ledger) Exchanged(run string, x propose.Exchange) error {
	answer := x.Answer
	if answer == nil {
		answer = []byte{}
	}
	return l.write(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO exchange VALUES (?,?,?,?,?,?,?,?,?,?)", run, x.Hash, x.Proposer, string(x.Request), answer, x.Failure,
			x.Attempts, x.TokensIn, x.TokensOut, x.Micros)
		return err
	})
}

// spent reads what proposers had used when a generation was written.
func (l *Ledger) spent(run string, number int) (all []propose.Usage, err error) {
	var used string
	err = l.db.QueryRow("SELECT spent FROM timing WHERE run = ? AND generation = ?", run, number).Scan(&used)
	if errors.Is(err, sql.ErrNoRows) || used == "" {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(used), &all)
	}
	return all, err
}
