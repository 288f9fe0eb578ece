// Package ledger keeps the history of runs in SQLite: every genome once with its
// parents and operator, every score, every decision with its evidence.
//
// Each whole generation is one transaction keyed by run and number: it is there
// or it is not, and a run resumes from the last one. What depends on time, place
// or the number of workers lives in tables of its own (place, timing) and is
// never exported. Several processes may write different runs at once.
package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // without cgo
	sqlite3 "modernc.org/sqlite/lib"

	"jird/orchestrator"
	"jird/population"
)

// steps make each version of the schema from the one before; SQLite's user_version
// says how many have been taken. A step that was ever released does not change.
var steps = []string{`
CREATE TABLE run (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, variant TEXT NOT NULL, spec TEXT NOT NULL, spec_hash TEXT NOT NULL,
  agent TEXT NOT NULL, evaluator TEXT NOT NULL, runtime TEXT NOT NULL, seed INTEGER NOT NULL,
  generations INTEGER NOT NULL, budget INTEGER NOT NULL, repeat INTEGER NOT NULL);
CREATE TABLE place (
  run TEXT PRIMARY KEY REFERENCES run(id), started TEXT NOT NULL, status TEXT NOT NULL, stop TEXT NOT NULL DEFAULT '',
  shadows_peak INTEGER NOT NULL DEFAULT 0, isolation TEXT NOT NULL DEFAULT '', elapsed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE generation (
  run TEXT NOT NULL REFERENCES run(id), number INTEGER NOT NULL, evaluations INTEGER NOT NULL, stagnant INTEGER NOT NULL,
  islands TEXT NOT NULL, best TEXT NOT NULL, PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE timing (
  run TEXT NOT NULL REFERENCES run(id), generation INTEGER NOT NULL, elapsed INTEGER NOT NULL, PRIMARY KEY (run, generation)) WITHOUT ROWID;
CREATE TABLE genome (
  run TEXT NOT NULL REFERENCES run(id), sequence INTEGER NOT NULL, hash TEXT NOT NULL, source TEXT NOT NULL,
  generation INTEGER NOT NULL, operator TEXT NOT NULL, parents TEXT NOT NULL,
  status TEXT NOT NULL, detail TEXT NOT NULL, steps INTEGER NOT NULL, scores TEXT NOT NULL,
  PRIMARY KEY (run, sequence), UNIQUE (run, hash)) WITHOUT ROWID;
CREATE TABLE measurement (
  run TEXT NOT NULL REFERENCES run(id), purpose TEXT NOT NULL, hash TEXT NOT NULL, source TEXT NOT NULL,
  status TEXT NOT NULL, detail TEXT NOT NULL, steps INTEGER NOT NULL, scores TEXT NOT NULL,
  PRIMARY KEY (run, purpose, hash)) WITHOUT ROWID;
CREATE TABLE decision (
  run TEXT NOT NULL REFERENCES run(id), number INTEGER NOT NULL, declared TEXT NOT NULL, decided TEXT,
  PRIMARY KEY (run, number)) WITHOUT ROWID;
`, `
-- "run" may be an agent whose open code was judged.
CREATE TABLE decision2 (
  run TEXT NOT NULL, number INTEGER NOT NULL, declared TEXT NOT NULL, decided TEXT, PRIMARY KEY (run, number)) WITHOUT ROWID;
INSERT INTO decision2 SELECT * FROM decision;
DROP TABLE decision;
ALTER TABLE decision2 RENAME TO decision;
`, `
CREATE TABLE tournament (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, spec TEXT NOT NULL, spec_hash TEXT NOT NULL, agent TEXT NOT NULL, evaluator TEXT NOT NULL,
  runtime TEXT NOT NULL, seed INTEGER NOT NULL, repeat INTEGER NOT NULL);
CREATE TABLE tournament_place (tournament TEXT PRIMARY KEY REFERENCES tournament(id), started TEXT NOT NULL);
CREATE TABLE entrant (
  tournament TEXT NOT NULL REFERENCES tournament(id), number INTEGER NOT NULL, name TEXT NOT NULL, side INTEGER NOT NULL, held_out INTEGER NOT NULL,
  hash TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (tournament, number)) WITHOUT ROWID;
CREATE TABLE match (
  tournament TEXT NOT NULL REFERENCES tournament(id), number INTEGER NOT NULL, round INTEGER NOT NULL, blue INTEGER NOT NULL, red INTEGER NOT NULL,
  seed INTEGER NOT NULL, verdict TEXT NOT NULL, detail TEXT NOT NULL, blue_points REAL NOT NULL, red_points REAL NOT NULL,
  blue_steps INTEGER NOT NULL, red_steps INTEGER NOT NULL, PRIMARY KEY (tournament, number)) WITHOUT ROWID;
`, `
CREATE TABLE coevolution (
  tournament TEXT NOT NULL REFERENCES tournament(id), generation INTEGER NOT NULL, side INTEGER NOT NULL,
  evaluations INTEGER NOT NULL, stagnant INTEGER NOT NULL, islands TEXT NOT NULL, best TEXT NOT NULL,
  PRIMARY KEY (tournament, generation, side)) WITHOUT ROWID;
`, `
ALTER TABLE place ADD COLUMN jird TEXT NOT NULL DEFAULT '';
ALTER TABLE tournament_place ADD COLUMN jird TEXT NOT NULL DEFAULT '';
`, `
CREATE TABLE feature (
  run TEXT NOT NULL REFERENCES run(id), hash TEXT NOT NULL, features TEXT NOT NULL, PRIMARY KEY (run, hash)) WITHOUT ROWID;
CREATE TABLE steering (
  run TEXT NOT NULL REFERENCES run(id), number INTEGER NOT NULL, archive TEXT NOT NULL, credit TEXT NOT NULL,
  PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE exchange (
  run TEXT NOT NULL REFERENCES run(id), hash TEXT NOT NULL, proposer TEXT NOT NULL, request TEXT NOT NULL, answer BLOB NOT NULL, failure TEXT NOT NULL,
  attempts INTEGER NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, micros INTEGER NOT NULL, PRIMARY KEY (run, hash)) WITHOUT ROWID;
CREATE INDEX exchange_hash ON exchange (hash);
ALTER TABLE timing ADD COLUMN spent TEXT NOT NULL DEFAULT '';
`}

// Ledger is an open ledger. Safe for concurrent use.
type Ledger struct {
	// Jird is the version of the program, which is written beside each run and tournament
	// that it begins. It is set before the first of them.
	Jird string

	path    string
	db      *sql.DB
	grammar func(spec string) (*population.Grammar, error)
}

var _ orchestrator.Recorder = (*Ledger)(nil)

// busy is how long is waited for another process: a run's transaction takes milliseconds;
// 10 s is a disk that hangs.
const busy = 10 * time.Second

// Open opens or makes the ledger in a file. The function gives the grammar of a
// run from its recorded spec: genomes are stored as text.
func Open(path string, grammar func(spec string) (*population.Grammar, error)) (*Ledger, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	// FULL: with a write-ahead log each commit is synced, so that a generation
	// which was reported as written survives a power cut (sqlite.org/pragma.html).
	// A checkpoint syncs twice more: one each 32 MiB, not 4, takes a sixth off what the
	// ledger costs.
	where := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: fmt.Sprintf("_pragma=busy_timeout(%d)", busy.Milliseconds()) + "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(8000)&_pragma=foreign_keys(1)&_txlock=immediate"}
	db, err := sql.Open("sqlite", where.String())
	if err != nil {
		return nil, fmt.Errorf("opening the ledger %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	l := &Ledger{path: path, db: db, grammar: grammar}
	// Where another process makes the same ledger, the switch to a write-ahead log does not
	// wait for it (sqlite.org/wal.html, "busy" while it is first opened).
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := l.migrate()
		if err == nil {
			return l, nil
		}
		var code *sqlite.Error
		if !errors.As(err, &code) || code.Code()&0xff != sqlite3.SQLITE_BUSY || time.Since(began) > busy {
			db.Close()
			return nil, err
		}
	}
}

// Close closes the ledger.
func (l *Ledger) Close() error { return l.db.Close() }

func (l *Ledger) migrate() error {
	return l.write(func(tx *sql.Tx) error {
		var found int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
			return err
		}
		if found > len(steps) {
			return fmt.Errorf("written by a newer jird (ledger version %d, this one knows %d): use that jird", found, len(steps))
		}
		for i, step := range steps[found:] {
			if _, err := tx.Exec(step + fmt.Sprintf("PRAGMA user_version = %d;", found+i+1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// write runs one transaction: all of it is kept, or nothing.
func (l *Ledger) write(f func(*sql.Tx) error) error {
	tx, err := l.db.Begin()
	if err != nil {
		return l.fault(err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the first error says why
		return l.fault(err)
	}
	return l.fault(tx.Commit())
}

// DamageError says that the ledger's file is not what was written.
type DamageError struct {
	File string
	Err  error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: the ledger is damaged: %v; restore it from a copy, or move it away to start a new one", e.File, e.Err)
}
func (e *DamageError) Unwrap() error { return e.Err }

func (l *Ledger) damage(format string, args ...any) error {
	return &DamageError{l.path, fmt.Errorf(format, args...)}
}

// fault says which file an error of the database is about, and what to do. The
// low byte of a code is its class (sqlite.org/rescode.html).
func (l *Ledger) fault(err error) error {
	var code *sqlite.Error
	class := 0
	if errors.As(err, &code) {
		class = code.Code() & 0xff
	}
	switch class {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &DamageError{l.path, err}
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("ledger %s: the disk is full (%w); free some space, then `jird resume` goes on from the last whole generation", l.path, err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("ledger %s: another process has held it for 10 s (%w); see who has it open", l.path, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("ledger %s: cannot be written (%w); name another state folder with --home or JIRD_HOME", l.path, err)
	}
	if err != nil {
		return fmt.Errorf("ledger %s: %w", l.path, err)
	}
	return nil
}
