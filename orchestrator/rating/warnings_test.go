package rating

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// history draws so many matches between champions that win by the given chance;
// each has met the opponents' up to its own generation.
func history(rng *rand.Rand, generations, each int, chance func(g, o int) float64) Table {
	h := make(Table, generations)
	for g := range h {
		h[g] = make([]Cell, g+1)
		for o := range g {
			for range each {
				score := 0.0
				if rng.Float64() < chance(g, o) {
					score = 1
				}
				h[g][o].add(score)
			}
		}
	}
	return h
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// Rock, paper, scissors, ...: each beats the one before and loses to the one
// before that.
func circle(g, o int) float64 { return []float64{0.5, 0.95, 0.05}[(g-o)%3] }

func TestCycling(t *testing.T) {
	c := FindCycling(history(rng(1), 9, 20, circle))
	if !c.Found || c.Lost < 5 || c.Judged <= c.Lost || c.P > 1e-4 || (c.Champion-c.Older)%3 != 2 || c.Champion-c.Older < 5 {
		t.Errorf("%+v", c)
	}
	if s := c.String(); !strings.HasPrefix(s, "cycling: ") {
		t.Error(s)
	}
	// One circle of three that is seen once may be chance; and four matches are none.
	if c := FindCycling(history(rng(1), 3, 20, circle)); c.Found || c.Judged != 1 || c.Lost != 1 || !near(c.P, 0.05, 1e-12) {
		t.Errorf("%+v", c)
	}
	if c := FindCycling(history(rng(1), 9, 4, circle)); c.Found || c.Judged != 0 || c.P != 1 {
		t.Errorf("%+v", c)
	}
	if c := FindCycling(nil); c.Found {
		t.Errorf("%+v", c)
	}
}

// No progress, steady progress, progress that makes no difference to older ones
// (the edge of the null hypothesis), and a decline are no cycling.
func TestNoCycling(t *testing.T) {
	for name, chance := range map[string]func(g, o int) float64{
		"equals":   func(g, o int) float64 { return 0.5 },
		"progress": func(g, o int) float64 { return expected(100 * float64(g-o)) },
		"edge":     func(g, o int) float64 { return map[bool]float64{true: 1, false: 0.5}[g-o == 1] },
		"decline":  func(g, o int) float64 { return expected(-50 * float64(g-o)) },
	} {
		found := 0
		for seed := range uint64(300) {
			if FindCycling(history(rng(seed), 12, 20, chance)).Found {
				found++
			}
		}
		if found > 8 { // 3 are expected at most; more than 8 come with a chance of 0.4 %
			t.Errorf("%s: %d warnings of 300", name, found)
		}
	}
}

func lopsidedCells(points ...float64) []Cell {
	var all []Cell
	for _, p := range points {
		all = append(all, Cell{Games: 20, Points: p})
	}
	return all
}

func TestDisengagement(t *testing.T) {
	for _, c := range []struct {
		name        string
		points      []float64
		found       bool
		from, count int
		rate        float64
	}{
		{"nothing", nil, false, 0, 0, 0},
		{"even", []float64{10, 12, 9, 10, 8, 10}, false, 0, 0, 0},
		{"four", []float64{10, 20, 20, 20, 20, 18}, false, 1, 4, 1},
		{"five", []float64{10, 20, 19, 19, 20, 20, 10}, true, 1, 5, 0.98},
		{"the other side", []float64{0, 1, 0, 0, 0, 0}, true, 0, 6, 1. / 120},
		{"now one, now the other", []float64{20, 20, 20, 0, 0, 0, 20, 20, 20}, false, 6, 3, 1},
		{"the longest", []float64{20, 20, 20, 20, 20, 20, 10, 0, 0, 0, 0, 0}, true, 0, 6, 1},
		{"the last of equals", []float64{20, 20, 20, 20, 20, 10, 0, 0, 0, 0, 0}, true, 6, 5, 0},
	} {
		d := FindDisengagement(lopsidedCells(c.points...))
		if d.Found != c.found || d.From != c.from || d.Generations != c.count || !near(d.Rate, c.rate, 1e-12) {
			t.Errorf("%s: %+v", c.name, d)
		}
		if strings.HasPrefix(d.String(), "disengagement: ") != c.found {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	gap := lopsidedCells(20, 20, 20, 20, 20)
	gap[2] = Cell{}
	if d := FindDisengagement(gap); d.Found || d.Generations != 2 {
		t.Errorf("a generation without a match: %+v", d)
	}
}

// Today's champion, of generation 8, can no longer beat those of 2 and 3.
func TestForgetting(t *testing.T) {
	lost := func(g, o int) float64 {
		if g == 8 && (o == 2 || o == 3) {
			return 0.02
		}
		return 0.9
	}
	f := FindForgetting(history(rng(1), 9, 20, lost))
	if !f.Found || f.Champion != 8 || f.Judged != 7 || len(f.Opponents) != 2 { // of 7 there is none before
		t.Fatalf("%+v", f)
	}
	if o := f.Opponents[0]; o.Generation != 2 || o.Before.Games != 100 || o.Now.Games != 20 || o.P >= 0.05 || o.Now.Rate() > 0.2 || o.Before.Rate() < 0.8 {
		t.Errorf("%+v", o)
	}
	if s := f.String(); !strings.HasPrefix(s, "forgetting: the champion of generation 8 loses to 2 of 7 ") {
		t.Error(s)
	}
	for _, h := range []Table{nil, make(Table, 1), history(rng(1), 9, 4, lost)} {
		if f := FindForgetting(h); f.Found {
			t.Errorf("%+v", f)
		}
	}
}

// By hand: before, 10 of 10 were won, so the loss of k of 10 decides. 9 come with
// 11/1024, at two opponents twice that; 8 with 56/1024, which is too much even alone.
func TestForgettingByHand(t *testing.T) {
	cell := func(wins, losses int) Cell {
		return Cell{Games: wins + losses + 3, Wins: wins, Losses: losses, Points: float64(wins) + 1.5}
	}
	h := Table{{}, {cell(10, 0)}, {cell(10, 0), cell(10, 0)}, {cell(1, 9), cell(2, 8), {}}}
	f := FindForgetting(h)
	if f.Judged != 2 || len(f.Opponents) != 1 || f.Opponents[0].Generation != 0 || !near(f.Opponents[0].P, 22./1024, 1e-12) {
		t.Errorf("%+v", f)
	}
}

// Whoever never could has not forgotten, and at the edges of the null hypothesis
// (equal to it now, or equal before) there is a false one in 5 % at most.
func TestNoForgetting(t *testing.T) {
	for name, chance := range map[string]func(g, o int) float64{
		"never could": func(g, o int) float64 { return 0.05 },
		"equal now":   func(g, o int) float64 { return map[bool]float64{true: 0.5, false: 1}[g == 8] },
		"equal then":  func(g, o int) float64 { return map[bool]float64{true: 0, false: 0.5}[g == 8] },
	} {
		found := 0
		for seed := range uint64(300) {
			if FindForgetting(history(rng(seed), 9, 20, chance)).Found {
				found++
			}
		}
		if found > 25 { // 15 are expected at most; more than 25 come with a chance of 0.5 %
			t.Errorf("%s: %d warnings of 300", name, found)
		}
	}
}
