package promote

import (
	"math"
	"slices"
	"strings"
	"testing"

	"jird/population"
)

// whole makes pairs of denominator 10 in which the winner saves the given
// amounts on an incumbent that costs 100.
func whole(gains ...float64) (pairs []Pair) {
	for _, g := range gains {
		pairs = append(pairs, Pair{population.Score{Num: 100, Den: 10}, population.Score{Num: 100 - g, Den: 10}})
	}
	return pairs
}

func repeat(n int, gains ...float64) (all []float64) {
	for range n {
		all = append(all, gains...)
	}
	return all
}

func TestPlanPlacesLooks(t *testing.T) {
	for maxN, want := range map[int][]int{
		500: {25, 50, 100, 175, 250, 375, 500}, 20: {10, 15, 20}, 10: {10}, 3: {3}, 1: {1},
	} {
		if got := NewPlan(0.01, 0.05, 0.8, maxN, 1).Looks; !slices.Equal(got, want) {
			t.Errorf("%d cases: %v, want %v", maxN, got, want)
		}
	}
}

// By hand: n pairs that all favour the winner are the most extreme of 2^n, so p
// is about 2^-n. At alpha 0.01 ten are enough, six are not.
func TestFewPairs(t *testing.T) {
	ten := NewTest(NewPlan(0.01, 0.05, 0.8, 10, 1)).Look(whole(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 10)
	if ten.Stop != Better || ten.P < 0.0004 || ten.P > 0.002 || math.Abs(ten.Statistic-0.55) > 1e-12 || ten.Incumbent != 10 || math.Abs(ten.Winner-9.45) > 1e-12 {
		t.Errorf("%+v", ten)
	}
	// Of the 1,024 sums 10 are 45 or more, 7 are 47 or more, 14 are 43 or more.
	if b := *ten.Bound * 100; math.Abs(b-45) > 1e-9 && math.Abs(b-47) > 1e-9 {
		t.Errorf("bound %v", b)
	}
	six := NewTest(NewPlan(0.01, 0.05, 0.8, 6, 1)).Look(whole(repeat(6, 3)...), 6)
	if six.Stop != Inconclusive || six.Bound != nil || six.P < 0.01 || six.P > 0.025 {
		t.Errorf("%+v", six)
	}
	worse := NewTest(NewPlan(0.01, 0.05, 0.8, 10, 1)).Look(whole(-1, -2, -3, -4, -5, -6, -7, -8, -9, -10), 10)
	if worse.Stop != Worse || worse.P < 0.99 {
		t.Errorf("%+v", worse)
	}
}

// Equal sums leave together or not at all. Of ten pairs that differ by one each,
// 1 history of 1,024 has the sum 10 and 10 have 8: 11 are over a hundredth, so the
// bound is 10.
func TestTiesNeverCostAlpha(t *testing.T) {
	p := NewPlan(0.01, 0.05, 0.8, 10, 3)
	if l := NewTest(p).Look(whole(append(repeat(9, 1), -1)...), 10); l.Stop != Inconclusive || math.Abs(*l.Bound-0.1) > 1e-12 {
		t.Errorf("%+v, bound %v", l, l.Bound)
	}
	if l := NewTest(p).Look(whole(repeat(10, 0)...), 10); l.Stop != Inconclusive || l.P != 1 || l.Bound != nil {
		t.Errorf("%+v", l)
	}
}

func TestFutileAndCasesWithoutAPair(t *testing.T) {
	p := NewPlan(0.01, 0.05, 0.8, 500, 1)
	if l := NewTest(p).Look(whole(repeat(12, 1, -1)...), 25); l.Stop != Futile || l.N != 25 || l.Chance > 1e-6 {
		t.Errorf("%+v", l)
	}
	test := NewTest(p)
	for i, n := range p.Looks {
		l := test.Look(nil, n)
		if want := map[bool]Stop{true: Inconclusive, false: Going}[i == len(p.Looks)-1]; l.Stop != want {
			t.Errorf("%d cases without a pair: %+v", n, l)
		}
	}
}

// Peeking spends no more than alpha: what has left by the last look is what was
// declared.
func TestAlphaIsSpentOnce(t *testing.T) {
	p := NewPlan(0.05, 0.05, 0.8, 100, 9)
	test := NewTest(p)
	gains := repeat(50, 7, -7.3)
	for _, n := range p.Looks {
		test.Look(whole(gains[:n]...), n)
		if limit := int(0.05 * float64(flips+1) * float64(n) / 100); test.up.count > limit || test.down.count > limit {
			t.Errorf("after %d cases %d and %d histories have left, more than %d", n, test.up.count, test.down.count, limit)
		}
	}
	if test.up.count < 450 {
		t.Errorf("only %d of 500 were spent", test.up.count)
	}
}

// The statistic goes with the ratio of sums, and an exchange of the policies in
// one case changes one sign.
func TestDifferencesWithUnequalDenominators(t *testing.T) {
	pairs := []Pair{
		{population.Score{Num: 3, Den: 10}, population.Score{Num: 2, Den: 5}},
		{population.Score{Num: 1, Den: 20}, population.Score{Num: 8, Den: 100}},
	}
	d := differences(pairs)
	before, after := Scores(pairs)
	if (d[0]+d[1] > 0) != (before > after) {
		t.Errorf("%v, but the scores are %v and %v", d, before, after)
	}
	pairs[1] = Pair{pairs[1].Winner, pairs[1].Incumbent}
	if e := differences(pairs); e[0] != d[0] || e[1] != -d[1] {
		t.Errorf("%v became %v", d, e)
	}
}

func TestEqualSeedsJudgeEqually(t *testing.T) {
	pairs := whole(repeat(5, 1, 2.5, -1, 0, 3)...)
	look := func(seed uint64) Look { return NewTest(NewPlan(0.01, 0.05, 0.8, 500, seed)).Look(pairs, 25) }
	if a, b := look(5), look(5); a.P != b.P || *a.Bound != *b.Bound {
		t.Errorf("%+v, %+v", a, b)
	}
	if look(5).P == look(6).P && look(5).P == look(7).P {
		t.Error("the seed has no say")
	}
}

func scored(num float64, steps int64) population.Outcome {
	return population.Outcome{Status: population.OK, Scores: []population.Score{{Num: num, Den: 1}}, Steps: steps}
}

func TestGuardrails(t *testing.T) {
	rails := []Guardrail{Failures(), Steps(100_000)}
	lost := population.Outcome{Status: population.Timeout, Detail: "took too long"}
	for _, c := range []struct {
		name string
		o    Observation
		want string
	}{
		{"both fine", Observation{"a", scored(1, 10), scored(1, 100)}, ""},
		{"winner fails", Observation{"a", scored(1, 10), lost}, "failures: on case a the winner ended with timeout (took too long)"},
		{"both fail", Observation{"a", lost, lost}, ""},
		{"incumbent fails", Observation{"a", lost, scored(1, 50_000)}, ""},
		{"many times nothing", Observation{"a", scored(1, 1), scored(1, 1000)}, ""},
		{"many steps, not many times", Observation{"a", scored(1, 1000), scored(1, 20_000)}, ""},
		{"too many steps", Observation{"a", scored(1, 100), scored(1, 2100)}, "steps: on case a the winner took 2100 steps, the incumbent 100"},
	} {
		all := []Observation{{"first", scored(1, 1), scored(1, 1)}, c.o}
		if got := Veto(rails, all); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if p := Pairs([]Observation{{"a", scored(1, 1), lost}, {"b", lost, scored(1, 1)}, {"c", scored(3, 1), scored(2, 1)}}); len(p) != 1 || p[0].Incumbent.Num != 3 {
		t.Errorf("%+v", p)
	}
}

func TestReasons(t *testing.T) {
	p := NewPlan(0.01, 0.05, 0.8, 100, 1)
	for stop, want := range map[Stop]string{Better: "better: on 10 unseen", Worse: "worse: on 10", Futile: "futile: on 10", Inconclusive: "inconclusive at 10: on 10"} {
		if got := p.Reason(Look{N: 10, Stop: stop}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", stop, got)
		}
	}
}
