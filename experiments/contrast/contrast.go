// Package contrast says what a few numbers of two groups tell about their difference:
// exact permutation tests, the intervals that those tests give by inversion, and a
// correction for many comparisons (Ernst 2004, "Permutation methods: a basis for exact
// inference"). Nothing is assumed of how the numbers are spread. Everything is pure: the
// same numbers give the same answer.
package contrast

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Contrast is how one group differs from another.
type Contrast struct {
	Difference float64     `json:"difference"` // mean of the first less that of the second
	Interval   *[2]float64 `json:"interval"`   // of 95 %; null: so few numbers cannot give one
	Better     float64     `json:"better"`     // chance that one of the first is below one of the second, ties for half (Vargha and Delaney 2000)
	P          float64     `json:"p"`          // two-sided
	Adjusted   float64     `json:"adjusted"`   // P after Adjust
	Paired     bool        `json:"paired"`
	N          [2]int      `json:"n"`
}

const (
	// alpha of the intervals, two-sided.
	alpha = 0.05
	// mostExact is the number of permutations up to which all are taken; above it, as many
	// are drawn. A p of 0.05 then has a standard error of 0.0015.
	mostExact = 20_000
)

// Paired contrasts numbers that belong together by their place, such as of equal seeds:
// under the null hypothesis each difference has either sign (Fisher 1935). Both have the
// same length, one or more.
func Paired(a, b []float64) Contrast {
	d := make([]float64, len(a))
	won := 0.0
	for i := range a {
		d[i] = a[i] - b[i]
		won += below(a[i], b[i])
	}
	var all []line
	for _, signs := range flips(len(d)) {
		var l line
		for i, v := range d {
			l.at += float64(signs[i]) * v
			l.slope += float64(signs[i])
		}
		all = append(all, l)
	}
	return conclude(Contrast{Difference: mean(d), Better: won / float64(len(d)), Paired: true, N: [2]int{len(a), len(b)}}, all, spread(d))
}

// Unpaired contrasts two groups whose numbers have nothing to do with each other: under
// the null hypothesis each belongs to either. Neither is empty.
func Unpaired(a, b []float64) Contrast {
	won := 0.0
	for _, x := range a {
		for _, y := range b {
			won += below(x, y)
		}
	}
	all := slices.Concat(a, b)
	n, m := float64(len(a)), float64(len(b))
	total := n*mean(a) + m*mean(b)
	var lines []line
	for _, group := range splits(len(a), len(b)) {
		sum, shifted := 0.0, 0.0
		for _, i := range group {
			if sum += all[i]; i < len(a) {
				shifted++
			}
		}
		lines = append(lines, line{sum/n - (total-sum)/m, shifted/n - (n-shifted)/m})
	}
	c := Contrast{Difference: mean(a) - mean(b), Better: won / (n * m), N: [2]int{len(a), len(b)}}
	return conclude(c, lines, spread(all))
}

// line is the statistic of one permutation when the first group is shifted: at less the
// shift times slope.
type line struct{ at, slope float64 }

func conclude(c Contrast, lines []line, width float64) Contrast {
	p := func(shift float64) float64 { return extreme(lines, shift) }
	c.P = p(0)
	c.Adjusted = c.P
	low, found := edge(p, c.Difference, -width)
	high, also := edge(p, c.Difference, width)
	if found && also {
		c.Interval = &[2]float64{low, high}
	}
	return c
}

// extreme is the share of the permutations whose statistic is at least as far from zero
// as the first one's, which is the observed one. What differs by rounding alone is equal.
func extreme(lines []line, shift float64) float64 {
	observed := math.Abs(lines[0].at - shift*lines[0].slope)
	slack := 1e-9 * (observed + math.Abs(lines[0].at) + 1e-300)
	count := 0
	for _, l := range lines {
		if math.Abs(l.at-shift*l.slope) >= observed-slack {
			count++
		}
	}
	return float64(count) / float64(len(lines))
}

// edge is the shift, from the difference in the direction of step, at which p falls to
// alpha: beyond it no shift is believed.
func edge(p func(float64) float64, from, step float64) (shift float64, found bool) {
	if step == 0 { // all numbers are alike, and there is nothing between them
		return from, p(from+1) <= alpha
	}
	far := from + step
	for range 8 { // beyond a few widths p cannot fall any more
		if p(far) <= alpha {
			found = true
			break
		}
		far += 2 * (far - from)
	}
	if !found {
		return 0, false
	}
	near := from
	for range 30 { // to a millionth of the width
		if middle := near + (far-near)/2; p(middle) <= alpha {
			far = middle
		} else {
			near = middle
		}
	}
	return far, true
}

// flips are the ways to give n numbers signs, or some of them drawn; the first leaves all
// as they are.
func flips(n int) (all [][]int8) {
	count, exact := mostExact, false
	if n < 31 && 1<<n <= mostExact {
		count, exact = 1<<n, true
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for k := range count {
		signs := make([]int8, n)
		for i := range signs {
			signs[i] = 1
			if (exact && k>>i&1 == 1) || (!exact && k > 0 && rng.IntN(2) == 1) {
				signs[i] = -1
			}
		}
		all = append(all, signs)
	}
	return all
}

// splits are the ways to choose n of n+m, or some of them drawn; the first chooses the
// first n.
func splits(n, m int) (all [][]int) {
	first := make([]int, n)
	for i := range first {
		first[i] = i
	}
	if choices(n+m, n) > mostExact {
		rng := rand.New(rand.NewPCG(uint64(n), uint64(m)))
		for all = append(all, first); len(all) < mostExact; {
			all = append(all, rng.Perm(n + m)[:n])
		}
		return all
	}
	for chosen := first; chosen != nil; chosen = following(chosen, n+m) {
		all = append(all, chosen)
	}
	return all
}

// following is the choice of numbers below limit after one, in lexical order.
func following(chosen []int, limit int) []int {
	next := slices.Clone(chosen)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] <= limit-len(next)+i {
			for k := i + 1; k < len(next); k++ {
				next[k] = next[k-1] + 1
			}
			return next
		}
	}
	return nil
}

// choices is n over k, or any number above mostExact if that is more.
func choices(n, k int) int {
	c := 1
	for i := range k {
		if c = c * (n - i) / (i + 1); c > mostExact {
			return c
		}
	}
	return c
}

// Adjust corrects the contrasts for their number: the chance that any of them is below a
// level by luck is at most that level (Holm 1979).
func Adjust(all []Contrast) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(all[a].P, all[b].P) })
	least := 0.0
	for rank, i := range order {
		least = max(least, min(1, all[i].P*float64(len(all)-rank)))
		all[i].Adjusted = least
	}
}

func below(x, y float64) float64 {
	switch {
	case x < y:
		return 1
	case x == y:
		return 0.5
	}
	return 0
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func spread(values []float64) float64 { return slices.Max(values) - slices.Min(values) }
