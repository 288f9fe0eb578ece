package promote

import (
	"bufio"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"jird/population"
)

// recording is what the packer's referee said of real policies on real streams;
// experiments/recorded_test.go makes and checks it.
type recording struct {
	class  string
	scores [][]population.Score // by stream, by policy
}

func recordings(t testing.TB) []recording {
	t.Helper()
	f, err := os.Open("testdata/packer.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recording
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ",")
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if len(all) == 0 || all[len(all)-1].class != fields[0] {
			all = append(all, recording{class: fields[0]})
		}
		r := &all[len(all)-1]
		var scores []population.Score
		var values []float64
		for _, text := range fields[1:] {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		for _, excess := range values[1:] {
			scores = append(scores, population.Score{Num: excess, Den: values[0]})
		}
		r.scores = append(r.scores, scores)
	}
	if len(all) != 2 || len(all[0].scores) < 500 || len(all[1].scores) < 250 {
		t.Fatal("the recording is not whole")
	}
	return all
}

// gain is how much lower policy b scores than a, as a part of a's score.
func (r recording) gain(a, b int) float64 {
	var pairs []Pair
	for _, s := range r.scores {
		pairs = append(pairs, Pair{s[a], s[b]})
	}
	before, after := Scores(pairs)
	return 1 - after/before
}

// couple is a recorded incumbent and winner.
type couple struct {
	r    recording
	a, b int
}

// couples are all in which the winner's gain is from low to high.
func couples(all []recording, low, high float64) []couple {
	var found []couple
	for _, r := range all {
		for a := range r.scores[0] {
			for b := range r.scores[0] {
				if g := r.gain(a, b); a != b && low <= g && g <= high {
					found = append(found, couple{r, a, b})
				}
			}
		}
	}
	return found
}

// source draws pairs for one simulated promotion.
type source func(rng *rand.Rand) Pair

// against is policy a against itself, on another stream.
func (c couple) against(rng *rand.Rand) Pair {
	return Pair{c.r.scores[rng.IntN(len(c.r.scores))][c.a], c.r.scores[rng.IntN(len(c.r.scores))][c.a]}
}

// exact draws recorded pairs, some of them exchanged, so that the mean gain is
// the given one, at most the recorded one in size, and every difference is of
// a size that was recorded. A gain of zero is exchangeable: half are exchanged.
func (c couple) exact(gain float64) source {
	keep := (1 + gain/c.r.gain(c.a, c.b)) / 2
	return func(rng *rand.Rand) Pair {
		s := c.r.scores[rng.IntN(len(c.r.scores))]
		if rng.Float64() < keep {
			return Pair{s[c.a], s[c.b]}
		}
		return Pair{s[c.b], s[c.a]}
	}
}

// level takes the mean gain off every recorded pair: no better on the average,
// and as skewed as it was recorded. Alpha is not promised exactly here.
func (c couple) level(rng *rand.Rand) Pair {
	s := c.r.scores[rng.IntN(len(c.r.scores))]
	shift := 0.0
	for _, s := range c.r.scores {
		shift += (s[c.a].Num - s[c.b].Num) / float64(len(c.r.scores))
	}
	return Pair{s[c.a], population.Score{Num: s[c.b].Num + shift, Den: s[c.b].Den}}
}

// spread is the standard deviation of the differences, as a part of the
// incumbent's mean.
func (c couple) spread() float64 {
	var sum, squares, cost float64
	for _, s := range c.r.scores {
		x := s[c.a].Num - s[c.b].Num
		sum, squares, cost = sum+x, squares+x*x, cost+s[c.a].Num
	}
	n := float64(len(c.r.scores))
	return math.Sqrt(squares/n-sum*sum/n/n) / (cost / n)
}
