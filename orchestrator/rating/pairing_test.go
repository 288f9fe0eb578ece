package rating

import (
	"math"
	"math/bits"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRoundRobin(t *testing.T) {
	for n := range 12 {
		met, first := map[Pairing]int{}, make([]int, n)
		for _, p := range RoundRobin(n) {
			met[Pairing{min(p.A, p.B), max(p.A, p.B)}]++
			first[p.A]++
		}
		if len(met) != n*(n-1)/2 || len(RoundRobin(n)) != len(met) || met[Pairing{0, 0}] > 0 {
			t.Errorf("%d sides: %v", n, met)
		}
		if n > 0 && slices.Max(first)-slices.Min(first) > 1 {
			t.Errorf("%d sides have the first seat %v times", n, first)
		}
	}
}

func TestRedBlueAndGames(t *testing.T) {
	pairs := RedBlue([]int{0, 1}, []int{4, 5})
	if want := []Pairing{{0, 4}, {0, 5}, {1, 4}, {1, 5}}; !slices.Equal(pairs, want) {
		t.Errorf("%v", pairs)
	}
	one := Games(pairs[:1], []uint64{7, 9}, false)
	if want := []Game{{Pairing{0, 4}, 7}, {Pairing{0, 4}, 9}}; !slices.Equal(one, want) {
		t.Errorf("%v", one)
	}
	both := Games(pairs[:1], []uint64{7}, true)
	if want := []Game{{Pairing{0, 4}, 7}, {Pairing{4, 0}, 7}}; !slices.Equal(both, want) {
		t.Errorf("%v", both)
	}
}

// exhaustive is the size of a largest matching among the vertices in the set, by
// trying all.
func exhaustive(set uint, joined func(a, b int) bool, known map[uint]int) int {
	if set == 0 {
		return 0
	}
	if k, ok := known[set]; ok {
		return k
	}
	a := bits.TrailingZeros(set)
	rest := set &^ (1 << a)
	most := exhaustive(rest, joined, known)
	for b := a + 1; b < bits.Len(set); b++ {
		if rest>>b&1 == 1 && joined(a, b) {
			most = max(most, 1+exhaustive(rest&^(1<<b), joined, known))
		}
	}
	known[set] = most
	return most
}

func TestLargestMatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9).Draw(t, "n")
		sparse := rapid.IntRange(1, 6).Draw(t, "sparse")
		var edges [9][9]bool
		for a := range n {
			for b := range a {
				edges[a][b] = rapid.IntRange(0, sparse).Draw(t, "edge") == 0
				edges[b][a] = edges[a][b]
			}
		}
		joined := func(a, b int) bool { return edges[a][b] }
		if got, want := largest(n, joined), exhaustive(1<<n-1, joined, map[uint]int{}); got != want {
			t.Fatalf("%d, but trying all finds %d", got, want)
		}
	})
	// Two triangles joined by a path: blossoms.
	path := map[[2]int]bool{{0, 1}: true, {1, 2}: true, {0, 2}: true, {2, 3}: true, {3, 4}: true, {4, 5}: true, {5, 6}: true, {6, 7}: true, {5, 7}: true}
	if got := largest(8, func(a, b int) bool { return path[[2]int{min(a, b), max(a, b)}] }); got != 4 {
		t.Errorf("%d", got)
	}
}

// idle is who of n is in none of the pairs, or -1.
func idle(n int, pairs []Pairing) int {
	for side := range n {
		if !slices.ContainsFunc(pairs, func(p Pairing) bool { return p.A == side || p.B == side }) {
			return side
		}
	}
	return -1
}

// ended is a round as it was played: what each first seat scored.
func ended(pairs []Pairing, scores ...float64) (round []Worth) {
	for i, p := range pairs {
		round = append(round, Worth{p.A, p.B, scores[i], 1 - scores[i]})
	}
	return round
}

// Everybody plays or sits out; nobody sits out twice before all have; and each
// round has as few rematches as any with a bye that may be given: none, while
// that can be.
func TestSwiss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 8).Draw(t, "n")
		var past [][]Worth
		var met [8][8]bool
		byes := make([]int, n)
		unmet := func(a, b int) bool { return !met[a][b] }
		for range rapid.IntRange(1, 2*n).Draw(t, "rounds") {
			r, err := Swiss(n, past)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Swiss(n, past); err != nil || !reflect.DeepEqual(r, again) {
				t.Fatalf("%+v, then %+v, %v", r, again, err)
			}
			bye := idle(n, r)
			times, rematches, fewest := make([]int, n), 0, n
			for _, p := range r {
				times[p.A]++
				times[p.B]++
				if met[p.A][p.B] {
					rematches++
				}
			}
			if n%2 == 0 {
				if bye != -1 {
					t.Fatalf("%d sits out of %d", bye, n)
				}
				fewest = n/2 - exhaustive(1<<n-1, unmet, map[uint]int{})
			} else {
				times[bye]++
				if byes[bye] > slices.Min(byes) {
					t.Fatalf("%d sits out again: %v", bye, byes)
				}
				for side := range n {
					if byes[side] == slices.Min(byes) {
						fewest = min(fewest, n/2-exhaustive((1<<n-1)&^(1<<side), unmet, map[uint]int{}))
					}
				}
				byes[bye]++
			}
			if slices.Max(times) != 1 || slices.Min(times) != 1 {
				t.Fatalf("%+v", r)
			}
			if rematches != fewest {
				t.Fatalf("%d rematches, %d need be, in %+v after %+v", rematches, fewest, r, past)
			}
			var scores []float64
			for _, p := range r {
				met[p.A][p.B], met[p.B][p.A] = true, true
				scores = append(scores, float64(rapid.IntRange(0, 2).Draw(t, "score"))/2)
			}
			past = append(past, ended(r, scores...))
		}
	})
}

// Winners meet winners, and the lower number breaks the tie. By hand.
func TestSwissByHand(t *testing.T) {
	one, err := Swiss(5, nil)
	if want := []Pairing{{0, 1}, {2, 3}}; err != nil || !slices.Equal(one, want) {
		t.Fatalf("%+v, %v", one, err)
	}
	// 1 has a point, 2, 3 and 4, who sat out, have half of one, with Buchholz half, half
	// and none; 0 has none, so it sits out. 2 and 3 met, which leaves 1 with 2 and 4 with
	// 3. Of the four only 2 had the first seat.
	two, err := Swiss(5, [][]Worth{ended(one, 0, 0.5)})
	if want := []Pairing{{1, 2}, {3, 4}}; err != nil || !slices.Equal(two, want) {
		t.Fatalf("%+v, %v", two, err)
	}
}

// 2 has two points, 5 none, and the rest one, with Buchholz 3 for 1, 2 for 3 and 4,
// and 1 for 0. 2 met 1, so it meets 3; 1 with 4 would leave 0 and 5, who met.
func TestSwissBuchholz(t *testing.T) {
	r, err := Swiss(6, [][]Worth{
		ended([]Pairing{{2, 1}, {0, 5}, {4, 3}}, 1, 1, 0),
		ended([]Pairing{{2, 5}, {0, 4}, {3, 1}}, 1, 0, 0),
	})
	if want := []Pairing{{3, 2}, {1, 0}, {5, 4}}; err != nil || !slices.Equal(r, want) {
		t.Errorf("%+v, %v", r, err)
	}
}

// Where points count, both of a match may have many: 2 and 3, who drew at 3, stand above
// 0, who won with 2. Who sits out has the mean of the round, which is 2.25, and so
// stands between them.
func TestSwissOfPoints(t *testing.T) {
	five, err := Swiss(5, [][]Worth{{{0, 1, 2, 1}, {2, 3, 3, 3}}})
	if want := []Pairing{{4, 2}, {3, 0}}; err != nil || !slices.Equal(five, want) {
		t.Errorf("%+v, %v", five, err)
	}
}

// With as many sides as a tournament has, the best win it, and in 7 rounds nobody
// met twice.
func TestSwissOfMany(t *testing.T) {
	const n = 41
	var past [][]Worth
	met := map[Pairing]bool{}
	points := make([]float64, n)
	for range 7 {
		r, err := Swiss(n, past)
		if err != nil {
			t.Fatal(err)
		}
		var scores []float64
		for _, p := range r {
			key := Pairing{min(p.A, p.B), max(p.A, p.B)}
			if met[key] {
				t.Errorf("%v met twice", key)
			}
			met[key] = true
			score := map[bool]float64{true: 1, false: 0}[p.A*17%n < p.B*17%n] // 0 is the best
			points[p.A] += score
			points[p.B] += 1 - score
			scores = append(scores, score)
		}
		points[idle(n, r)] += 0.5
		past = append(past, ended(r, scores...))
	}
	if points[0] != 7 || slices.Index(points, 7) != slices.Index(points, slices.Max(points)) {
		t.Errorf("%v", points)
	}
}

func TestSwissRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		past [][]Worth
	}{
		"one side":        {1, nil},
		"a side twice":    {4, [][]Worth{ended([]Pairing{{0, 1}, {1, 2}}, 1, 1)}},
		"sides missing":   {4, [][]Worth{ended([]Pairing{{0, 1}}, 1)}},
		"two sit out":     {5, [][]Worth{ended([]Pairing{{0, 1}}, 1)}},
		"an unknown side": {2, [][]Worth{ended([]Pairing{{0, 2}}, 1)}},
		"no number":       {2, [][]Worth{ended([]Pairing{{0, 1}}, math.NaN())}},
	} {
		if r, err := Swiss(c.n, c.past); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
