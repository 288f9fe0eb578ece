package orchestrator

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"jird/orchestrator/rating"
	"jird/population"
	"jird/sandbox"
	"jird/snapshots/sexpr"
)

// players are random genomes for the iterated prisoner's dilemma.
func players(b *testing.B, n int) (*population.Grammar, []Code) {
	args := strings.Fields("round mine theirs mine-before theirs-before theirs-third my-defections their-defections their-recent chance")
	g := &population.Grammar{
		Definitions: []population.Definition{{Name: "move", Result: population.Bool}}, Functions: []string{"+", "-", "*", "if", "<", "and", "or", "not"},
		Constants: []population.ConstantRange{{Low: 0, High: 200, Integer: true}}, MaxDepth: 6, MaxSize: 30,
	}
	for _, a := range args {
		kind := population.Real
		if strings.HasPrefix(a, "mine") || strings.HasPrefix(a, "theirs") {
			kind = population.Bool
		}
		g.Definitions[0].Params = append(g.Definitions[0].Params, population.Param{Name: a, Kind: kind})
		g.Leaves = append(g.Leaves, sexpr.Symbol(a))
	}
	if err := g.Check(); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	var sides []Code
	for range n {
		sides = append(sides, g.Random(rng))
	}
	return g, sides
}

// BenchmarkMatches is a round robin of 64 players of the iterated prisoner's dilemma, 200
// turns a match, 20 seeds: all of it, and beside it the rate with a process for each match.
func BenchmarkMatches(b *testing.B) {
	o := openOptions(b)
	o.Policy.Heap = 64 << 20
	g, sides := players(b, 64)
	p, err := OpenPool(context.Background(), dilemma(b), g, o, 1_000_000, 50, runtime.NumCPU())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	var matches []Match
	for seed := range uint64(20) {
		for _, pair := range rating.RoundRobin(len(sides)) {
			matches = append(matches, Match{pair.A, pair.B, seeded(seed + 1)})
		}
	}
	const few = 200
	var together, alone time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := p.Play(b.Context(), sides, matches, false); err != nil {
			b.Fatal(err)
		}
		together += time.Since(began)
		began = time.Now()
		err := inParallel(b.Context(), p.tokens, few, func(ctx context.Context, i int) error {
			return p.playAlone(ctx, sides, matches[i:i+1], false, make([]MatchResult, 1))
		})
		if err != nil {
			b.Fatal(err)
		}
		alone += time.Since(began)
	}
	rate, single := float64(len(matches)*b.N)/together.Seconds(), float64(few*b.N)/alone.Seconds()
	b.ReportMetric(together.Seconds()/float64(b.N), "s-for-40320")
	b.ReportMetric(rate, "matches/s")
	b.ReportMetric(rate/single, "matches/process-each")
	b.ReportMetric(float64(p.Peak()), "alive")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOpenMatches is the dilemma between open sides, 200 turns a match: with those of
// one match for each core alive, and with 50. Beside it are matches between genomes, in
// one shadow and with a process for each.
func BenchmarkOpenMatches(b *testing.B) {
	o := openOptions(b)
	im := dilemma(b)
	open := []Code{open(b, "(define (move round mine theirs . seen) theirs)"), open(b, "(define (move round . seen) (even? round))")}
	matches := make([]Match, 100)
	for i := range matches {
		matches[i] = Match{0, 1, seeded(uint64(i + 1))}
	}
	run := func(name string, play func(b *testing.B) (alive int, err error)) {
		b.Run(name, func(b *testing.B) {
			alive := 0
			for b.Loop() {
				var err error
				if alive, err = play(b); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(matches)*b.N)/b.Elapsed().Seconds(), "matches/s")
			b.ReportMetric(float64(alive), "alive")
			b.ReportMetric(0, "ns/op")
		})
	}
	for _, shadows := range []int{2 * runtime.NumCPU(), 50} {
		r, err := OpenRelay(context.Background(), im, o, 1_000_000, shadows, runtime.NumCPU())
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		run(fmt.Sprintf("open/alive=%d", shadows), func(b *testing.B) (int, error) {
			_, err := r.Play(b.Context(), open, matches, false)
			return r.Peak(), err
		})
	}
	g, sides := players(b, 2)
	pool, err := OpenPool(context.Background(), im, g, o, 1_000_000, 50, runtime.NumCPU())
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	run("genomes", func(b *testing.B) (int, error) {
		_, err := pool.Play(b.Context(), sides, matches, false)
		return pool.Peak(), err
	})
	run("genomes/process-each", func(b *testing.B) (int, error) {
		return 1, inParallel(b.Context(), pool.tokens, len(matches), func(ctx context.Context, i int) error {
			return pool.playAlone(ctx, sides, matches[i:i+1], false, make([]MatchResult, 1))
		})
	})
}

// dilemma is the image of the iterated prisoner's dilemma.
func dilemma(b *testing.B) sandbox.Image {
	referee, err := os.ReadFile("../experiments/examples/dilemma/agent/match.scm")
	if err != nil {
		b.Fatal(err)
	}
	return sandbox.Image{Files: []sandbox.Source{{Name: matchFile, Code: referee}}}
}
