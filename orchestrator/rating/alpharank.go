package rating

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// mostStates bounds alpha-rank's dense system: 2,500 states are 50 MB and a few
// seconds.
const mostStates = 2500

// ErrNoAlpha is wrapped where a table is no game whose masses could be told.
var ErrNoAlpha = errors.New("no alpha-rank")

// AlphaRank is the mass that evolution leaves each side of a roster by alpha-rank
// (Omidshafiei et al. 2019, "alpha-Rank: Multi-Agent Evaluation by Evolution"): a
// population of one side turns into another that beats it, again and again; the
// masses, which sum to 1, are how often it is found at each. Sides that beat each
// other in a circle share it; a side that beats all others has it all.
//
// It is the limit of infinite selection intensity, without the paper's two
// parameters: from s the chain goes to each of the n-1 others r with probability
// 1/(n-1) if r's rate against s is above 1/2, half of that if they tie (the
// paper's 1/m for populations of m = 2, as in OpenSpiel), and 0 else. The paper
// and OpenSpiel add a small perturbation to make the chain irreducible, and let
// it vanish. Here it need not be added: of any two sides one leads to the other,
// so there is one closed class and one stationary distribution, which is the
// limit as the perturbation vanishes.
//
// However narrowly one side beats another, it beats it: use many matches a pair.
//
// t is square; only the cells above its diagonal are read. It errs on another
// shape, on a pair that never met, since nothing says who would win, and on more
// than 2,500 sides.
func AlphaRank(t Table) ([]float64, error) {
	n := len(t)
	if err := t.complete(n, n, n, func(a, b int) bool { return a < b }); err != nil {
		return nil, err
	}
	c := mat.NewDense(n, n, nil)
	for a := range n {
		for b := a + 1; b < n; b++ {
			rate := t[a][b].Rate()
			move(c, a, b, 1-rate, rate, n-1)
		}
	}
	return stationary(c)
}

// AlphaRankTwo is AlphaRank of two populations, rows against columns: the masses
// of the row sides and those of the column sides, each summing to 1. The states
// are the pairs of a row and a column side, and a move changes one of the two,
// for a better score against the other.
//
// Here too one closed class is certain, as scores sum to 1 (Biggar and Shames
// 2024, on zero-sum games). Suppose two, with the pairs (a,b) and (c,d). No move
// joins them, so (a,d) and (c,b) are in neither and lead to both: the row's score
// rises from (a,b) to (a,d) to (c,d), and from (c,d) to (c,b) to (a,b) as well.
//
// It errs as AlphaRank does, and on more than 2,500 pairs of sides.
func AlphaRankTwo(t Table) (rows, columns []float64, err error) {
	if len(t) == 0 {
		return nil, nil, errors.New("alpha-rank needs sides")
	}
	n, m := len(t), len(t[0])
	if err := t.complete(n, m, n*m, func(int, int) bool { return true }); err != nil {
		return nil, nil, err
	}
	c := mat.NewDense(n*m, n*m, nil)
	moves := n - 1 + m - 1
	for a := range n {
		for b := range m {
			rate := t[a][b].Rate()
			for other := a + 1; other < n; other++ {
				move(c, a*m+b, other*m+b, t[other][b].Rate(), rate, moves)
			}
			for other := b + 1; other < m; other++ {
				move(c, a*m+b, a*m+other, 1-t[a][other].Rate(), 1-rate, moves)
			}
		}
	}
	mass, err := stationary(c)
	if err != nil {
		return nil, nil, err
	}
	rows, columns = make([]float64, n), make([]float64, m)
	for s, p := range mass {
		rows[s/m] += p
		columns[s%m] += p
	}
	return rows, columns, nil
}

func (t Table) complete(n, m, states int, needed func(a, b int) bool) error {
	if states == 0 || states > mostStates {
		return fmt.Errorf("%w: it needs 1 to %d states, there are %d", ErrNoAlpha, mostStates, states)
	}
	for a := range t {
		if len(t[a]) != m {
			return fmt.Errorf("row %d of %d has %d cells, not %d", a, n, len(t[a]), m)
		}
		for b := range t[a] {
			if needed(a, b) && t[a][b].Games == 0 {
				return fmt.Errorf("%w: it needs every pair, but %d and %d never met", ErrNoAlpha, a, b)
			}
		}
	}
	return nil
}

// move sets both moves between the states r and s, one of so many from each: gain
// is what the mover has at r, stay what it has at s, seen from s.
func move(c *mat.Dense, s, r int, gain, stay float64, moves int) {
	eta := 1 / float64(moves)
	switch {
	case gain > stay+tie:
		c.Set(s, r, eta)
	case stay > gain+tie:
		c.Set(r, s, eta)
	default:
		c.Set(s, r, eta/2)
		c.Set(r, s, eta/2)
	}
}

// stationary solves p = pC and sum(p) = 1 for the chain with these moves; what is
// left of each row is the probability to stay.
func stationary(c *mat.Dense) ([]float64, error) {
	n, _ := c.Dims()
	a := mat.NewDense(n, n, nil)
	a.CloneFrom(c.T())
	for s := range n {
		a.Set(s, s, -mat.Sum(c.RowView(s)))
	}
	// The columns sum to 0, so that one equation says nothing new: the last makes
	// room for the sum.
	b := mat.NewVecDense(n, nil)
	for s := range n {
		a.Set(n-1, s, 1)
	}
	b.SetVec(n-1, 1)
	var p mat.VecDense
	if err := p.SolveVec(a, b); err != nil {
		return nil, fmt.Errorf("alpha-rank: %w", err)
	}
	mass := make([]float64, n)
	for s := range mass {
		mass[s] = max(0, p.AtVec(s)) // rounding may leave -1e-17
	}
	return mass, nil
}
