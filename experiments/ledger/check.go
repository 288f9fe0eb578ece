package ledger

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"jird/population"
)

// Checked is what Check found.
type Checked struct {
	Runs        int      `json:"runs"`
	Tournaments int      `json:"tournaments"`
	Genomes     int      `json:"genomes"` // and entrants
	Decisions   int      `json:"decisions"`
	Faults      []string `json:"faults"` // each says what is wrong where
}

// querier is a ledger or a transaction of it.
type querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
}

// Check reads everything back: the file's own structure, rows that belong to nothing,
// and whether what was written together is there together and means what it says. The
// error is for what keeps it from looking.
func (l *Ledger) Check() (*Checked, error) {
	c := &checker{q: l.db, Checked: Checked{Faults: []string{}}}
	err := c.structure()
	if err == nil && len(c.Faults) == 0 { // rows of a broken tree say nothing
		err = c.history("")
	}
	return &c.Checked, l.fault(err)
}

// Damage is the first fault as an error, or nil.
func (l *Ledger) Damage(c *Checked) error {
	if len(c.Faults) == 0 {
		return nil
	}
	return l.damage("%d faults, the first: %s", len(c.Faults), c.Faults[0])
}

type checker struct {
	q querier
	Checked
}

func (c *checker) fault(format string, args ...any) {
	c.Faults = append(c.Faults, fmt.Sprintf(format, args...))
}

// rows calls each with the scanned columns of a query's rows.
func (c *checker) rows(query string, args []any, columns []any, each func()) error {
	rows, err := c.q.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return err
		}
		each()
	}
	return rows.Err()
}

func (c *checker) structure() error {
	var said string
	if err := c.rows("PRAGMA integrity_check", nil, []any{&said}, func() {
		if said != "ok" {
			c.fault("the file: %s", said)
		}
	}); err != nil {
		return err
	}
	var table, parent string
	var row, key sql.NullInt64
	return c.rows("PRAGMA foreign_key_check", nil, []any{&table, &row, &parent, &key}, func() {
		c.fault("table %s has rows of a %s that is not there", table, parent)
	})
}

// history checks one run or tournament and its decisions, or for "" all of them.
func (c *checker) history(only string) error {
	var runs, tournaments []string
	for _, list := range []struct {
		table string
		to    *[]string
	}{{"run", &runs}, {"tournament", &tournaments}} {
		var id, spec, hash string
		if err := c.rows("SELECT id, spec, spec_hash FROM "+list.table+" WHERE ?1 IN ('', id) ORDER BY id", []any{only}, []any{&id, &spec, &hash}, func() {
			*list.to = append(*list.to, id)
			if sum := sha256.Sum256([]byte(spec)); hex.EncodeToString(sum[:]) != hash {
				c.fault("%s %s: the spec has another hash", list.table, id)
			}
		}); err != nil {
			return err
		}
	}
	c.Runs, c.Tournaments = len(runs), len(tournaments)
	for _, id := range runs {
		if err := c.run(id); err != nil {
			return err
		}
	}
	for _, id := range tournaments {
		if err := c.tournament(id); err != nil {
			return err
		}
	}
	return c.decisions(only)
}

// run checks that each generation is there with all that was written in its
// transaction.
func (c *checker) run(id string) error {
	where := "run " + id
	born, err := c.genomes(where, id)
	if err != nil {
		return err
	}
	var number, evaluations, next int
	var islands, best string
	if err := c.rows("SELECT number, evaluations, islands, best FROM generation WHERE run = ? ORDER BY number", []any{id},
		[]any{&number, &evaluations, &islands, &best}, func() {
			if number != next {
				c.fault("%s: generation %d is missing", where, next)
			}
			next = number + 1
			made := 0
			for _, generation := range born {
				if generation <= number {
					made++
				}
			}
			if made != evaluations {
				c.fault("%s, generation %d: %d genomes were evaluated up to it, %d are there", where, number, evaluations, made)
			}
			c.members(fmt.Sprintf("%s, generation %d", where, number), islands, best, number, born)
		}); err != nil {
		return err
	}
	for hash, generation := range born {
		if generation >= next {
			c.fault("%s: genome %.12s is of generation %d, which is missing", where, hash, generation)
		}
	}
	if err := c.steering(where, id, next, born); err != nil {
		return err
	}
	return c.scored(where, "SELECT hash, source, status, scores FROM measurement WHERE run = ? ORDER BY purpose, hash", id)
}

// steering checks what stands beside the generations of a run.
func (c *checker) steering(where, id string, generations int, born map[string]int) error {
	var number int
	var archive, credit, hash, text string
	if err := c.rows("SELECT number, archive, credit FROM steering WHERE run = ? ORDER BY number", []any{id}, []any{&number, &archive, &credit}, func() {
		where := fmt.Sprintf("%s, what steers generation %d", where, number)
		if number >= generations {
			c.fault("%s: that generation is missing", where)
		}
		if !json.Valid([]byte(credit)) {
			c.fault("%s: its credit cannot be read", where)
		}
		c.members(where, "[]", archive, number, born)
	}); err != nil {
		return err
	}
	if err := c.rows("SELECT hash, features FROM feature WHERE run = ? ORDER BY hash", []any{id}, []any{&hash, &text}, func() {
		var features map[string]float64
		if _, known := born[hash]; !known || json.Unmarshal([]byte(text), &features) != nil {
			c.fault("%s: features of genome %.12s, which is not there or has others than numbers", where, hash)
		}
	}); err != nil {
		return err
	}
	return c.rows("SELECT hash, request FROM exchange WHERE run = ? ORDER BY hash", []any{id}, []any{&hash, &text}, func() {
		if !json.Valid([]byte(text)) {
			c.fault("%s: the request of exchange %.12s cannot be read", where, hash)
		}
	})
}

// genomes returns in which generation each genome of a run was first measured.
func (c *checker) genomes(where, id string) (born map[string]int, err error) {
	born = map[string]int{}
	var hash string
	var sequence, generation, next, last int
	if err := c.rows("SELECT sequence, hash, generation FROM genome WHERE run = ? ORDER BY sequence", []any{id}, []any{&sequence, &hash, &generation}, func() {
		if sequence != next {
			c.fault("%s: genome %d is missing", where, next)
		}
		if generation < last {
			c.fault("%s: genome %d is of generation %d, after one of generation %d", where, sequence, generation, last)
		}
		next, last, born[hash] = sequence+1, generation, generation
	}); err != nil {
		return nil, err
	}
	c.Genomes += len(born)
	return born, c.scored(where, "SELECT hash, source, status, scores FROM genome WHERE run = ? ORDER BY sequence", id)
}

// scored holds sources against their hashes and scores against the status.
func (c *checker) scored(where, query, id string) error {
	var hash, source, status, scores string
	return c.rows(query, []any{id}, []any{&hash, &source, &status, &scores}, func() {
		where := fmt.Sprintf("%s, genome %.12s", where, hash)
		c.source(where, source, hash)
		c.scores(where, status, scores)
	})
}

// source: see population.Genome.Hash and orchestrator.Scheme.
func (c *checker) source(where, source, hash string) {
	if sum := sha256.Sum256([]byte(source + "\n")); hex.EncodeToString(sum[:]) != hash {
		c.fault("%s: its source has another hash", where)
	}
}

func (c *checker) scores(where, status, text string) {
	var all [][2]float64
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		c.fault("%s: its scores: %v", where, err)
		return
	}
	if ok := status == string(population.OK); ok != (len(all) > 0) {
		c.fault("%s: it ended with %s and has %d scores", where, status, len(all))
	}
	for _, s := range all {
		if !(s[1] > 0) || math.IsInf(s[0], 0) || math.IsInf(s[1], 0) {
			c.fault("%s: %v is no score", where, s)
			return
		}
	}
}

func (c *checker) members(where, islands, best string, number int, born map[string]int) {
	var cohorts [][]member
	var hall []member
	if json.Unmarshal([]byte(islands), &cohorts) != nil || json.Unmarshal([]byte(best), &hall) != nil {
		c.fault("%s: its cohorts cannot be read", where)
		return
	}
	for _, cohort := range append(cohorts, hall) {
		for _, m := range cohort {
			if len(m) < 2 {
				c.fault("%s: a member of it is no genome with an operator", where)
				continue
			}
			if generation, known := born[m[0]]; !known || generation > number {
				c.fault("%s: it names genome %.12s, which is not there", where, m[0])
			}
		}
	}
}

// tournament checks entrants, rounds and the generations of its sides.
func (c *checker) tournament(id string) error {
	where := "tournament " + id
	var hash, source string
	var number, entrants int
	if err := c.rows("SELECT number, hash, source FROM entrant WHERE tournament = ? ORDER BY number", []any{id}, []any{&number, &hash, &source}, func() {
		if number != entrants {
			c.fault("%s: entrant %d is missing", where, entrants)
		}
		entrants = number + 1
		c.source(fmt.Sprintf("%s, entrant %d", where, number), source, hash)
	}); err != nil {
		return err
	}
	c.Genomes += entrants
	if err := c.matches(where, id, entrants); err != nil {
		return err
	}
	var side, next int
	var islands, best string
	if err := c.rows("SELECT generation, side, islands, best FROM coevolution WHERE tournament = ? ORDER BY generation, side", []any{id},
		[]any{&number, &side, &islands, &best}, func() {
			if number != next/2 || side != next%2 {
				c.fault("%s: side %d of generation %d is missing", where, next%2, next/2)
			}
			next = 2*number + side + 1
			c.evolvedMembers(fmt.Sprintf("%s, generation %d, side %d", where, number, side), islands, best)
		}); err != nil {
		return err
	}
	if next%2 != 0 {
		c.fault("%s: side 1 of generation %d is missing", where, next/2)
	}
	return nil
}

func (c *checker) matches(where, id string, entrants int) error {
	var number, round, blue, red, next, last int
	return c.rows("SELECT number, round, blue, red FROM match WHERE tournament = ? ORDER BY number", []any{id}, []any{&number, &round, &blue, &red}, func() {
		if number != next {
			c.fault("%s: match %d is missing", where, next)
		}
		if round < last || round > last+1 || next == 0 && round != 0 {
			c.fault("%s: match %d is of round %d, after one of round %d", where, number, round, last)
		}
		if min(blue, red) < 0 || max(blue, red) >= entrants {
			c.fault("%s: match %d is between %d and %d, there are %d entrants", where, number, blue, red, entrants)
		}
		next, last = number+1, round
	})
}

func (c *checker) evolvedMembers(where, islands, best string) {
	var cohorts [][]evolved
	var hall []evolved
	if json.Unmarshal([]byte(islands), &cohorts) != nil || json.Unmarshal([]byte(best), &hall) != nil {
		c.fault("%s: its cohorts cannot be read", where)
		return
	}
	for _, cohort := range append(cohorts, hall) {
		for _, m := range cohort {
			for _, s := range m.Scores {
				if !(s[1] > 0) {
					c.fault("%s: %v is no score", where, s)
				}
			}
		}
	}
}

// decisions checks those of a run, or all, of agents too: their numbers, and that what
// was decided fits what was declared before.
func (c *checker) decisions(only string) error {
	var run, declared string
	var decided sql.NullString
	var number int
	next := map[string]int{}
	return c.rows("SELECT run, number, declared, decided FROM decision WHERE ?1 IN ('', run) ORDER BY run, number", []any{only},
		[]any{&run, &number, &declared, &decided}, func() {
			c.Decisions++
			where := fmt.Sprintf("decision %d of %s", number, run)
			if next[run]++; number != next[run] {
				c.fault("%s: number %d is missing before it", where, next[run])
				next[run] = number
			}
			var d Declaration
			if err := json.Unmarshal([]byte(declared), &d); err != nil {
				c.fault("%s: what was declared: %v", where, err)
				return
			}
			var e Evidence
			if !decided.Valid {
				return
			}
			if err := json.Unmarshal([]byte(decided.String), &e); err != nil {
				c.fault("%s: what was decided: %v", where, err)
				return
			}
			c.decision(where, d, e)
		})
}

func (c *checker) decision(where string, d Declaration, e Evidence) {
	if e.Promoted && e.Snapshot != d.WinnerImage {
		c.fault("%s: it promoted image %.12s, declared was %.12s", where, e.Snapshot, d.WinnerImage)
	}
	last := 0
	for _, look := range e.Looks {
		if look.N <= last || look.N > d.MaxN || look.N > len(e.Cases) {
			c.fault("%s: a look at %d cases after %d, of %d that were measured and %d that were declared", where, look.N, last, len(e.Cases), d.MaxN)
		}
		last = look.N
	}
}
