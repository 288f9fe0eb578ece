// Package promote judges whether a winner may replace an incumbent: pure rules
// over measurements that somebody else makes.
//
// The evidence is paired. Each case that the search never saw is scored under
// both policies; the pairs are looked at a few times, at sizes that are declared
// before the first is measured, and each look may end the comparison. However
// often it looks, a Test promotes a winner that is no better with a chance of at
// most alpha. Guardrails are apart from that: one that trips is a veto.
//
// What it promises, exactly: alpha holds whenever the two scores of a case could
// as well have come the other way round, whatever their distribution, ties and
// tails. Where the winner is another policy with the same mean and a skewed
// difference it holds about, and better with more cases; docs/decisions/0004
// has the figures. It promises nothing about cases unlike the sealed ones.
package promote

import (
	"fmt"
	"math"

	"jird/population"
)

// Plan is what is declared before any case of a decision is measured.
type Plan struct {
	Alpha  float64 // highest chance to promote a winner that is no better, one-sided
	Effect float64 // relative gain worth finding: 0.05 is a score 5 % lower
	Power  float64 // wanted chance to promote a winner that is better by Effect
	Looks  []int   // numbers of cases after which the evidence is judged; the last is the most
	Seed   uint64  // of the sign flips and of the order of measuring
}

// lookFractions are the looks as parts of the largest n. A large gain shows in
// few cases, so the first looks are close together.
var lookFractions = []float64{0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1}

// fewest is the least cases that a look before the last judges: of fewer than
// ten even all in favour would not be enough at alpha 0.001.
const fewest = 10

// NewPlan places the looks for at most maxN cases, one or more.
func NewPlan(alpha, effect, power float64, maxN int, seed uint64) Plan {
	p := Plan{Alpha: alpha, Effect: effect, Power: power, Seed: seed}
	for _, f := range lookFractions {
		n := min(maxN, max(fewest, int(math.Ceil(f*float64(maxN)))))
		if len(p.Looks) == 0 || p.Looks[len(p.Looks)-1] < n {
			p.Looks = append(p.Looks, n)
		}
	}
	return p
}

// MaxN is the most cases that are measured.
func (p Plan) MaxN() int { return p.Looks[len(p.Looks)-1] }

// Metric names what is compared and how, for the record.
const Metric = "score: sum of numerators over sum of denominators, lower is better; group-sequential sign-flip test of the paired differences, one-sided, futile when a gain of the effect of interest is ruled out"

// Pair is one case under both policies.
type Pair struct {
	Incumbent, Winner population.Score
}

// differences are what the winner saves on each case, in units of the
// numerator. The score is a ratio of sums, so each numerator is taken against
// what its denominator would cost at the pooled score R: then the sum has the
// sign of the difference of the two scores, and an exchange of the two policies
// in one case changes the sign of its difference and nothing else. Where both
// have the same denominator it is simply the difference of the numerators.
func differences(pairs []Pair) []float64 {
	var num, den float64
	for _, p := range pairs {
		num += p.Incumbent.Num + p.Winner.Num
		den += p.Incumbent.Den + p.Winner.Den
	}
	pooled := num / den
	d := make([]float64, len(pairs))
	for i, p := range pairs {
		d[i] = p.Incumbent.Num - p.Winner.Num
		if p.Incumbent.Den != p.Winner.Den {
			d[i] -= pooled * (p.Incumbent.Den - p.Winner.Den)
		}
	}
	return d
}

// Scores are the two policies' scores over some pairs.
func Scores(pairs []Pair) (incumbent, winner float64) {
	var a, b []population.Score
	for _, p := range pairs {
		a, b = append(a, p.Incumbent), append(b, p.Winner)
	}
	return population.Mean(a), population.Mean(b)
}

// Stop says why a comparison ended.
type Stop string

// The ways in which a comparison ends. Only Better promotes.
const (
	Going        Stop = ""             // not yet
	Better       Stop = "better"       // the winner crossed the bound
	Worse        Stop = "worse"        // the incumbent crossed it: the winner is a regression
	Futile       Stop = "futile"       // the effect of interest is ruled out
	Inconclusive Stop = "inconclusive" // the largest n was reached
	Vetoed       Stop = "vetoed"       // a guardrail tripped
	Same         Stop = "same"         // the search found nothing but the incumbent
	Lost         Stop = "lost"         // the incumbent was replaced meanwhile
)

// Look is one judgement of the evidence.
type Look struct {
	N         int     `json:"n"`         // cases measured
	Incumbent float64 `json:"incumbent"` // score on those that both were scored on
	Winner    float64 `json:"winner"`
	// Statistic is what the winner saves per unit of denominator: with equal
	// denominators the difference of the two scores.
	Statistic float64  `json:"statistic"`
	Bound     *float64 `json:"bound"`  // the statistic that promotes at this look; nil when none does
	P         float64  `json:"p"`      // share of the sign flips with a statistic as high, this look alone
	Chance    float64  `json:"chance"` // of so small a gain, were the true one the effect of interest
	Stop      Stop     `json:"stop"`
}

// Reason puts the end of a comparison in words; a veto has its own.
func (p Plan) Reason(l Look) string {
	found := fmt.Sprintf("on %d unseen cases it scores %.4g, the incumbent %.4g (p = %.2g, alpha %g)", l.N, l.Winner, l.Incumbent, l.P, p.Alpha)
	switch l.Stop {
	case Better:
		return "better: " + found
	case Worse:
		return "worse: " + found
	case Futile:
		return fmt.Sprintf("futile: %s; were it %g %% better, so little would show with a chance of %.2g", found, 100*p.Effect, l.Chance)
	case Same:
		return "the search found nothing better than the incumbent"
	}
	return fmt.Sprintf("inconclusive at %d: %s", l.N, found)
}
