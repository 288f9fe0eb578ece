package report

import (
	"fmt"
	"math"

	"jird/experiments/ledger"
)

// shownIslands is how many islands a chart tells apart.
const shownIslands = 8

// shownRows is how many generations a table of the page shows; CSV and JSON have all.
const shownRows = 30

// Charts are the drawings of a run's course.
func (r *Run) Charts() ([]*chart, error) {
	if len(r.Generations) == 0 {
		return nil, nil
	}
	all := []*chart{r.scores(), r.diversity(), r.speed()}
	if islands := r.islands(); islands > 1 {
		all = append(all,
			r.byIsland("Best by island", "The best score of each island's cohort in each generation; lower is better.", func(s ledger.Spread) float64 { return s.Best }, islands),
			r.byIsland("Median by island", "The median score of each island's cohort in each generation; lower is better.", func(s ledger.Spread) float64 { return s.Median }, islands))
	}
	for _, c := range all {
		if err := c.draw(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *Run) islands() int {
	most := 0
	for _, g := range r.Generations {
		most = max(most, len(g.Islands))
	}
	return most
}

// by makes a series of the generations.
func (r *Run) by(value func(ledger.Generation) float64) (ys []float64) {
	for _, g := range r.Generations {
		ys = append(ys, value(g))
	}
	return ys
}

func (r *Run) numbers() []float64 {
	return r.by(func(g ledger.Generation) float64 { return float64(g.Number) })
}

// scored is a series with a gap where nobody has a score.
func scored(value func(ledger.Spread) float64) func(ledger.Generation) float64 {
	return func(g ledger.Generation) float64 {
		if !g.Scored() {
			return math.NaN()
		}
		return value(g.Spread)
	}
}

func (r *Run) scores() *chart {
	return &chart{
		Title: "Scores by generation", Text: "Best and median training score of all cohorts, and the band in which the middle half of them lie; lower is better.",
		y: "score", xs: r.numbers(),
		lines: []line{
			{"best", r.by(scored(func(s ledger.Spread) float64 { return s.Best }))},
			{"median", r.by(scored(func(s ledger.Spread) float64 { return s.Median }))},
		},
		low: r.by(scored(func(s ledger.Spread) float64 { return s.Quarter })), high: r.by(scored(func(s ledger.Spread) float64 { return s.Three })),
	}
}

func (r *Run) diversity() *chart {
	return &chart{
		Title: "Diversity by generation", Text: "Distinct genomes and distinct score vectors among the members: who scores the same on every case is the same to the search.",
		y: "distinct", xs: r.numbers(), floor: true,
		lines: []line{
			{"genomes", r.by(func(g ledger.Generation) float64 { return float64(g.Genomes) })},
			{"score vectors", r.by(func(g ledger.Generation) float64 { return float64(g.Vectors) })},
		},
	}
}

func (r *Run) speed() *chart {
	var ys []float64
	for i, g := range r.Generations {
		before := ledger.Generation{}
		if i > 0 {
			before = r.Generations[i-1]
		}
		rate := math.NaN()
		if took := g.Seconds - before.Seconds; took > 0 {
			rate = float64(g.Evaluations-before.Evaluations) / took
		}
		ys = append(ys, rate)
	}
	return &chart{
		Title: "Evaluations per second", Text: "New measurements of each generation over the time that it took, whatever else the machine did.",
		y: "per second", xs: r.numbers(), floor: true, lines: []line{{"evaluations per second", ys}},
	}
}

func (r *Run) byIsland(title, text string, of func(ledger.Spread) float64, islands int) *chart {
	c := &chart{Title: title, Text: text, y: "score", xs: r.numbers()}
	if islands > shownIslands {
		c.Text += fmt.Sprintf(" The first %d of %d islands are drawn.", shownIslands, islands)
	}
	for i := range min(islands, shownIslands) {
		ys := r.by(func(g ledger.Generation) float64 {
			if i >= len(g.Islands) || !g.Islands[i].Scored() {
				return math.NaN()
			}
			return of(g.Islands[i])
		})
		c.lines = append(c.lines, line{fmt.Sprintf("island %d", i+1), ys})
	}
	return c
}

// Course is the generations that a table shows: evenly spread, with the last.
func (r *Run) Course() []ledger.Generation { return spaced(r.Generations, shownRows) }

func spaced[T any](all []T, most int) (shown []T) {
	step := max(1, (len(all)+most-1)/most)
	for i, v := range all {
		if i%step == 0 || i == len(all)-1 {
			shown = append(shown, v)
		}
	}
	return shown
}

// Last is the last whole generation, or nil.
func (r *Run) Last() *ledger.Generation {
	if n := len(r.Generations); n > 0 {
		return &r.Generations[n-1]
	}
	return nil
}

// Rate is evaluations per second over the whole run, the decision included.
func (r *Run) Rate() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Evaluations) / r.Seconds
}
