package rating

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Of tournaments between sides of known strength, about 95 % of the intervals
// hold what is true: of few sides that met often, and of many that met twice, of
// whose rates 80 % would be held by resamples of two of two matches.
func TestIntervalsCover(t *testing.T) {
	for _, c := range []struct{ sides, each, tournaments int }{{5, 10, 150}, {20, 2, 40}} {
		strength := make([]float64, c.sides)
		for i := range strength {
			strength[i] = 1300 + 400*float64(i)/float64(c.sides-1)
		}
		truth := make([]float64, c.sides)
		for a := range strength {
			for b := range strength {
				if a != b {
					truth[a] += expected(strength[a]-strength[b]) / float64(c.sides-1)
				}
			}
		}
		ranks := midranks(truth)
		rng := rand.New(rand.NewPCG(7, uint64(c.each)))
		rate, rank := 0, 0
		for seed := range uint64(c.tournaments) {
			var played []Match
			for range c.each {
				for _, p := range RoundRobin(c.sides) {
					played = append(played, play(rng, strength, p))
				}
			}
			all, err := Bootstrap(c.sides, nil, Scores(played), 200, seed)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range all {
				if s.Means.Low <= truth[i] && truth[i] <= s.Means.High {
					rate++
				}
				if s.Ranks.Low <= ranks[i] && ranks[i] <= s.Ranks.High {
					rank++
				}
			}
		}
		of := float64(c.tournaments * c.sides)
		t.Logf("%d sides met %d times: %.3f of the rates, %.3f of the ranks", c.sides, c.each, float64(rate)/of, float64(rank)/of)
		if r := float64(rate) / of; r < 0.87 || r > 0.99 {
			t.Errorf("%d sides met %d times: %.3f of the rates are covered", c.sides, c.each, r)
		}
		if r := float64(rank) / of; r < 0.9 {
			t.Errorf("%d sides met %d times: %.3f of the ranks are covered", c.sides, c.each, r)
		}
	}
}

// Every interval holds what was measured or lies around it, ranks sum to what
// ranks sum to, and neither seats nor the order of matches have a say.
func TestBootstrapProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 4
		played := matches(t, n, 20)
		for i := range n { // everybody plays
			played = append(played, Match{i, (i + 1) % n, 0.5})
		}
		one, err := Bootstrap(n, nil, Scores(played), 50, 3)
		if err != nil {
			t.Fatal(err)
		}
		var other []Match
		for _, m := range slices.Backward(played) {
			other = append(other, Match{m.B, m.A, 1 - m.Score})
		}
		two, err := Bootstrap(n, nil, Scores(other), 50, 3)
		if err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%+v, but the other way round %+v, %v", one, two, err)
		}
		sum := 0.0
		for _, s := range one {
			sum += s.Rank
			if s.Ranks.Low > s.Ranks.High || s.Ranks.Low < 1 || s.Ranks.High > n || s.Means.Low > s.Means.High || s.Means.Low < 0 || s.Means.High > 1 {
				t.Fatalf("%+v", s)
			}
		}
		if sum != n*(n+1)/2 {
			t.Fatalf("the ranks sum to %v", sum)
		}
	})
}

func TestBootstrapOfTiesAndSingles(t *testing.T) {
	var drawn []Match
	for range 4 {
		drawn = append(drawn, Match{0, 1, 0.5}, Match{1, 2, 0.5}, Match{2, 0, 0.5})
	}
	all, err := Bootstrap(3, nil, Scores(drawn), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if s != (Standing{i, 0.5, Interval{0.5, 0.5}, 2, Interval{2, 2}, 0}) {
			t.Errorf("%+v", s)
		}
	}
	all, err = Bootstrap(3, nil, Scores([]Match{{0, 1, 1}, {0, 2, 1}, {0, 2, 0}}), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Single != 1 || all[1].Single != 1 || all[2].Single != 0 {
		t.Errorf("%+v", all)
	}
	if all[1].Means != (Interval{0, 0}) || all[2].Means != (Interval{0, 1}) {
		t.Errorf("%+v", all)
	}
}

// Red sides are ranked among themselves, in the order that they are named.
func TestBootstrapOfRedAgainstBlue(t *testing.T) {
	var played []Match
	for range 10 {
		played = append(played, Match{0, 2, 0.5}, Match{0, 3, 0.5}, Match{1, 2, 1}, Match{1, 3, 0.75})
	}
	reds, err := Bootstrap(4, []int{1, 0}, Scores(played), 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(reds) != 2 || reds[0].Side != 1 || reds[0].Rank != 1 || reds[1].Rank != 2 || reds[0].Mean != 0.875 {
		t.Errorf("%+v", reds)
	}
	blues, err := Bootstrap(4, []int{2, 3}, Scores(played), 100, 1)
	if err != nil || blues[1].Rank != 1 || blues[1].Mean != 0.375 {
		t.Errorf("%+v, %v", blues, err)
	}
}

func TestBootstrapSeedsAndErrors(t *testing.T) {
	var played []Match
	for i := range 20 {
		played = append(played, Match{0, 1, float64(i*7%11) / 10})
	}
	run := func(seed uint64) Interval {
		all, err := Bootstrap(2, nil, Scores(played), 100, seed)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Means
	}
	if run(1) != run(1) {
		t.Error("equal seeds differ")
	}
	if run(1) == run(2) && run(1) == run(3) {
		t.Error("the seed has no say")
	}
	for name, err := range map[string]error{
		"few resamples":    second(Bootstrap(2, nil, Scores(played), 39, 1)),
		"an unknown side":  second(Bootstrap(2, []int{2}, Scores(played), 100, 1)),
		"a side twice":     second(Bootstrap(2, []int{1, 1}, Scores(played), 100, 1)),
		"a side that idle": second(Bootstrap(3, nil, Scores(played), 100, 1)),
		"nobody":           second(Bootstrap(2, []int{}, Scores(played), 100, 1)),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Points of which both sides may get many rank too, and what is no number does not.
func TestBootstrapOfPoints(t *testing.T) {
	all, err := Bootstrap(3, nil, []Worth{{0, 1, 3, 3}, {0, 1, 3, 3}, {1, 0, 5, 0}, {2, 0, 1, 1}, {1, 2, 3, 3}}, 100, 1)
	if err != nil || !near(all[0].Mean, 7./4, 1e-12) || !near(all[1].Mean, 14./4, 1e-12) || !near(all[2].Mean, 2, 1e-12) || all[1].Rank != 1 || all[0].Rank != 3 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, w := range []Worth{{0, 1, math.NaN(), 0}, {0, 1, math.Inf(1), 0}, {0, 0, 1, 1}, {0, 2, 1, 1}} {
		if _, err := Bootstrap(2, nil, []Worth{{0, 1, 1, 0}, w}, 100, 1); err == nil {
			t.Errorf("%+v was taken", w)
		}
	}
}

// Of Swiss tournaments between sides of known strength, the intervals of ranks hold the
// true ones, though no two sides meet twice; by pairs none would have any width.
func TestIntervalsOfSwissRoundsCover(t *testing.T) {
	const n, tournaments = 17, 60
	strength := make([]float64, n)
	for i := range strength {
		strength[i] = 1300 + 400*float64(i*5%n)/(n-1)
	}
	ranks := midranks(strength)
	rng := rand.New(rand.NewPCG(11, 0))
	held := 0
	for seed := range uint64(tournaments) {
		var past [][]Worth
		for range 8 {
			pairs, err := Swiss(n, past)
			if err != nil {
				t.Fatal(err)
			}
			var round []Match
			for _, p := range pairs {
				round = append(round, play(rng, strength, p))
			}
			past = append(past, Scores(round))
		}
		all, err := BootstrapRounds(n, nil, past, 200, seed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := BootstrapRounds(n, nil, past, 200, seed)
		if err != nil || !reflect.DeepEqual(all, again) {
			t.Fatalf("%+v, then %+v, %v", all, again, err)
		}
		for i, s := range all {
			if s.Ranks.Low <= ranks[i] && ranks[i] <= s.Ranks.High {
				held++
			}
		}
		byPairs, err := Bootstrap(n, nil, slices.Concat(past...), 200, seed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if all[i].Mean != byPairs[i].Mean || all[i].Rank != byPairs[i].Rank || byPairs[i].Means.Low != byPairs[i].Means.High {
				t.Fatalf("by rounds %+v, by pairs %+v", all[i], byPairs[i])
			}
		}
	}
	of := float64(held) / (n * tournaments)
	t.Logf("%.3f of the ranks", of)
	if of < 0.85 {
		t.Errorf("%.3f of the ranks are covered", of)
	}
}

// By hand: 2 sat out the second round, so that of resamples of one round some do not hold
// it, and it keeps its mean.
func TestBootstrapRoundsByHand(t *testing.T) {
	rounds := [][]Worth{{{0, 2, 3, 1}}, {{0, 1, 5, 0}}}
	all, err := BootstrapRounds(3, nil, rounds, 100, 1)
	want := []Standing{
		{Side: 0, Mean: 4, Means: Interval{3, 5}, Rank: 1, Ranks: Interval{1, 1}},
		{Side: 1, Mean: 0, Means: Interval{0, 0}, Rank: 3, Ranks: Interval{3, 3}},
		{Side: 2, Mean: 1, Means: Interval{1, 1}, Rank: 2, Ranks: Interval{2, 2}},
	}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := BootstrapRounds(3, nil, rounds[:1], 100, 1); err == nil {
		t.Errorf("one without a match: %+v", all)
	}
	if all, err := BootstrapRounds(3, nil, [][]Worth{{{0, 0, 1, 1}}}, 100, 1); err == nil {
		t.Errorf("one against itself: %+v", all)
	}
}
