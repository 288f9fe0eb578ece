package ga

import (
	"cmp"
	"math"
	"math/rand"
	"slices"

	"jird/population"
)

// Feature is one dimension of the archive.
type Feature struct {
	Name      string  // "size" or "depth" of the genome, "steps" (fuel per case), or what the referee reports by that name
	Low, High float64 // bounds; what lies beyond is in the outermost cell
	Cells     int     // equal parts between the bounds
}

// maxCells bounds an archive: it is part of every state.
const maxCells = 10_000

func (c Config) checkArchive(need func(ok bool, format string, args ...any)) {
	cells := 1
	for i, f := range c.Archive {
		need(f.Name != "", "feature %d of the archive has no name: use size, depth, steps or what the referee reports", i+1)
		need(!slices.ContainsFunc(c.Archive[:i], func(o Feature) bool { return o.Name == f.Name }), "feature %s of the archive is given twice: name it once", f.Name)
		need(f.Low < f.High && !math.IsInf((f.High-f.Low)*maxCells, 0), "feature %s of the archive from %v to %v: low must be below high, both finite and not huge", f.Name, f.Low, f.High)
		need(f.Cells >= 1 && f.Cells <= maxCells, "feature %s of the archive in %d cells: use 1 to %d", f.Name, f.Cells, maxCells)
		cells = min(cells*max(1, min(f.Cells, maxCells)), maxCells+1)
	}
	need(cells <= maxCells, "the archive has more than %d cells: use fewer or coarser features", maxCells)
	need(len(c.Archive) == 0 || !c.Moving, "an archive compares scores of different generations, and these move: use one or the other")
}

// archived is an archive with what a generation brought: for every cell the best that
// the run has seen in it (MAP-Elites: Mouret, Clune 2015), in the order of the cells.
// Neither argument is changed.
func (c Config) archived(archive, cohort []Member) []Member {
	if len(c.Archive) == 0 {
		return nil
	}
	type elite struct {
		cell   int
		member Member
	}
	var all []elite
	for _, m := range slices.Concat(archive, cohort) {
		if cell, ok := c.cell(m); ok {
			all = append(all, elite{cell, m})
		}
	}
	slices.SortStableFunc(all, func(a, b elite) int {
		return cmp.Or(cmp.Compare(a.cell, b.cell), population.Compare(a.member.measured(), b.member.measured()))
	})
	all = slices.CompactFunc(all, func(a, b elite) bool { return a.cell == b.cell })
	best := make([]Member, len(all))
	for i, e := range all {
		best[i] = e.member
	}
	return best
}

// cell is where a member belongs. What failed, or lacks a feature, belongs nowhere.
func (c Config) cell(m Member) (cell int, ok bool) {
	if m.Outcome.Status != population.OK {
		return 0, false
	}
	for _, f := range c.Archive {
		v, ok := f.of(m)
		if !ok {
			return 0, false
		}
		part := math.Floor((v - f.Low) * float64(f.Cells) / (f.High - f.Low)) // whole numbers meet no rounding
		cell = cell*f.Cells + int(max(0, min(part, float64(f.Cells-1))))
	}
	return cell, true
}

func (f Feature) of(m Member) (v float64, ok bool) {
	switch f.Name {
	case "size":
		return float64(m.Genome.Size()), true
	case "depth":
		return float64(m.Genome.Depth()), true
	case "steps":
		return float64(m.Outcome.Steps) / float64(len(m.Outcome.Scores)), true
	}
	v, ok = m.Outcome.Features[f.Name]
	return v, ok
}

// parents says whom children are made from and how one is drawn: of the cohort as
// selection is configured, but of the archive, where it holds anything, uniformly. For
// novelty the contestants are of the archive then, and the cohort's are neighbours too.
func (c Config) parents(cohort, archive []Member) ([]Member, population.Selector) {
	switch {
	case len(archive) == 0:
		return cohort, c.selector(cohort, nil)
	case c.Selection.Kind == "novelty":
		return archive, c.selector(archive, cohort)
	}
	return archive, func(rng *rand.Rand) int { return rng.Intn(len(archive)) }
}
