package promote

import (
	"math"
	"math/rand/v2"
	"slices"
)

// flips is how many ways to exchange the pairs stand beside the one measured.
// One more makes 10,000, so that an alpha of 0.01 is 100 of them.
const flips = 9_999

// Test is a comparison under way: the exact group-sequential form of Fisher's
// sign-flip test (Mehta, Patel, Senchaudhuri and Tsiatis 1994) with alpha spent by a
// function of the cases seen (Lan and DeMets 1983).
//
// The measured signs are one of flips+1 equally likely histories if the two
// policies could be exchanged in each case. At each look the best histories
// leave, as many as alpha has been spent on: the measured one leaves by the end
// with a chance of at most alpha. Ties leave together or stay, so discrete
// scores cost power, never alpha. Looking less often, or stopping early without
// a promotion, can only lower it: futility is not binding.
//
// Not safe for concurrent use.
type Test struct {
	plan     Plan
	spend    func(t float64) float64 // share of alpha spent by t, the part of the largest n; rises from 0 to 1
	seen     int                     // cases, at the look before
	up, down tail
}

// tail is one end of the distribution: which histories have left it.
type tail struct {
	gone  []bool // [0] is the measured history
	count int
}

// evenly spends alpha by cases, alpha*t: of the families that were tried it
// needs the fewest cases, see docs/decisions/0004.
func evenly(t float64) float64 { return t }

// NewTest starts a comparison.
func NewTest(p Plan) *Test {
	return &Test{
		plan: p, spend: evenly,
		up: tail{gone: make([]bool, flips+1)}, down: tail{gone: make([]bool, flips+1)},
	}
}

// Look judges all pairs so far, of so many measured cases as the plan's next
// look says: cases without a pair count as seen, and as no evidence.
func (t *Test) Look(pairs []Pair, measured int) Look {
	l := Look{N: measured, P: 1, Chance: 1}
	if len(pairs) > 0 {
		t.weigh(&l, pairs)
	}
	l.Stop = t.stop(l)
	t.seen = measured
	return l
}

func (t *Test) weigh(l *Look, pairs []Pair) {
	d := differences(pairs)
	sums := t.histories(d)
	den := 0.0
	for _, p := range pairs {
		den += (p.Incumbent.Den + p.Winner.Den) / 2
	}
	unit := quantum(d)
	l.Incumbent, l.Winner = Scores(pairs)
	l.Statistic, l.P, l.Chance = sums[0]*unit/den, share(sums), t.chance(pairs, d)
	quota := t.quota(l.N)
	if bound, ok := t.up.leave(sums, quota); ok {
		b := bound * unit / den
		l.Bound = &b
	}
	for i := range sums {
		sums[i] = -sums[i]
	}
	t.down.leave(sums, quota)
}

func (t *Test) stop(l Look) Stop {
	switch {
	case t.up.gone[0]:
		return Better
	case t.down.gone[0]:
		return Worse
	case l.N >= t.plan.MaxN():
		return Inconclusive
	case l.Chance < t.given(l.N):
		return Futile
	}
	return Going
}

// given is the chance to give up a winner that is as good as wanted, spent at
// this look: half of what the plan's power leaves, evenly by cases (the sum over
// the looks bounds the whole). The other half is for missing the bound.
func (t *Test) given(n int) float64 {
	return (1 - t.plan.Power) / 2 * float64(n-t.seen) / float64(t.plan.MaxN())
}

// quota is how many histories may have left by n cases.
func (t *Test) quota(n int) int {
	spent := t.plan.Alpha * t.spend(float64(n)/float64(t.plan.MaxN()))
	return int(math.Floor(spent*(flips+1) + 1e-9)) // 0.01 of 10,000 is 100
}

// quantum is the unit in which differences are summed: sums of whole numbers
// below 2^53 are exact, so that equal sums are equal.
func quantum(d []float64) float64 {
	most, whole := 0.0, true
	for _, x := range d {
		most = max(most, math.Abs(x))
		whole = whole && x == math.Trunc(x)
	}
	if most == 0 || whole && most < 1<<30 {
		return 1
	}
	return most / (1 << 30)
}

// histories returns the sum of the differences under each history's signs, in
// quanta, the measured one first. A history keeps its signs from look to look:
// they are drawn again from the same seed, which costs less than to keep them.
func (t *Test) histories(d []float64) []float64 {
	sums := make([]float64, flips+1)
	rng, unit := rand.New(rand.NewPCG(t.plan.Seed, 0)), quantum(d)
	for _, x := range d {
		whole := math.Round(x / unit)
		signed := [2]float64{whole, -whole}
		measured := sums[0] + whole
		for from := 0; from < len(sums); from += 64 {
			block := sums[from:min(from+64, len(sums))]
			word := rng.Uint64() // one bit a history
			for i := range block {
				block[i] += signed[word&1]
				word >>= 1
			}
		}
		sums[0] = measured
	}
	return sums
}

// share is the part of the histories as high as the measured one, which is one
// of them: never zero (Phipson and Smyth 2010).
func share(sums []float64) float64 {
	n := 0
	for _, s := range sums {
		if s >= sums[0] {
			n++
		}
	}
	return float64(n) / float64(len(sums))
}

// leave lets the highest histories go until quota have gone in all, never one
// without its equals, never one that is not above zero. It returns the lowest
// sum that leaves now.
func (t *tail) leave(sums []float64, quota int) (bound float64, some bool) {
	left := quota - t.count
	if left <= 0 {
		return 0, false
	}
	var here []float64
	for i, s := range sums {
		if !t.gone[i] && s > 0 {
			here = append(here, s)
		}
	}
	slices.Sort(here)
	slices.Reverse(here)
	end := min(left, len(here))
	for end > 0 && end < len(here) && here[end-1] == here[end] {
		end--
	}
	if end == 0 {
		return 0, false
	}
	bound = here[end-1]
	for i, s := range sums {
		t.gone[i] = t.gone[i] || s >= bound
	}
	t.count += end
	return bound, true
}

// chance is that of so small a gain, were the true one the effect of interest:
// the normal quantile of how far the differences lie below it. Differences that
// are all equal have no spread to go by, and leave it open.
func (t *Test) chance(pairs []Pair, d []float64) float64 {
	n := float64(len(d))
	var total, squares, cost float64
	for i, x := range d {
		total += x
		squares += x * x
		cost += pairs[i].Incumbent.Num
	}
	spread := math.Sqrt(max(0, squares-total*total/n) / max(1, n-1))
	if spread == 0 {
		return 1
	}
	return normal((total - t.plan.Effect*math.Abs(cost)) / (spread * math.Sqrt(n)))
}

func normal(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
