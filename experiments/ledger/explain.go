package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// Explanation is a decision with everything that it rests on.
type Explanation struct {
	Run      string      `json:"run"`
	Number   int         `json:"number"`
	Declared Declaration `json:"declared"`
	Decided  *Evidence   `json:"decided"` // null while undecided
}

// Explain reads a decision of a run back; number 0 is its last.
func (l *Ledger) Explain(run string, number int) (*Explanation, error) {
	if _, err := l.Load(run); err != nil {
		return nil, err
	}
	e := &Explanation{Run: run}
	var declared string
	var decided sql.NullString
	err := l.db.QueryRow("SELECT number, declared, decided FROM decision WHERE run = ?1 AND (?2 = 0 OR number = ?2) ORDER BY number DESC LIMIT 1", run, number).
		Scan(&e.Number, &declared, &decided)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("run %s has no such decision: `jird status` tells how far it is, `jird resume %s` goes on with it", run, run)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	err = json.Unmarshal([]byte(declared), &e.Declared)
	if decided.Valid {
		err = errors.Join(err, json.Unmarshal([]byte(decided.String), &e.Decided))
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: decision %d of run %s is damaged: %w", e.Number, run, err)
	}
	return e, nil
}
