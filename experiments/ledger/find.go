package ledger

import (
	"database/sql"
	"errors"
	"fmt"
)

// Found is a genome of some run.
type Found struct {
	Run, Hash, Source string
}

// FindGenome returns the genome whose hash begins with prefix, of the newest run
// that has it. It is an error if there is none, or if the prefix fits several.
func (l *Ledger) FindGenome(prefix string) (*Found, error) {
	rows, err := l.db.Query(`SELECT genome.run, hash, source FROM genome JOIN place ON place.run = genome.run
		WHERE substr(hash, 1, length(?)) = ? ORDER BY place.started DESC, genome.run`, prefix, prefix)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	var found *Found
	for rows.Next() {
		var f Found
		if err := rows.Scan(&f.Run, &f.Hash, &f.Source); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		if found == nil {
			found = &f
		} else if found.Hash != f.Hash {
			return nil, fmt.Errorf("several genomes begin with %s; give more digits", prefix)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if found == nil {
		return nil, fmt.Errorf("no genome of the ledger begins with %s", prefix)
	}
	return found, nil
}

// NewestRun returns the run of an experiment that was begun last, or "".
func (l *Ledger) NewestRun(name string) (run string, err error) {
	err = l.db.QueryRow("SELECT id FROM run JOIN place ON place.run = run.id WHERE name = ? ORDER BY started DESC, id LIMIT 1", name).Scan(&run)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return run, l.fault(err)
}
