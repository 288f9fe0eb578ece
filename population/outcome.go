package population

import (
	"context"
	"math"
)

// Status says how the measurement of one candidate ended. A candidate that
// fails is a measurement, not an error.
type Status string

// The ways in which a measurement ends.
const (
	OK      Status = "ok"      // every case was scored
	Fuel    Status = "fuel"    // the deterministic step budget ran out
	Type    Status = "type"    // the policy answered something that is not a finite real
	Crash   Status = "crash"   // the process that ran the candidate died, repeated alone in a fresh shadow
	Memory  Status = "memory"  // the heap limit was reached, repeated alone in a fresh shadow
	Timeout Status = "timeout" // the CPU limit was reached
	Garbage Status = "garbage" // the answer was not of the protocol's form
	Cascade Status = "cascade" // the first cases were scored too badly to go on
)

// Statuses are all of them.
var Statuses = []Status{OK, Fuel, Type, Crash, Memory, Timeout, Garbage, Cascade}

// Score is what the referee gave for one case: the fraction Num/Den, lower is
// better. Both are kept because the mean over cases is the sum of the
// numerators over the sum of the denominators. Num and Den are finite, Den is
// above zero.
type Score struct {
	Num, Den float64
}

// Value is the score of the case as one number.
func (s Score) Value() float64 { return s.Num / s.Den }

// Pairs are scores as JSON has them, [[num, den], ...]: its shortest digits round-trip.
func Pairs(scores []Score) [][2]float64 {
	all := make([][2]float64, len(scores))
	for i, s := range scores {
		all[i] = [2]float64{s.Num, s.Den}
	}
	return all
}

// FromPairs are the scores that Pairs wrote, nil for none.
func FromPairs(all [][2]float64) []Score {
	var scores []Score
	for _, p := range all {
		scores = append(scores, Score{Num: p[0], Den: p[1]})
	}
	return scores
}

// Outcome is the measurement of one genome on one list of cases.
type Outcome struct {
	Status Status
	Detail string  // for people; empty when Status is OK, but for what open code raised
	Scores []Score // one per case, in the order of the cases; nil unless Status is OK
	Steps  int64   // fuel used, in steps of the metered evaluator

	Features map[string]float64 // what the referee reports beside scores, by name; nil for none
}

// WorstFitness is the fitness of a candidate that failed. It is finite: the
// genetic loop compares and averages fitness, and must never meet a NaN.
const WorstFitness = math.MaxFloat64 / 1e10

// Fitness is the mean of the outcome over its cases: lower is better.
func (o Outcome) Fitness() float64 {
	if o.Status != OK || len(o.Scores) == 0 {
		return WorstFitness
	}
	return Mean(o.Scores)
}

// Mean is the sum of the numerators over the sum of the denominators.
// It is zero for no scores.
func Mean(scores []Score) float64 {
	var num, den float64
	for _, s := range scores {
		num += s.Num
		den += s.Den
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// Evaluator measures genomes. The layer above implements it with shadows; the
// genetic loop only asks.
//
// Evaluate returns one outcome per genome, by index. Genomes of one call are
// distinct by hash. An error means that the measurement could not be made (a
// lost store, no isolation, a cancelled context), never that a candidate is
// bad. The loop calls it once per generation, from one goroutine at a time.
type Evaluator interface {
	Evaluate(ctx context.Context, genomes []*Genome) ([]Outcome, error)
}
