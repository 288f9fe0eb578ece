package experiments

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"jird/experiments/contrast"
	"jird/experiments/examples"
)

// smallMatrix is a matrix of a few runs of a moment.
func smallMatrix(t *testing.T) (l *Lab, path string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	if err := examples.Write("packer", dir); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "experiment.yaml")
	for _, texts := range [][2]string{
		{"islands: 4", "islands: 2"}, {"population: 100         # on each island", "population: 10"}, {"budget: 90s ", "generations: 2 #"}, {"selection: {kind: tournament, size: 5}", "selection: {kind: tournament, size: 2}"},
		{"shadows: 50", "shadows: 4\nquestion: is it evolution?"}, {"matrix: {seeds: 7,", "matrix: {variants: [or], seeds: 2,"},
		{"train:    {count: 20, ", "train:    {count: 2, "}, {"validate: {count: 200,", "validate: {count: 2,"}, {"holdout:  {count: 500,", "holdout:  {count: 4,"},
	} {
		edit(t, path, texts[0], texts[1])
	}
	return emptyLab(t), path
}

// A matrix is carried out once, goes on where it was interrupted, makes nothing live, and
// is compared the same by any number of workers.
func TestMatrixIsCompared(t *testing.T) {
	t.Parallel()
	l, path := smallMatrix(t)
	s, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var begun []string
	show := func(c Cell, _ Search) {
		if begun = append(begun, c.String()); c.Number == 3 {
			cancel()
		}
	}
	if _, err := l.RunMatrix(ctx, path, s.Matrix, Options{}, show); err == nil {
		t.Fatal("an interrupted matrix is no error")
	}
	runs, err := l.RunMatrix(t.Context(), path, s.Matrix, Options{}, func(Cell, Search) {})
	if err != nil || len(runs) != 4 || strings.Join(begun, "; ") != "1 of 4: or, seed 1; 2 of 4: or random, seed 1; 3 of 4: or, seed 2" {
		t.Fatalf("%v, %v, %v", runs, begun, err)
	}
	live, err := l.Vault.Ref("packer/live")
	if err != nil {
		t.Fatal(err)
	}
	before, err := l.Ledger.Runs()
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.RunMatrix(t.Context(), path, s.Matrix, Options{}, func(Cell, Search) {})
	after, _ := l.Ledger.Runs()
	if err != nil || !reflect.DeepEqual(runs, again) || len(after) != len(before) {
		t.Errorf("done again: %v, %d runs, %v", again, len(after), err)
	}
	if now, _ := l.Vault.Ref("packer/live"); now != live {
		t.Error("a run of a matrix became live")
	}
	c, err := l.Compare(t.Context(), runs, 12, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Groups) != 2 || c.Groups[0].Name != "or" || c.Groups[1].Name != "or random" || len(c.Contrasts) != 3 || !c.Contrasts[0].Paired || c.Question != "is it evolution?" || c.Cases != 12 {
		t.Errorf("%+v", c)
	}
	// Both ways had as many evaluations, but for the generation in which they ended.
	for i, n := range c.Groups[0].Evaluations {
		if other := c.Groups[1].Evaluations[i]; other < n || other > n+20 {
			t.Errorf("%d evaluations beside %d", n, other)
		}
	}
	if other, err := l.Compare(t.Context(), runs, 12, Options{Workers: 3}); err != nil || !reflect.DeepEqual(other.Contrasts, c.Contrasts) || other.Seed != c.Seed {
		t.Errorf("%+v, %v", other, err)
	}
	t.Run("refused", func(t *testing.T) { refusedComparisons(t, l, runs, path) })
}

func refusedComparisons(t *testing.T, l *Lab, runs []string, path string) {
	if _, err := l.Compare(t.Context(), []string{runs[0], runs[0]}, 4, Options{}); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Error(err)
	}
	if _, err := l.Compare(t.Context(), []string{runs[0], "no-such"}, 4, Options{}); err == nil {
		t.Error("a run that is not there")
	}
	weibull, err := Load(path, "weibull")
	if err != nil {
		t.Fatal(err)
	}
	weibull.Search.Population, weibull.Train.Count, weibull.Validate.Count, weibull.Holdout.Count = 5, 1, 1, 2
	weibull.Search.Migrants, weibull.Search.Generations = 1, 1
	r, err := l.Run(t.Context(), weibull, Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Compare(t.Context(), []string{runs[0], r.Run}, 4, Options{}); err == nil || !strings.Contains(err.Error(), "another recipe of held-out cases") {
		t.Error(err)
	}
}

func TestAnswers(t *testing.T) {
	surely := &[2]float64{-3, -1}
	for want, b := range map[string]Between{
		`"a" is better than "b": its mean score is lower by 2 (95 %: 1 to 3; p = 0.01, corrected for 3 comparisons)`: {
			First: "a", Second: "b", Contrast: contrast.Contrast{Difference: -2, Interval: surely, Adjusted: 0.01}},
		`"b" is better than "a": its mean score is lower by 2 (p = 0.01, corrected for 3 comparisons)`: {
			First: "a", Second: "b", Contrast: contrast.Contrast{Difference: 2, Adjusted: 0.01}},
		`it is not shown that "a" is better than "b", though its mean score is lower by 2 (p = 0.75, corrected for 3 comparisons); fewer than 7 seeds cannot show it`: {
			First: "a", Second: "b", Contrast: contrast.Contrast{Difference: -2, Adjusted: 0.75, Paired: true, N: [2]int{3, 3}}},
		`"a" and "b" score the same`: {First: "a", Second: "b", Contrast: contrast.Contrast{Adjusted: 1}},
	} {
		if got := b.sentence(3); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if leastSeeds(1) != 6 {
		t.Error(leastSeeds(1))
	}
}

func TestMatrixFaults(t *testing.T) {
	_, path := smallMatrix(t)
	edit(t, path, "variants: [or], seeds: 2, controls: [random]", "variants: [ore], seeds: 0, controls: [randm]")
	_, err := Load(path, "")
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{`names the variant "ore"`, `did you mean "or"`, "randm", "seeds must be"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
