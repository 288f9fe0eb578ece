package rating

import (
	"fmt"
	"math"
)

// Rating is a side's strength by Glicko-2. A side 200 points above another is
// expected to score 0.76 against it, were both known exactly.
type Rating struct {
	Rating     float64 // on Elo's scale, centred on 1500
	RD         float64 // standard deviation of Rating; 95 % lies within 1.96 RD
	Volatility float64 // how much the strength is expected to change in a period
}

// What a side has before it played, and the constants of the system, all as
// Glickman (2013) gives them. tau, which bounds how fast the volatility changes,
// is his example's; he calls 0.3 to 1.2 reasonable.
const (
	startRating     = 1500
	startRD         = 350
	startVolatility = 0.06
	glickoScale     = 173.7178 // points to the inner scale
	tau             = 0.5
	epsilon         = 1e-6 // convergence of the volatility's logarithm
)

// NewRatings are n sides of which nothing is known.
func NewRatings(n int) []Rating {
	all := make([]Rating, n)
	for i := range all {
		all[i] = Rating{startRating, startRD, startVolatility}
	}
	return all
}

// Glicko returns the ratings after one rating period by Glicko-2 (Glickman 2013,
// "Example of the Glicko-2 system"), before[i] being side i's before it. A side
// without a match keeps its rating and becomes less certain.
//
// A tournament is best one period, Glicko(NewRatings(n), matches): sides do not
// change while it lasts, and within a period the order of matches has no say.
// But a period takes the opponents as they were before it, so from equal starts
// it cannot see whose opponents were stronger. Where sides met different ones,
// as in a Swiss tournament, make each round a period: Glicko of Glicko.
//
// The error is that of a match (see Tally), or of a rating that is not finite or
// an RD or volatility that is not above zero.
func Glicko(before []Rating, matches []Match) ([]Rating, error) {
	if err := check(len(before), matches); err != nil {
		return nil, err
	}
	for i, r := range before {
		if !(math.Abs(r.Rating) < math.MaxFloat64 && r.RD > 0 && r.RD < math.MaxFloat64 && r.Volatility > 0 && r.Volatility < math.MaxFloat64) {
			return nil, fmt.Errorf("side %d has the impossible rating %+v", i, r)
		}
	}
	// information is 1/v and surplus is delta/v in the paper's terms.
	information, surplus := make([]float64, len(before)), make([]float64, len(before))
	meet := func(side, opponent int, score float64) {
		phi := before[opponent].RD / glickoScale
		g := 1 / math.Sqrt(1+3*phi*phi/(math.Pi*math.Pi))
		expected := 1 / (1 + math.Exp(-g*(before[side].Rating-before[opponent].Rating)/glickoScale))
		information[side] += g * g * expected * (1 - expected)
		surplus[side] += g * (score - expected)
	}
	for _, m := range matches {
		meet(m.A, m.B, m.Score)
		meet(m.B, m.A, 1-m.Score)
	}
	after := make([]Rating, len(before))
	for i, r := range before {
		after[i] = r.update(information[i], surplus[i])
	}
	return after, nil
}

// update is steps 5 to 8 of the paper.
func (r Rating) update(information, surplus float64) Rating {
	phi := r.RD / glickoScale
	if information == 0 { // no match, or only foregone ones
		r.RD = glickoScale * math.Hypot(phi, r.Volatility)
		return r
	}
	v := 1 / information
	r.Volatility = volatility(r.Volatility, phi, v, v*surplus)
	wide := math.Hypot(phi, r.Volatility)
	variance := 1 / (1/(wide*wide) + information)
	r.Rating += glickoScale * variance * surplus
	r.RD = glickoScale * math.Sqrt(variance)
	return r
}

// volatility finds the new sigma as the root of f, by the Illinois variant of
// regula falsi (step 5).
func volatility(sigma, phi, v, delta float64) float64 {
	a := math.Log(sigma * sigma)
	f := func(x float64) float64 {
		e := math.Exp(x)
		d := phi*phi + v + e
		return e*(delta*delta-d)/(2*d*d) - (x-a)/(tau*tau)
	}
	low, high := a, 0.0
	if excess := delta*delta - phi*phi - v; excess > 0 {
		high = math.Log(excess)
	} else {
		high = a - tau
		for f(high) < 0 {
			high -= tau
		}
	}
	atLow, atHigh := f(low), f(high)
	for math.Abs(high-low) > epsilon {
		next := low + (low-high)*atLow/(atHigh-atLow)
		at := f(next)
		if at*atHigh <= 0 {
			low, atLow = high, atHigh
		} else {
			atLow /= 2
		}
		high, atHigh = next, at
	}
	return math.Exp(low / 2)
}
