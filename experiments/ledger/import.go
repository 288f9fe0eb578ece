package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"jird/orchestrator"
)

// ImportError says which line of a file is not what Export wrote. Nothing was taken.
type ImportError struct {
	Line int
	What string
}

func (e *ImportError) Error() string {
	return fmt.Sprintf("line %d: %s; nothing was taken. Export it again with `jird ledger export`", e.Line, e.What)
}

// ErrOther is wrapped when the ledger has a run of that id with other content.
var ErrOther = errors.New("is in the ledger with other content")

// Imported are the ids of the runs and tournaments that a file holds.
type Imported struct {
	New  []string `json:"new"`
	Same []string `json:"same"` // were there already, equal
}

// maxLine is the most bytes of a row: a generation of 100,000 genomes takes 10 MiB.
const maxLine = 256 << 20

// Import takes runs and tournaments as Export wrote them, one after another, all of the
// file or nothing. One that is there already is skipped if it is equal, and is ErrOther
// if not. What is taken must pass Check, and exports to the bytes it was read from. When
// and where a run was made is not in the file: it counts as begun now, and as done if it
// was decided.
func (l *Ledger) Import(r io.Reader) (*Imported, error) {
	in := &importer{result: Imported{New: []string{}, Same: []string{}}}
	err := l.write(func(tx *sql.Tx) error {
		in.tx = tx
		return in.all(bufio.NewReaderSize(r, 1<<16))
	})
	var bad *ImportError
	switch {
	case errors.As(err, &bad):
		return nil, bad // without the ledger's name: it is not at fault
	case err != nil:
		return nil, err
	}
	return &in.result, nil
}

type importer struct {
	tx     *sql.Tx
	line   int
	result Imported

	// The run or tournament that is being read.
	id    string
	kind  string // "run", "tournament", or "" before the first
	known bool
	sum   hash.Hash // of its lines
}

func (in *importer) bad(format string, args ...any) error {
	return &ImportError{in.line, fmt.Sprintf(format, args...)}
}

func (in *importer) all(r *bufio.Reader) error {
	for {
		text, err := readLine(r)
		if errors.Is(err, io.EOF) && len(text) == 0 {
			break
		}
		in.line++
		if errors.Is(err, io.EOF) {
			return in.bad("it has no end")
		}
		if err != nil {
			return err
		}
		if err := in.row(text); err != nil {
			return err
		}
	}
	if in.kind == "" {
		return in.bad("there is no run and no tournament")
	}
	return in.end()
}

// readLine reads a line with its newline; of the last one, without it, comes io.EOF.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line has more than %d bytes: that is no export", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// column kinds: how a value of JSON is stored.
const (
	asText = iota
	asWhole
	asReal
	asJSON
	asMaybe // JSON, or NULL for null
	asFlag
	asBytes // in hexadecimal
)

type column struct {
	name string
	kind int
}

func columns(list string) (all []column) {
	kinds := map[string]int{"t": asText, "i": asWhole, "r": asReal, "j": asJSON, "m": asMaybe, "b": asFlag, "x": asBytes}
	for field := range strings.FieldsSeq(list) {
		name, kind, _ := strings.Cut(field, ":")
		all = append(all, column{name, kinds[kind]})
	}
	return all
}

// rowsOf are the columns of each table, as exports has them and in the order of the
// schema, in which the id of the run or tournament comes before those of its parts.
var rowsOf = map[string][]column{
	"run":         columns("id:t name:t variant:t spec:j spec_hash:t agent:t evaluator:t runtime:t seed:i generations:i budget:i repeat:i"),
	"genome":      columns("sequence:i hash:t source:t generation:i operator:t parents:j status:t detail:t steps:i scores:j"),
	"generation":  columns("number:i evaluations:i stagnant:i islands:j best:j"),
	"feature":     columns("hash:t features:j"),
	"steering":    columns("number:i archive:j credit:j"),
	"exchange":    columns("hash:t proposer:t request:j answer:x failure:t attempts:i tokens_in:i tokens_out:i micros:i"),
	"measurement": columns("purpose:t hash:t source:t status:t detail:t steps:i scores:j"),
	"decision":    columns("number:i declared:j decided:m"),
	"tournament":  columns("id:t name:t spec:j spec_hash:t agent:t evaluator:t runtime:t seed:i repeat:i"),
	"entrant":     columns("number:i name:t side:i held_out:b hash:t source:t"),
	"coevolution": columns("generation:i side:i evaluations:i stagnant:i islands:j best:j"),
	"match":       columns("number:i round:i blue:i red:i seed:i verdict:t detail:t blue_points:r red_points:r blue_steps:i red_steps:i"),
}

func (in *importer) row(text []byte) error {
	var fields map[string]json.RawMessage
	var table string
	if json.Unmarshal(text, &fields) != nil || json.Unmarshal(fields["table"], &table) != nil || rowsOf[table] == nil {
		return in.bad("it is no row of a run or tournament")
	}
	values, err := in.values(table, fields)
	if err != nil {
		return err
	}
	whole := table == "run" || table == "tournament"
	if whole {
		if err := in.begin(table, values[0].(string)); err != nil {
			return err
		}
	} else if !partOf(in.kind, table) {
		return in.bad("a %s does not belong to %s %s", table, in.kind, in.id)
	}
	in.sum.Write(text)
	if in.known {
		return nil
	}
	if !whole {
		values = append([]any{in.id}, values...)
	}
	if _, err := in.tx.Exec("INSERT INTO "+table+" VALUES (?"+strings.Repeat(",?", len(values)-1)+")", values...); err != nil {
		return in.bad("%v", err)
	}
	return nil
}

// partOf says whether a run or tournament has rows of that table.
func partOf(kind, table string) bool {
	if kind == "" {
		return false
	}
	for _, e := range exportsOf(kind) {
		if e.table == table {
			return true
		}
	}
	return false
}

func (in *importer) values(table string, fields map[string]json.RawMessage) (values []any, err error) {
	for _, c := range rowsOf[table] {
		raw, there := fields[c.name]
		if !there {
			return nil, in.bad("the %s has no %s", table, c.name)
		}
		value, err := c.value(raw)
		if err != nil {
			return nil, in.bad("%s of the %s: %v", c.name, table, err)
		}
		values = append(values, value)
	}
	return values, nil
}

func (c column) value(raw json.RawMessage) (value any, err error) {
	switch c.kind {
	case asWhole:
		var n int64
		err = json.Unmarshal(raw, &n)
		return n, err
	case asReal:
		var f float64
		err = json.Unmarshal(raw, &f)
		return f, err
	case asFlag:
		var b bool
		err = json.Unmarshal(raw, &b)
		return b, err
	case asBytes:
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		return hex.DecodeString(text)
	case asMaybe:
		if string(raw) == "null" {
			return nil, nil
		}
		return string(raw), nil
	case asJSON: // the parents of a seed are null
		return string(raw), nil
	}
	var s string
	err = json.Unmarshal(raw, &s)
	return s, err
}

// begin ends what came before and begins a run or tournament.
func (in *importer) begin(kind, id string) error {
	if in.kind != "" {
		if err := in.end(); err != nil {
			return err
		}
	}
	in.kind, in.id, in.sum = kind, id, sha256.New()
	var n int
	if err := in.tx.QueryRow("SELECT (SELECT count(*) FROM run WHERE id = ?1) + (SELECT count(*) FROM tournament WHERE id = ?1)", id).Scan(&n); err != nil {
		return err
	}
	in.known = n > 0
	return nil
}

// end holds what is in the ledger now against the lines.
func (in *importer) end() error {
	stored := sha256.New()
	for _, e := range exportsOf(in.kind) {
		if err := exportTable(in.tx, stored, in.id, e.query); err != nil {
			return err
		}
	}
	same := bytes.Equal(stored.Sum(nil), in.sum.Sum(nil))
	switch {
	case in.known && !same:
		return fmt.Errorf("%s %s %w; nothing was taken", in.kind, in.id, ErrOther)
	case in.known:
		in.result.Same = append(in.result.Same, in.id)
		return nil
	case !same:
		return in.bad("%s %s does not read as it was exported", in.kind, in.id)
	}
	c := &checker{q: in.tx}
	if err := c.history(in.id); err != nil {
		return err
	}
	if len(c.Faults) > 0 {
		return in.bad("%s", c.Faults[0])
	}
	in.result.New = append(in.result.New, in.id)
	return in.place()
}

func (in *importer) place() error {
	now := time.Now().UTC().Format(time.RFC3339)
	if in.kind == "tournament" {
		_, err := in.tx.Exec("INSERT INTO tournament_place (tournament, started) VALUES (?,?)", in.id, now)
		return err
	}
	_, err := in.tx.Exec(`INSERT INTO place (run, started, status, stop) SELECT ?1, ?2, iif(EXISTS (SELECT 1 FROM decision WHERE run = ?1 AND number = 1 AND decided IS NOT NULL), ?3, ?4), 'imported'`,
		in.id, now, orchestrator.RunDone, orchestrator.RunInterrupted)
	return err
}
