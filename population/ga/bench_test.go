package ga

import (
	"context"
	"strings"
	"testing"

	"jird/population"
	"jird/snapshots/sexpr"
)

func benchGrammar() *population.Grammar {
	read := func(text string) sexpr.Value {
		v, err := sexpr.Read([]byte(text))
		if err != nil {
			panic(err)
		}
		return v
	}
	return &population.Grammar{
		Definitions: []population.Definition{{Name: "priority", Params: []population.Param{{Name: "item"}, {Name: "remaining"}}}},
		Functions:   []string{"+", "-", "*", "/", "min", "max", "if", "<"},
		Leaves:      []sexpr.Value{read("item"), read("remaining"), read("(- remaining item)")},
		Constants:   []population.ConstantRange{{Low: -10, High: 10, Integer: true}, {Low: -1, High: 1}},
		MaxDepth:    9, MaxSize: 45,
	}
}

// byHash gives every genome scores drawn from its hash, at nearly no cost.
type byHash int

func (cases byHash) Evaluate(_ context.Context, genomes []*population.Genome) ([]population.Outcome, error) {
	outcomes := make([]population.Outcome, len(genomes))
	for i, g := range genomes {
		outcomes[i] = population.Outcome{Status: population.OK, Scores: make([]population.Score, cases)}
		for c := range outcomes[i].Scores {
			outcomes[i].Scores[c] = population.Score{Num: float64(g.Hash()[c%64] % 16), Den: 1}
		}
	}
	return outcomes, nil
}

// BenchmarkLoop is the loop's own cost per genome.
func BenchmarkLoop(b *testing.B) {
	for _, kind := range []string{"tournament", "lexicase", "epsilon-lexicase", "novelty", "archive", "archive and novelty"} {
		b.Run(kind, func(b *testing.B) {
			cfg := config(b)
			cfg.Grammar = benchGrammar()
			cfg.Islands, cfg.Population, cfg.Generations, cfg.Selection = 4, 100, 40, Selection{kind, 5}
			if strings.HasPrefix(kind, "archive") {
				cfg.Archive, cfg.Selection.Kind = []Feature{{"size", 1, 45, 45}, {"depth", 1, 9, 9}}, "tournament"
			}
			if strings.HasSuffix(kind, "novelty") {
				cfg.Selection.Kind = "novelty"
			}
			runs := 0
			for b.Loop() {
				if _, err := Run(b.Context(), cfg, nil, byHash(10), nil, nil); err != nil {
					b.Fatal(err)
				}
				runs++
			}
			genomes := runs * cfg.Islands * cfg.Population * (cfg.Generations + 1)
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(genomes), "µs/genome")
		})
	}
}
