package experiments

import (
	"context"
	"errors"
	"fmt"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

// Matrix is which runs tell variants and controls apart.
type Matrix struct {
	Variants []string // none: all
	Seeds    int      // runs of each, from the spec's seed on
	Controls []string // random, best-of-n: beside each run, at as many evaluations
}

// Cell is one run of a matrix.
type Cell struct {
	Variant string
	Seed    uint64
	Control string // none: evolved
	Number  int    // from 1
	Of      int
}

func (c Cell) String() string {
	return fmt.Sprintf("%d of %d: %s, seed %d", c.Number, c.Of, wayOf(c.Variant, c.Control), c.Seed)
}

// RunMatrix carries out the runs of a matrix that are not done yet, one after the other,
// and returns the ids of all. None of them makes its winner live. begin is called before
// each.
func (l *Lab) RunMatrix(ctx context.Context, path string, m Matrix, o Options, begin func(Cell, Search)) (runs []string, err error) {
	o.Keep = true
	variants := m.Variants
	if len(variants) == 0 {
		variants = []string{""}
	}
	cell := Cell{Of: len(variants) * m.Seeds * (1 + len(m.Controls))}
	for k := range m.Seeds {
		for _, variant := range variants {
			evaluations := 0
			for _, control := range append([]string{"none"}, m.Controls...) {
				s, err := Load(path, variant)
				if err != nil {
					return nil, err
				}
				s.Seed += uint64(k)
				if s.Search.Control = control; control != "none" {
					s.Search.Budget, s.Search.Generations, s.Search.Stagnation, s.Search.Target = 0, 0, 0, nil
					s.Search.Evaluations = evaluations
				}
				cell.Variant, cell.Seed, cell.Control = s.Variant, s.Seed, control
				cell.Number++
				begin(cell, s.Search)
				run, n, err := l.cell(ctx, s, o)
				if err != nil {
					return nil, err
				}
				if control == "none" {
					evaluations = n
				}
				runs = append(runs, run)
			}
		}
	}
	return runs, nil
}

// cell carries a run out, goes on with it, or finds it done.
func (l *Lab) cell(ctx context.Context, s *Spec, o Options) (run string, evaluations int, err error) {
	p, _, err := l.planFor(ctx, s, o)
	if err != nil {
		return "", 0, err
	}
	first := p.Record
	s.Identify(&first)
	stored, err := l.Ledger.Load(first.ID)
	var result *orchestrator.Result
	switch {
	case errors.Is(err, ledger.ErrNoRun):
		result, err = l.start(ctx, s, p, o)
	case err == nil && stored.Status == orchestrator.RunDone:
		return first.ID, stored.Last.Evaluations, nil
	case err == nil:
		result, err = l.Resume(ctx, first.ID, o)
	}
	if err != nil {
		return "", 0, err
	}
	if result.Interrupted {
		return "", 0, fmt.Errorf("interrupted; the same command goes on (%w)", ctx.Err())
	}
	return result.Run, result.Evaluations, nil
}
