package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// Explanation is a decision with everything that it rests on.
type Explanation struct {
	Run      string      `json:"run"` // or an agent
	Number   int         `json:"number"`
	Declared Declaration `json:"declared"`
	Decided  *Evidence   `json:"decided"` // null while undecided
}

// Explain reads a decision of a run, or of an agent's open code, back; number 0 is
// the last.
func (l *Ledger) Explain(run string, number int) (*Explanation, error) {
	e := &Explanation{Run: run}
	var declared string
	var decided sql.NullString
	err := l.db.QueryRow("SELECT number, declared, decided FROM decision WHERE run = ?1 AND (?2 = 0 OR number = ?2) ORDER BY number DESC LIMIT 1", run, number).
		Scan(&e.Number, &declared, &decided)
	if errors.Is(err, sql.ErrNoRows) {
		if _, tournament := l.LoadTournament(run); tournament == nil {
			return nil, fmt.Errorf("tournament %s has no such decision", run)
		}
		if err := l.want(run); err != nil {
			return nil, err
		}
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

// Decision reads the first decision of a run or a tournament, or gives nil if none was
// declared.
func (l *Ledger) Decision(run string) (*Explanation, error) {
	var n int
	if err := l.db.QueryRow("SELECT count(*) FROM decision WHERE run = ? AND number = 1", run).Scan(&n); err != nil || n == 0 {
		return nil, l.fault(err)
	}
	return l.Explain(run, 1)
}

// Numbered gives the number under which two images are to be compared for a run or an
// agent: the one after all others, or if they have been before that one, with what was
// found, which is nil if that comparison did not end.
func (l *Ledger) Numbered(run, incumbent, winner string) (number int, decided *Evidence, err error) {
	var found sql.NullString
	err = l.db.QueryRow(`SELECT number, decided FROM decision WHERE run = ? AND declared ->> 'incumbent_image' = ? AND declared ->> 'winner_image' = ?
		ORDER BY number LIMIT 1`, run, incumbent, winner).Scan(&number, &found)
	if errors.Is(err, sql.ErrNoRows) {
		err = l.db.QueryRow("SELECT coalesce(max(number), 0) + 1 FROM decision WHERE run = ?", run).Scan(&number)
	}
	if err == nil && found.Valid {
		err = json.Unmarshal([]byte(found.String), &decided)
	}
	if err != nil {
		return 0, nil, l.fault(err)
	}
	return number, decided, nil
}
