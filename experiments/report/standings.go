package report

import (
	"fmt"
	"math"
	"slices"

	"jird/orchestrator"
)

// ranked is a standing as a page shows it.
type ranked struct {
	orchestrator.Standing
	Ranks, Rating string
	Means, Rates  whisker
}

// whisker is an interval on an axis from 0 to 100.
type whisker struct{ From, At, To float64 }

// Table is the standings, with their intervals drawn to one scale.
func (t *Tournament) Table() (all []ranked) {
	means, rates := scale{math.Inf(1), math.Inf(-1)}, scale{math.Inf(1), math.Inf(-1)}
	for _, s := range t.Standings.Standings {
		means.see(s.Means[0], s.Means[1], s.Mean)
		rates.see(s.Rating-halfWidth(s.RD), s.Rating+halfWidth(s.RD))
	}
	for _, s := range t.Standings.Standings {
		half := halfWidth(s.RD)
		all = append(all, ranked{s, ranks(s), rating(s), means.place(s.Means[0], s.Mean, s.Means[1]), rates.place(s.Rating-half, s.Rating, s.Rating+half)})
	}
	return all
}

type scale struct{ low, high float64 }

func (s *scale) see(values ...float64) {
	s.low, s.high = min(s.low, slices.Min(values)), max(s.high, slices.Max(values))
}

func (s scale) place(from, at, to float64) whisker {
	on := func(v float64) float64 {
		if s.high <= s.low {
			return 50
		}
		return 4 + 92*(v-s.low)/(s.high-s.low) // the dot at an end is whole
	}
	return whisker{on(from), on(at), on(to)}
}

// heat is the matrix of a tournament: how warm a cell is stands beside what it says.
type heat struct {
	Columns []string
	Rows    []heatRow
	Least   float64
	Most    float64
	Left    int // rows and columns that are not shown
}

type heatRow struct {
	Name  string
	Cells []heatCell
}

type heatCell struct {
	orchestrator.Cell
	Heat float64 // from 0 to 1
}

// shownSide bounds the matrix: 40 by 40 can still be looked at.
const shownSide = 40

// Heat is the matrix of means, the best of each side first; in a coevolution, whose
// entrants are champions one after the other, in their order.
func (t *Tournament) Heat() heat {
	h := heat{Least: math.Inf(1), Most: math.Inf(-1)}
	rows, columns := t.order(t.Matrix.Rows, 0), t.order(t.Matrix.Columns, len(t.Sides)-1)
	h.Left = len(rows) + len(columns)
	rows, columns = spread(rows, t.evolved()), spread(columns, t.evolved())
	h.Left -= len(rows) + len(columns)
	for _, k := range columns {
		h.Columns = append(h.Columns, t.Matrix.Columns[k])
	}
	for _, i := range rows {
		row := heatRow{Name: t.Matrix.Rows[i]}
		for _, k := range columns {
			c := t.Matrix.Cells[i][k]
			if c.Matches > 0 {
				h.Least, h.Most = min(h.Least, c.Mean), max(h.Most, c.Mean)
			}
			row.Cells = append(row.Cells, heatCell{Cell: c})
		}
		h.Rows = append(h.Rows, row)
	}
	for _, row := range h.Rows {
		for k, c := range row.Cells {
			if c.Matches > 0 && h.Most > h.Least {
				row.Cells[k].Heat = (c.Mean - h.Least) / (h.Most - h.Least)
			}
		}
	}
	return h
}

func (t *Tournament) evolved() bool { return len(t.Reigns) > 0 }

// order are the entrants of a side by rank, or as they are if they were evolved.
func (t *Tournament) order(names []string, side int) (at []int) {
	rank := map[string]float64{}
	for _, s := range t.Standings.Standings {
		if s.Side == t.Sides[side] {
			rank[s.Name] = s.Rank
		}
	}
	for i := range names {
		at = append(at, i)
	}
	if !t.evolved() {
		slices.SortStableFunc(at, func(a, b int) int {
			switch x, y := rank[names[a]], rank[names[b]]; {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
	}
	return at
}

// spread are those that are shown: the first, or of a course some of all its parts.
func spread(at []int, course bool) []int {
	if course {
		return spaced(at, shownSide)
	}
	return at[:min(len(at), shownSide)]
}

// Charts are the drawings of a coevolution's course.
func (t *Tournament) Charts() ([]*chart, error) {
	if !t.evolved() {
		return nil, nil
	}
	c := &chart{
		Title: "Best of each side by generation",
		Text:  "What the best of a generation scored against the opponents of that generation; lower is better. Opponents change, so a level line may be progress of both.",
		y:     "score",
	}
	last := t.Reigns[len(t.Reigns)-1].Generation
	sides := make([][]float64, len(t.Sides))
	for i := range sides {
		sides[i] = slices.Repeat([]float64{math.NaN()}, last+1)
		c.lines = append(c.lines, line{fmt.Sprintf("side %d", i+1), sides[i]})
	}
	for g := range last + 1 {
		c.xs = append(c.xs, float64(g))
	}
	for _, r := range t.Reigns {
		if r.Side < len(sides) && r.Score != nil {
			sides[r.Side][r.Generation] = *r.Score
		}
	}
	err := c.draw()
	for i := range sides {
		c.Legend[i].Name = t.Sides[i]
	}
	return []*chart{c}, err
}

// reign is a champion as long as it was the best of its side.
type reign struct {
	Side     string
	From, To int
	Change   []part // from the one before it
}

// shownReigns bounds the page.
const shownReigns = 20

// Champions are each side's champions in turn, the last of them.
func (t *Tournament) Champions() (all []reign) {
	for side, name := range t.Sides {
		var of []reign
		before := ""
		for _, r := range t.Reigns {
			if r.Side != side {
				continue
			}
			if n := len(of); n > 0 && before == r.Source {
				of[n-1].To = r.Generation
				continue
			}
			n := reign{Side: name, From: r.Generation, To: r.Generation, Change: []part{{Text: r.Source}}}
			if before != "" {
				n.Change = difference(before, r.Source)
			}
			of, before = append(of, n), r.Source
		}
		all = append(all, of[max(0, len(of)-shownReigns):]...)
	}
	return all
}
