package rating

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// rates makes a table of them.
func rates(rows ...[]float64) Table {
	t := make(Table, len(rows))
	for i, row := range rows {
		for _, r := range row {
			t[i] = append(t[i], Cell{Games: 1, Points: r})
		}
	}
	return t
}

func equal(t *testing.T, name string, got []float64, err error, want ...float64) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Errorf("%s: %v, %v", name, got, err)
		return
	}
	for i := range got {
		if !near(got[i], want[i], 1e-9) {
			t.Errorf("%s: %v, want %v", name, got, want)
			return
		}
	}
}

func TestAlphaRank(t *testing.T) {
	for _, c := range []struct {
		name  string
		table Table
		want  []float64
	}{
		{"rock, paper, scissors", rates([]float64{0, 0, 1}, []float64{1, 0, 0}, []float64{0, 1, 0}), []float64{1. / 3, 1. / 3, 1. / 3}},
		{"narrow rock, paper, scissors", rates([]float64{0, 0.49, 0.9}, []float64{0.51, 0, 0.4}, []float64{0.1, 0.6, 0}), []float64{1. / 3, 1. / 3, 1. / 3}},
		{"one dominant", rates([]float64{0, 0, 1}, []float64{1, 0, 0.6}, []float64{0, 0.4, 0}), []float64{0, 1, 0}},
		{"two tied dominant", rates([]float64{0, 0.5, 1}, []float64{0.5, 0, 0.6}, []float64{0, 0.4, 0}), []float64{0.5, 0.5, 0}},
		{"all tied", rates([]float64{0, 0.5}, []float64{0.5, 0}), []float64{0.5, 0.5}},
		{"alone", rates([]float64{0}), []float64{1}},
		// 0 beats 1, 1 beats 2, and 2 ties 0. By hand: in at 0 from 2 by 1/4, out to
		// 2 by 1/4; 1 goes to 0 by 1/2; 2 goes to 1 by 1/2. So p1 = p2 and
		// p0/4 = p2/4 + p1/2 = 3/4 p2.
		{"a circle with a tie", rates([]float64{0, 1, 0.5}, []float64{0, 0, 1}, []float64{0.5, 0, 0}), []float64{0.6, 0.2, 0.2}},
	} {
		mass, err := AlphaRank(c.table)
		equal(t, c.name, mass, err, c.want...)
	}
}

func TestAlphaRankTwo(t *testing.T) {
	rows, columns, err := AlphaRankTwo(rates([]float64{0.9, 0.6}, []float64{0.7, 0.2}, []float64{0.8, 0.1}))
	equal(t, "saddle, rows", rows, err, 1, 0, 0)
	equal(t, "saddle, columns", columns, err, 0, 1)
	rows, columns, err = AlphaRankTwo(rates([]float64{1, 0}, []float64{0, 1}))
	equal(t, "matching pennies, rows", rows, err, 0.5, 0.5)
	equal(t, "matching pennies, columns", columns, err, 0.5, 0.5)
	rows, columns, err = AlphaRankTwo(rates([]float64{0.4, 0.6, 0.3}))
	equal(t, "one row", rows, err, 1)
	equal(t, "three columns", columns, err, 0, 0, 1)
	rows, columns, err = AlphaRankTwo(rates([]float64{0.5, 0.5}, []float64{0.5, 0.5}, []float64{0.4, 0.4}))
	equal(t, "ties, rows", rows, err, 0.5, 0.5, 0)
	equal(t, "ties, columns", columns, err, 0.5, 0.5)
}

// perturbed is the chain as OpenSpiel has it, with moves that lose made at eps,
// run until it stands still: the masses must be about the limit. better says
// whether a move from s to r gains 1, ties 0, loses -1, or is none.
func perturbed(n, moves int, eps float64, better func(s, r int) (int, bool)) []float64 {
	c := make([][]float64, n)
	for s := range c {
		c[s] = make([]float64, n)
		c[s][s] = 1
		for r := range n {
			if sign, ok := better(s, r); ok && r != s {
				c[s][r] = map[int]float64{1: 1 - eps, 0: 0.5, -1: eps}[sign] / float64(moves)
				c[s][s] -= c[s][r]
			}
		}
	}
	for range 30 { // squared, so 2^30 steps
		next := make([][]float64, n)
		for i := range next {
			next[i] = make([]float64, n)
			for k := range n {
				for j := range n {
					next[i][j] += c[i][k] * c[k][j]
				}
			}
			total := plus(next[i])
			for j := range n {
				next[i][j] /= total
			}
		}
		c = next
	}
	return c[0]
}

func sign(d float64) int {
	switch {
	case d > 1e-9:
		return 1
	case d < -1e-9:
		return -1
	}
	return 0
}

// The limit is the one that the perturbed chains come to, whatever the table:
// quarters make many ties.
func TestAlphaRankIsTheLimit(t *testing.T) {
	quarter := rapid.Map(rapid.IntRange(0, 4), func(q int) float64 { return float64(q) / 4 })
	compare := func(t *rapid.T, got, want []float64) {
		if !near(plus(got), 1, 1e-9) {
			t.Fatalf("%v sum to %v", got, plus(got))
		}
		for i := range want {
			if !near(got[i], want[i], 1e-3) {
				t.Fatalf("%v, but perturbed %v", got, want)
			}
		}
	}
	const eps = 1e-6
	t.Run("roster", rapid.MakeCheck(func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "n")
		table := make([][]float64, n)
		for a := range n {
			table[a] = make([]float64, n)
			for b := range a {
				table[a][b] = quarter.Draw(t, "rate")
				table[b][a] = 1 - table[a][b]
			}
		}
		got, err := AlphaRank(rates(table...))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, got, perturbed(n, n-1, eps, func(s, r int) (int, bool) { return sign(table[r][s] - 0.5), true }))
	}))
	t.Run("two", rapid.MakeCheck(func(t *rapid.T) {
		n, m := rapid.IntRange(1, 3).Draw(t, "rows"), rapid.IntRange(2, 3).Draw(t, "columns")
		table := make([][]float64, n)
		for a := range n {
			table[a] = rapid.SliceOfN(quarter, m, m).Draw(t, "row")
		}
		rows, columns, err := AlphaRankTwo(rates(table...))
		if err != nil {
			t.Fatal(err)
		}
		states := perturbed(n*m, n-1+m-1, eps, func(s, r int) (int, bool) {
			a, b, c, d := s/m, s%m, r/m, r%m
			if b == d {
				return sign(table[c][b] - table[a][b]), true
			}
			return sign(table[a][b] - table[a][d]), a == c
		})
		wantRows, wantColumns := make([]float64, n), make([]float64, m)
		for s, p := range states {
			wantRows[s/m] += p
			wantColumns[s%m] += p
		}
		compare(t, rows, wantRows)
		compare(t, columns, wantColumns)
	}))
}

// A long circle, of 51 sides that each beat the 25 after them.
func TestAlphaRankOfALongCircle(t *testing.T) {
	const n = 51
	table := make([][]float64, n)
	for a := range n {
		table[a] = make([]float64, n)
		for b := range n {
			if d := (b - a + n) % n; d > 0 && d <= n/2 {
				table[a][b] = 1
			}
		}
	}
	mass, err := AlphaRank(rates(table...))
	want := make([]float64, n)
	for i := range want {
		want[i] = 1. / n
	}
	equal(t, "circle", mass, err, want...)
}

func TestAlphaRankRefuses(t *testing.T) {
	unmet := rates([]float64{0, 1}, []float64{0, 0})
	unmet[0][1] = Cell{}
	for name, table := range map[string]Table{"nobody": {}, "ragged": rates([]float64{0, 1}, []float64{1}), "a pair that never met": unmet} {
		if mass, err := AlphaRank(table); err == nil {
			t.Errorf("%s: %v", name, mass)
		}
		if mass, _, err := AlphaRankTwo(table); err == nil {
			t.Errorf("%s: %v", name, mass)
		}
	}
	if _, _, err := AlphaRankTwo(make(Table, 51).Sub(nil, nil)); err == nil {
		t.Error("nobody")
	}
	if !math.IsNaN((Cell{}).Rate()) {
		t.Error("a rate of nothing")
	}
}

func plus(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}
