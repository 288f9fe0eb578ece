package population

import (
	"cmp"
	"math"
	"math/rand"
	"slices"
)

// Measured is a genome with its outcome: what selection sees.
type Measured struct {
	Genome  *Genome
	Outcome Outcome
}

// Compare orders by fitness, then size, then hash: parsimony decides ties, and
// the order is total.
func Compare(a, b Measured) int {
	return cmp.Or(
		cmp.Compare(a.Outcome.Fitness(), b.Outcome.Fitness()),
		cmp.Compare(a.Genome.Size(), b.Genome.Size()),
		cmp.Compare(a.Genome.Hash(), b.Genome.Hash()))
}

// Selector draws parents from a cohort by index.
type Selector func(rng *rand.Rand) int

// Tournament draws size contestants with replacement; the best wins. Genomes of
// equal scores are one contestant, or the cohort would fill with those that do the
// same; which of them is meant is drawn from the smallest few.
func Tournament(cohort []Measured, size int) Selector {
	classes, _ := distinct(cohort)
	if len(classes) == 0 {
		return func(rng *rand.Rand) int { return rng.Intn(len(cohort)) }
	}
	return func(rng *rand.Rand) int {
		best := rng.Intn(len(classes))
		for range size - 1 {
			if c := rng.Intn(len(classes)); Compare(cohort[classes[c][0]], cohort[classes[best][0]]) < 0 {
				best = c
			}
		}
		class := classes[best]
		return class[rng.Intn(min(len(class), parsimonious))]
	}
}

// Lexicase filters the cohort by one case after the other, in an order drawn
// anew each time, keeping the best (Spector 2012).
func Lexicase(cohort []Measured) Selector { return lexicase(cohort, false) }

// EpsilonLexicase keeps, at each case, all within the median absolute deviation
// of the best (La Cava, Spector, Danai 2016; the semi-dynamic form: epsilon is
// computed once over the cohort, the best among those still left).
func EpsilonLexicase(cohort []Measured) Selector { return lexicase(cohort, true) }

func lexicase(cohort []Measured, epsilon bool) Selector {
	classes, errors := distinct(cohort)
	if len(classes) == 0 {
		return func(rng *rand.Rand) int { return rng.Intn(len(cohort)) }
	}
	cases := len(errors[0])
	slack := make([]float64, cases)
	if epsilon {
		for c := range cases {
			slack[c] = deviation(cohort, c)
		}
	}
	return func(rng *rand.Rand) int {
		left := make([]int, len(classes))
		for i := range left {
			left[i] = i
		}
		for _, c := range rng.Perm(cases) {
			if len(left) == 1 {
				break
			}
			best := math.Inf(1)
			for _, i := range left {
				best = min(best, errors[i][c])
			}
			left = slices.DeleteFunc(left, func(i int) bool { return errors[i][c] > best+slack[c] })
		}
		class := classes[left[rng.Intn(len(left))]]
		return class[rng.Intn(min(len(class), parsimonious))]
	}
}

// parsimonious is how many of the smallest genomes of equal errors are drawn
// from.
const parsimonious = 3

// distinct groups the genomes that were scored by equal error vectors, smallest
// first within a group: filtering groups instead of genomes gives the same
// choice far faster where many are equal.
func distinct(cohort []Measured) (classes [][]int, errors [][]float64) {
	index := map[string]int{}
	for i, m := range cohort {
		if m.Outcome.Status != OK {
			continue
		}
		vector := make([]float64, len(m.Outcome.Scores))
		key := make([]byte, 0, 8*len(vector))
		for c, s := range m.Outcome.Scores {
			vector[c] = s.Value()
			bits := math.Float64bits(vector[c])
			for shift := 0; shift < 64; shift += 8 {
				key = append(key, byte(bits>>shift))
			}
		}
		at, ok := index[string(key)]
		if !ok {
			at = len(classes)
			index[string(key)] = at
			classes, errors = append(classes, nil), append(errors, vector)
		}
		classes[at] = append(classes[at], i)
	}
	for _, class := range classes {
		slices.SortStableFunc(class, func(a, b int) int { return Compare(cohort[a], cohort[b]) })
	}
	return classes, errors
}

// deviation is the median absolute deviation from the median of one case.
func deviation(cohort []Measured, c int) float64 {
	var values []float64
	for _, m := range cohort {
		if m.Outcome.Status == OK {
			values = append(values, m.Outcome.Scores[c].Value())
		}
	}
	middle := median(values)
	for i, v := range values {
		values[i] = math.Abs(v - middle)
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
