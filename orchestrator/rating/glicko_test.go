package rating

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

// matches draws some between n sides.
func matches(t *rapid.T, n, most int) []Match {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Match {
		a := rapid.IntRange(0, n-1).Draw(t, "a")
		b := (a + rapid.IntRange(1, n-1).Draw(t, "further")) % n
		return Match{a, b, float64(rapid.IntRange(0, 4).Draw(t, "quarters")) / 4}
	}), 0, most).Draw(t, "matches")
}

// The worked example of Glickman (2013).
func TestGlickoPublishedExample(t *testing.T) {
	before := []Rating{{1500, 200, 0.06}, {1400, 30, 0.06}, {1550, 100, 0.06}, {1700, 300, 0.06}}
	after, err := Glicko(before, []Match{{0, 1, 1}, {2, 0, 1}, {0, 3, 0}})
	if err != nil {
		t.Fatal(err)
	}
	if r := after[0]; !near(r.Rating, 1464.06, 0.01) || !near(r.RD, 151.52, 0.01) || !near(r.Volatility, 0.05999, 0.00001) {
		t.Errorf("%+v", r)
	}
	if before[0].Rating != 1500 {
		t.Error("the ratings before were changed")
	}
}

// Step 6 of the paper: without a match only the RD grows, to sqrt(phi^2+sigma^2).
func TestGlickoOfAnIdleSide(t *testing.T) {
	after, err := Glicko([]Rating{{1600, 50, 0.06}, {1500, 350, 0.06}, {1500, 350, 0.06}}, []Match{{1, 2, 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	if r := after[0]; r.Rating != 1600 || r.Volatility != 0.06 || !near(r.RD, math.Sqrt(50*50+math.Pow(0.06*173.7178, 2)), 1e-9) {
		t.Errorf("%+v", r)
	}
}

// The volatility is where the paper's f is zero, for calm and for shocking results.
func TestVolatilityIsTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sigma := rapid.Float64Range(0.01, 0.3).Draw(t, "sigma")
		phi := rapid.Float64Range(0.1, 3).Draw(t, "phi")
		v := rapid.Float64Range(0.01, 10).Draw(t, "v")
		delta := rapid.Float64Range(-10, 10).Draw(t, "delta")
		f := func(x float64) float64 {
			e := math.Exp(x)
			return e*(delta*delta-phi*phi-v-e)/(2*math.Pow(phi*phi+v+e, 2)) - (x-2*math.Log(sigma))/0.25
		}
		x := 2 * math.Log(volatility(sigma, phi, v, delta))
		if f(x-1e-5) <= 0 || f(x+1e-5) >= 0 {
			t.Fatalf("f goes from %g to %g around %g", f(x-1e-5), f(x+1e-5), x)
		}
	})
}

// Neither names nor seats nor the order of matches have a say.
func TestGlickoIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 5
		played := matches(t, n, 30)
		name := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "names")
		var other []Match
		for _, m := range slices.Backward(played) {
			other = append(other, Match{name[m.B], name[m.A], 1 - m.Score})
		}
		one, err := Glicko(NewRatings(n), played)
		if err != nil {
			t.Fatal(err)
		}
		two, err := Glicko(NewRatings(n), other)
		if err != nil {
			t.Fatal(err)
		}
		for i := range one {
			if a, b := one[i], two[name[i]]; !near(a.Rating, b.Rating, 1e-6) || !near(a.RD, b.RD, 1e-6) || !near(a.Volatility, b.Volatility, 1e-9) {
				t.Fatalf("side %d: %+v, %+v", i, a, b)
			}
		}
	})
}

// What the doc says of unequal opponents: 2 beat the one who had won, 3 the one
// who had lost. One period cannot tell them apart, a period for each round can.
func TestGlickoPeriodsSeeTheOpponents(t *testing.T) {
	first, second := []Match{{0, 1, 1}}, []Match{{2, 0, 1}, {3, 1, 1}}
	whole, _ := Glicko(NewRatings(4), slices.Concat(first, second))
	rounds, _ := Glicko(NewRatings(4), first)
	rounds, _ = Glicko(rounds, second)
	if whole[2] != whole[3] {
		t.Errorf("one period: %+v, %+v", whole[2], whole[3])
	}
	if rounds[2].Rating < rounds[3].Rating+50 {
		t.Errorf("two periods: %+v, %+v", rounds[2], rounds[3])
	}
}

// Red against blue, strengths 200 points apart: the order is found, and the
// distances are not far off.
func TestGlickoFindsStrengths(t *testing.T) {
	strength := []float64{1200, 1600, 1400, 1500, 1300, 1700} // 0 to 2 are red
	rng := rand.New(rand.NewPCG(1, 1))
	var played []Match
	for range 200 {
		for _, p := range RedBlue([]int{0, 1, 2}, []int{3, 4, 5}) {
			played = append(played, play(rng, strength, p))
		}
	}
	after, err := Glicko(NewRatings(6), played)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][2]int{{1, 2}, {2, 0}, {5, 3}, {3, 4}} {
		if d := after[p[0]].Rating - after[p[1]].Rating; d < 100 || d > 300 {
			t.Errorf("%d is %.0f above %d", p[0], d, p[1])
		}
	}
}

// play draws a result by Elo's formula.
func play(rng *rand.Rand, strength []float64, p Pairing) Match {
	m := Match{A: p.A, B: p.B}
	if rng.Float64() < expected(strength[p.A]-strength[p.B]) {
		m.Score = 1
	}
	return m
}

func expected(d float64) float64 { return 1 / (1 + math.Pow(10, -d/400)) }

func TestWhatIsNoMatchIsRefused(t *testing.T) {
	for _, m := range []Match{{0, 0, 1}, {-1, 0, 1}, {0, 2, 1}, {0, 1, -0.1}, {0, 1, 1.1}, {0, 1, math.NaN()}} {
		if _, err := Tally(2, []Match{m}); err == nil {
			t.Errorf("Tally takes %+v", m)
		}
		if _, err := Glicko(NewRatings(2), []Match{m}); err == nil {
			t.Errorf("Glicko takes %+v", m)
		}
	}
	for _, r := range []Rating{{math.NaN(), 350, 0.06}, {math.Inf(1), 350, 0.06}, {1500, 0, 0.06}, {1500, 350, 0}, {1500, math.NaN(), 0.06}} {
		if _, err := Glicko([]Rating{r}, nil); err == nil {
			t.Errorf("Glicko takes %+v", r)
		}
	}
}

func TestTallyAndSub(t *testing.T) {
	table, err := Tally(3, []Match{{0, 1, 1}, {1, 0, 0.5}, {0, 2, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	if c := table[0][1]; c != (Cell{Games: 2, Wins: 1, Points: 1.5}) || c.Rate() != 0.75 {
		t.Errorf("%+v", c)
	}
	if c := table[1][0]; c != (Cell{Games: 2, Losses: 1, Points: 0.5}) {
		t.Errorf("%+v", c)
	}
	if s := table.Sub([]int{2}, []int{1, 0}); !math.IsNaN(s[0][0].Rate()) || s[0][1].Points != 0.75 || s[0][1].Wins != 1 {
		t.Errorf("%+v", s)
	}
}
