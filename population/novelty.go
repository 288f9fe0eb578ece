package population

import (
	"math"
	"math/rand"
	"slices"
)

// nearest is how many neighbours novelty is taken over: Lehman and Stanley's 15.
const nearest = 15

// Novelty draws size contestants of the cohort with replacement; the most novel wins
// (Lehman, Stanley 2011), of equally novel ones the first. As in a Tournament, genomes
// of equal scores are one contestant. It is as novel as the mean distance of its scores
// to those of the 15 nearest other genomes, in cohort and others. The distance is
// Euclidean over the cases, each scaled by the range of its scores, so that none
// outweighs the rest. What failed is no contestant and no neighbour.
//
// Contestants are measured when they are drawn, once: at most n of them, in n*n*cases
// steps. The selector is for one goroutine.
func Novelty(cohort, others []Measured, size int) Selector {
	classes, _ := distinct(cohort)
	if len(classes) == 0 {
		return func(rng *rand.Rand) int { return rng.Intn(len(cohort)) }
	}
	points, place := behaviours(slices.Concat(cohort, others))
	known := map[int]float64{} // by class
	novelty := func(class int) float64 {
		if _, done := known[class]; !done {
			known[class] = isolation(points, place[cohort[classes[class][0]].Genome.Hash()])
		}
		return known[class]
	}
	return func(rng *rand.Rand) int {
		best := rng.Intn(len(classes))
		for range size - 1 {
			if c := rng.Intn(len(classes)); novelty(c) > novelty(best) {
				best = c
			}
		}
		class := classes[best]
		return class[rng.Intn(min(len(class), parsimonious))]
	}
}

// behaviours are the scaled scores of every genome that did not fail, once each, and
// where they stand by hash.
func behaviours(all []Measured) (points [][]float64, place map[string]int) {
	place = map[string]int{}
	for _, m := range all {
		if _, there := place[m.Genome.Hash()]; there || m.Outcome.Status != OK {
			continue
		}
		place[m.Genome.Hash()] = len(points)
		values := make([]float64, len(m.Outcome.Scores))
		for c, s := range m.Outcome.Scores {
			values[c] = s.Value()
		}
		points = append(points, values)
	}
	scale(points)
	return points, place
}

// scale maps each case to 0..1. It works with halves: the range of finite scores may be
// infinite.
func scale(points [][]float64) {
	for c := range points[0] {
		low, high := math.Inf(1), math.Inf(-1)
		for _, p := range points {
			low, high = min(low, p[c]/2), max(high, p[c]/2)
		}
		for _, p := range points {
			if high > low {
				p[c] = (p[c]/2 - low) / (high - low)
			} else {
				p[c] = 0
			}
		}
	}
}

// isolation is the mean distance of a point to its nearest others.
func isolation(points [][]float64, of int) float64 {
	var distances []float64
	for i, p := range points {
		if i == of {
			continue
		}
		sum := 0.0
		for c, v := range p {
			d := v - points[of][c]
			sum += d * d
		}
		distances = append(distances, math.Sqrt(sum))
	}
	slices.Sort(distances)
	distances = distances[:min(nearest, len(distances))]
	sum := 0.0
	for _, d := range distances {
		sum += d
	}
	return sum / float64(max(1, len(distances)))
}
