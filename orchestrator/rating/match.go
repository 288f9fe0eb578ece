// Package rating says how good sides are that played matches, and how far that
// can be trusted: ratings, ranks with intervals, masses, warnings from a history
// of champions, and who should meet whom.
//
// It is pure computation, equal for equal arguments (and seed), and every
// function may be called by any number of goroutines at once. Nothing that is
// passed in is changed.
package rating

import (
	"fmt"
	"math"
)

// Match is one finished match. Matches count as independent: where two depend on
// each other, as the same seed played from both seats does, give their mean as
// one match, or every interval and every test here is too sure of itself.
type Match struct {
	A, B  int     // the sides, from 0
	Score float64 // of A, from 0 (lost) to 1 (won), 0.5 is a draw; B's is the rest
}

// check is the one place that judges matches.
func check(n int, matches []Match) error {
	for i, m := range matches {
		switch {
		case m.A < 0 || m.A >= n || m.B < 0 || m.B >= n:
			return fmt.Errorf("match %d is between %d and %d, but the sides are 0 to %d", i, m.A, m.B, n-1)
		case m.A == m.B:
			return fmt.Errorf("in match %d side %d plays itself", i, m.A)
		case !(m.Score >= 0 && m.Score <= 1): // NaN as well
			return fmt.Errorf("match %d has the score %v, not one from 0 to 1", i, m.Score)
		}
	}
	return nil
}

// Cell is what one side did against another.
type Cell struct {
	Games        int
	Wins, Losses int     // scores above and below 0.5; the rest are draws
	Points       float64 // sum of the scores
}

// Rate is the mean score, from 0 to 1, or NaN without a game.
func (c Cell) Rate() float64 {
	if c.Games == 0 {
		return math.NaN()
	}
	return c.Points / float64(c.Games)
}

func (c *Cell) add(score float64) {
	c.Games++
	c.Points += score
	if score > 0.5 {
		c.Wins++
	} else if score < 0.5 {
		c.Losses++
	}
}

func (c *Cell) merge(d Cell) {
	c.Games += d.Games
	c.Wins += d.Wins
	c.Losses += d.Losses
	c.Points += d.Points
}

// Table holds what each row's side did against each column's.
type Table [][]Cell

// Tally sums up matches between n sides, each in both its rows: [a][b] is a's
// view and [b][a] is b's. The error names the first match that is no match
// between two of the sides with a score from 0 to 1.
func Tally(n int, matches []Match) (Table, error) {
	if err := check(n, matches); err != nil {
		return nil, err
	}
	t := make(Table, n)
	for i := range t {
		t[i] = make([]Cell, n)
	}
	for _, m := range matches {
		t[m.A][m.B].add(m.Score)
		t[m.B][m.A].add(1 - m.Score)
	}
	return t, nil
}

// Sub is the part of a table with these rows and columns, in this order: of red
// against blue, or of the champions by generation. It panics if a side is not in
// the table.
func (t Table) Sub(rows, columns []int) Table {
	s := make(Table, len(rows))
	for i, r := range rows {
		for _, c := range columns {
			s[i] = append(s[i], t[r][c])
		}
	}
	return s
}
