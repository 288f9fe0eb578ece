package promote

import "math"

// others are the designs that were not chosen; docs/decisions/0004 compares them.
var others = []string{"one look", "spending t^1.5", "O'Brien-Fleming", "Pocock", "20 looks", "e-process"}

func designed(name string) design {
	spending := func(f func(float64) float64) design {
		return func(p Plan) (Plan, judge) {
			t := NewTest(p)
			t.spend = f
			return p, t
		}
	}
	switch name {
	case "one look":
		return func(p Plan) (Plan, judge) { p.Looks = []int{maxN}; return chosen(p) }
	case "spending t^1.5":
		return spending(func(t float64) float64 { return math.Pow(t, 1.5) })
	case "O'Brien-Fleming": // Lan and DeMets 1983
		const z = 2.5758 // of alpha/2
		return spending(func(t float64) float64 { return 2 * normal(-z/math.Sqrt(t)) / alpha })
	case "Pocock": // Lan and DeMets 1983
		return spending(func(t float64) float64 { return math.Log(1 + (math.E-1)*t) })
	case "20 looks":
		return func(p Plan) (Plan, judge) { return chosen(twenty(p)) }
	case "e-process":
		return func(p Plan) (Plan, judge) { return twenty(p), &process{NewTest(twenty(p))} }
	}
	return chosen
}

func twenty(p Plan) Plan {
	p.Looks = nil
	for n := maxN / 20; n <= maxN; n += maxN / 20 {
		p.Looks = append(p.Looks, n)
	}
	return p
}

// process is an anytime-valid test under the same null hypothesis: for
// differences that are symmetric about zero exp(lS-l^2V/2) is a supermartingale,
// S their sum and V the sum of their squares (de la Pena 1999), and so is its
// mixture over l, a half-normal of precision rho (Howard et al. 2021), in closed
// form. A betting process on means would need bounds of the scores, which a
// referee does not declare. It is given the futility rule of the chosen test, and
// the rho that suits about 80 cases best.
type process struct{ *Test }

func (e *process) Look(pairs []Pair, measured int) Look {
	d := differences(pairs)
	var all float64
	for _, x := range d {
		all += x * x
	}
	rho := 80 * all / float64(len(d))
	var sum, squares float64
	for _, x := range d {
		sum += x
		squares += x * x
		wealth := func(s float64) float64 {
			v := squares + rho
			return 2 * math.Sqrt(rho/v) * math.Exp(s*s/(2*v)) * normal(s/math.Sqrt(v))
		}
		e.up.gone[0] = e.up.gone[0] || wealth(sum) >= 1/alpha
		e.down.gone[0] = e.down.gone[0] || wealth(-sum) >= 1/alpha
	}
	l := Look{N: measured, Chance: e.chance(pairs, d)}
	l.Stop = e.stop(l)
	e.seen = measured
	return l
}
