package promote

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

var (
	simulations  = flag.Int("simulations", 30, "simulated promotions of each kind")
	alternatives = flag.Bool("alternatives", false, "print the tests that were not chosen as well")
)

// What is declared in the simulations.
const (
	alpha, effect, power = 0.01, 0.05, 0.8
	maxN                 = 500
)

// judge is a Test, or one of those that were not chosen.
type judge interface {
	Look(pairs []Pair, measured int) Look
}

// design makes a judge and says when it looks.
type design func(p Plan) (Plan, judge)

func chosen(p Plan) (Plan, judge) { return p, NewTest(p) }

// promotion simulates one decision on pairs that are drawn from a recording.
func promotion(d design, draw source, seed uint64) Look {
	rng := rand.New(rand.NewPCG(seed, 1))
	p, j := d(NewPlan(alpha, effect, power, maxN, seed))
	var pairs []Pair
	for _, n := range p.Looks {
		for len(pairs) < n {
			pairs = append(pairs, draw(rng))
		}
		if l := j.Look(pairs, n); l.Stop != Going {
			return l
		}
	}
	panic("the last look does not end the comparison")
}

// tally counts how simulated promotions ended.
type tally struct {
	n     int
	ends  map[Stop]int
	cases float64 // mean
}

func (t tally) share(s Stop) float64 { return float64(t.ends[s]) / float64(t.n) }

// simulate spreads n promotions over the sources.
func simulate(d design, sources []source, n int) tally {
	looks := make([]Look, n)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := range next {
				looks[i] = promotion(d, sources[i%len(sources)], uint64(i))
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	t := tally{n: n, ends: map[Stop]int{}}
	for _, l := range looks {
		t.ends[l.Stop]++
		t.cases += float64(l.N) / float64(n)
	}
	return t
}

// lowerBound is the one-sided 95 % bound of a rate from k of n (Clopper and
// Pearson 1934): the rate at which k or more come with a chance of 5 %.
func lowerBound(k, n int) float64 {
	if k == 0 {
		return 0
	}
	low, high := 0.0, float64(k)/float64(n)
	for range 60 {
		p := (low + high) / 2
		below := 0.0
		for i := range k {
			a, _ := math.Lgamma(float64(n + 1))
			b, _ := math.Lgamma(float64(i + 1))
			c, _ := math.Lgamma(float64(n - i + 1))
			below += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		}
		if 1-below < 0.05 {
			low = p
		} else {
			high = p
		}
	}
	return low
}

// kinds are what is simulated. A gain of 5 % is made from recorded pairs whose
// own gain is from 5 to 10 %, by exchanging some; a regression is the same pair
// the other way round.
func kinds(t testing.TB) map[string][]source {
	all := recordings(t)
	m := map[string][]source{}
	for _, r := range all {
		for a := range r.scores[0] {
			m["A/A"] = append(m["A/A"], couple{r, a, a}.against)
		}
	}
	for _, c := range couples(all, 0.05, 0.10) {
		m["exchanged"] = append(m["exchanged"], c.exact(0))
		m["5 % better"] = append(m["5 % better"], c.exact(effect))
		m["5 % worse"] = append(m["5 % worse"], c.exact(-effect))
		if sd := c.spread(); sd > 4*effect {
			m["5 % better, noisiest"] = append(m["5 % better, noisiest"], c.exact(effect))
		}
	}
	for _, c := range couples(all, 0, 0.15) {
		m["levelled"] = append(m["levelled"], c.level)
	}
	for _, c := range couples(all, 0.10, 0.15) {
		m["10 % better"] = append(m["10 % better"], c.exact(0.10))
	}
	for _, c := range couples(all, 0.20, 0.30) {
		m["20 % better"] = append(m["20 % better"], c.exact(0.20))
	}
	return m
}

var order = []string{"A/A", "exchanged", "levelled", "5 % worse", "5 % better", "5 % better, noisiest", "10 % better", "20 % better"}

// The promises of the arbiter, on recorded scores; with -v the table that
// docs/decisions/0004 shows.
func TestCalibration(t *testing.T) {
	m := kinds(t)
	n := *simulations
	designs := []string{"chosen"}
	if *alternatives {
		designs = append(designs, others...)
	}
	for _, name := range designs {
		table(t, name, designed(name), m, n)
	}
}

func table(t *testing.T, name string, d design, m map[string][]source, n int) {
	fmt.Printf("%s: alpha %g, effect %g, power %g, at most %d cases, %d promotions of each kind\n", name, alpha, effect, power, maxN, n)
	fmt.Printf("%-22s %9s %9s %9s %9s %13s %7s\n", "", "promoted", "at least", "worse", "futile", "inconclusive", "cases")
	promoted, attempts := 0, 0
	for _, kind := range order {
		r := simulate(d, m[kind], n)
		low := lowerBound(r.ends[Better], n)
		fmt.Printf("%-22s %8.1f%% %8.1f%% %8.1f%% %8.1f%% %12.1f%% %7.0f\n", kind, 100*r.share(Better), 100*low,
			100*r.share(Worse), 100*r.share(Futile), 100*r.share(Inconclusive), r.cases)
		promoted, attempts = promoted+r.ends[Better], attempts+n
		if name == "chosen" {
			promise(t, kind, r, low)
		}
	}
	fmt.Printf("success rate (promotions over attempts, all kinds above): %.1f%%\n\n", 100*float64(promoted)/float64(attempts))
}

// With few cases every sum is coarse: alpha holds, and a large gain is found.
func TestFewCases(t *testing.T) {
	few := func(p Plan) (Plan, judge) {
		p = NewPlan(0.05, effect, power, 20, p.Seed)
		return p, NewTest(p)
	}
	m := kinds(t)
	for _, kind := range []string{"A/A", "exchanged"} {
		r := simulate(few, m[kind], 100)
		if lowerBound(r.ends[Better], r.n) > 0.05 {
			t.Errorf("%s: %d of %d promoted at alpha 0.05", kind, r.ends[Better], r.n)
		}
	}
	if r := simulate(few, m["20 % better"], 50); r.share(Better) < 0.9 {
		t.Errorf("only %d of 50 were found", r.ends[Better])
	}
}

// By hand: none of n has the bound 0, and all of n have the bound 0.05^(1/n).
func TestLowerBound(t *testing.T) {
	if got := lowerBound(0, 10); got != 0 {
		t.Error(got)
	}
	if got := lowerBound(10, 10); math.Abs(got-math.Pow(0.05, 0.1)) > 1e-6 {
		t.Error(got)
	}
}

func promise(t *testing.T, kind string, r tally, low float64) {
	t.Helper()
	switch kind {
	case "A/A", "exchanged", "levelled":
		if low > alpha {
			t.Errorf("%s: %d of %d promoted: surely above alpha %g", kind, r.ends[Better], r.n, alpha)
		}
	case "5 % worse":
		if r.share(Better) > 0.05 {
			t.Errorf("%s: %d of %d promoted", kind, r.ends[Better], r.n)
		}
	default:
		if r.share(Better) < power {
			t.Errorf("%s: only %d of %d promoted", kind, r.ends[Better], r.n)
		}
	}
}
