package rating

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Pairing is who meets whom; A has the first seat.
type Pairing struct{ A, B int }

// Game is one match to be played.
type Game struct {
	Pairing
	Seed uint64
}

// RoundRobin pairs each of n sides with each other once. First seats are spread
// so that any two sides have as many, or one more.
func RoundRobin(n int) []Pairing {
	var all []Pairing
	for a := range n {
		for b := a + 1; b < n; b++ {
			if (a+b)%2 == 1 {
				all = append(all, Pairing{a, b})
			} else {
				all = append(all, Pairing{b, a})
			}
		}
	}
	return all
}

// RedBlue pairs each red side with each blue one once, the red in the first seat.
func RedBlue(reds, blues []int) []Pairing {
	var all []Pairing
	for _, r := range reds {
		for _, b := range blues {
			all = append(all, Pairing{r, b})
		}
	}
	return all
}

// Games plays each pairing once per seed, or twice, the second time with the
// seats exchanged.
func Games(pairs []Pairing, seeds []uint64, bothSeats bool) []Game {
	var all []Game
	for _, p := range pairs {
		for _, s := range seeds {
			all = append(all, Game{p, s})
			if bothSeats {
				all = append(all, Game{Pairing{p.B, p.A}, s})
			}
		}
	}
	return all
}

// Swiss pairs the next round of n sides, two or more, after the past ones: the
// matches of each, A in the first seat. Worth may be scores, or points of which both
// sides may get many.
//
// The sides stand by what they got in sum, then by the sum of what their opponents
// have (Buchholz), then by number, the lowest first. If n is odd, one sits out and
// gets what a side got in that round on average, so that it neither gains nor loses
// by it: of those that did so least often the lowest with whom the fewest rematches
// are left. Then the highest meets the next one below it with whom that holds, and
// so on (the Monrad way): in the whole round nobody meets again who need not. The
// first seat goes to whom had it less often, then to the lower number.
//
// It errs on fewer than two sides, and on a past round in which somebody plays
// twice or more than one not at all, or that counts what is no finite number.
func Swiss(n int, past [][]Worth) ([]Pairing, error) {
	if n < 2 {
		return nil, errors.New("a Swiss round needs two sides or more")
	}
	s := swiss{met: make([][]int, n), points: make([]float64, n), first: make([]int, n), byes: make([]int, n)}
	for i := range s.met {
		s.met[i] = make([]int, n)
	}
	for i, r := range past {
		if err := s.add(r); err != nil {
			return nil, fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	return s.next(), nil
}

// swiss is what the past rounds left, by side.
type swiss struct {
	met         [][]int
	points      []float64
	first, byes []int
}

func (s *swiss) add(round []Worth) error {
	n := len(s.points)
	if err := checkWorths(n, round); err != nil {
		return err
	}
	times, total := make([]int, n), 0.0
	for _, m := range round {
		times[m.A]++
		times[m.B]++
		s.met[m.A][m.B]++
		s.met[m.B][m.A]++
		s.points[m.A] += m.OfA
		s.points[m.B] += m.OfB
		s.first[m.A]++
		total += m.OfA + m.OfB
	}
	if bye := slices.Index(times, 0); n%2 == 1 && bye >= 0 {
		times[bye]++
		s.byes[bye]++
		s.points[bye] += total / float64(n-1)
	}
	for side, t := range times {
		if t != 1 {
			return fmt.Errorf("side %d is there %d times", side, t)
		}
	}
	return nil
}

// standings are the sides, the best first.
func (s *swiss) standings() []int {
	buchholz, order := make([]float64, len(s.points)), make([]int, len(s.points))
	for a := range order {
		order[a] = a
		for b, times := range s.met[a] {
			buchholz[a] += float64(times) * s.points[b]
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rounded(s.points[b]), rounded(s.points[a])), cmp.Compare(rounded(buchholz[b]), rounded(buchholz[a])))
	})
	return order
}

// rounded makes sums that differ by rounding alone equal.
func rounded(x float64) float64 { return math.Round(x / tie) }

func (s *swiss) next() (pairs []Pairing) {
	left := s.standings()
	if len(left)%2 == 1 {
		left = without(left, s.bye(left))
	}
	for again := s.rematches(left); len(left) > 0; {
		a, b, best := left[0], -1, len(left)
		for _, other := range left[1:] {
			if c := s.rematches(without(left, a, other)) + min(1, s.met[a][other]); c < best {
				b, best = other, c
			}
			if best == again {
				break
			}
		}
		left, again = without(left, a, b), best-min(1, s.met[a][b])
		if s.first[b] < s.first[a] || s.first[b] == s.first[a] && b < a {
			a, b = b, a
		}
		pairs = append(pairs, Pairing{a, b})
	}
	return pairs
}

// bye is who of these, the best first, sits out.
func (s *swiss) bye(standing []int) (bye int) {
	fewest, best := slices.Min(s.byes), len(standing)
	for _, side := range slices.Backward(standing) {
		if s.byes[side] != fewest {
			continue
		}
		if again := s.rematches(without(standing, side)); again < best {
			best, bye = again, side
		}
	}
	return bye
}

// rematches is the least number of them when these sides are paired.
func (s *swiss) rematches(sides []int) int {
	return len(sides)/2 - largest(len(sides), func(i, j int) bool { return s.met[sides[i]][sides[j]] == 0 })
}

func without(sides []int, gone ...int) []int {
	return slices.DeleteFunc(slices.Clone(sides), func(s int) bool { return slices.Contains(gone, s) })
}
