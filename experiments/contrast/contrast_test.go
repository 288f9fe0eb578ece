package contrast

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Fisher's test of Darwin's maize, in eighths of an inch (The Design of Experiments, 1935,
// sections 17 and 21): 1,726 of 32,768 signs give as much, p = 0.0527.
func TestDarwinsMaize(t *testing.T) {
	d := []float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}
	c := Paired(d, make([]float64, len(d)))
	if math.Abs(c.Difference-314./15) > 1e-12 || math.Abs(c.P-0.0527) > 0.005 { // drawn: 32,768 are above mostExact
		t.Errorf("%+v", c)
	}
	if c.Interval == nil || c.Interval[0] > 0 || c.Interval[0] < -3 || c.Interval[1] < 41 || c.Interval[1] > 45 { // Student's is -0.03 to 41.9
		t.Errorf("%+v", c.Interval)
	}
}

func TestSmallGroups(t *testing.T) {
	c := Unpaired([]float64{1, 2, 3}, []float64{4, 5, 6})
	if c.P != 0.1 || c.Better != 1 || c.Difference != -3 || c.Interval != nil { // 2 of 20 splits
		t.Errorf("%+v", c)
	}
	c = Paired([]float64{1, 1, 1, 1, 1, 1}, []float64{2, 3, 4, 5, 6, 7})
	if c.P != 2./64 || c.Interval == nil || c.Interval[1] >= 0 || c.Better != 1 {
		t.Errorf("%+v, %v", c, c.Interval)
	}
	if c = Paired([]float64{2, 2}, []float64{2, 2}); c.P != 1 || c.Better != 0.5 || c.Difference != 0 {
		t.Errorf("%+v", c)
	}
	if c = Paired([]float64{3}, []float64{1}); c.P != 1 || c.Interval != nil {
		t.Errorf("%+v", c)
	}
}

// Of groups that do not differ at most 5 % are found to, and 95 % of the intervals hold
// the true difference.
func TestCalibration(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	draw := func(n int, shift float64) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = math.Exp(rng.NormFloat64()) + shift
		}
		return all
	}
	const tries = 40
	for name, one := range map[string]func(a, b []float64) Contrast{"paired": Paired, "unpaired": Unpaired} {
		found, held := 0, 0
		for range tries {
			if one(draw(8, 0), draw(8, 0)).P <= 0.05 {
				found++
			}
			if i := one(draw(8, 3), draw(8, 0)).Interval; i != nil && i[0] <= 3 && 3 <= i[1] {
				held++
			}
		}
		if found > tries/10 || held < tries*9/10 {
			t.Errorf("%s: %d of %d found by chance, %d intervals hold the truth", name, found, tries, held)
		}
	}
}

func TestAdjust(t *testing.T) {
	all := []Contrast{{P: 0.04}, {P: 0.01}, {P: 0.03}, {P: 0.5}}
	Adjust(all)
	for i, want := range []float64{0.09, 0.04, 0.09, 0.5} {
		if math.Abs(all[i].Adjusted-want) > 1e-12 {
			t.Errorf("%d: %v, want %v", i, all[i].Adjusted, want)
		}
	}
}
