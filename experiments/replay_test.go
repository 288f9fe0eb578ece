package experiments

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rewrite changes the ledger behind everybody's back.
func rewrite(t *testing.T, l *Lab, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(l.Home, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if done, err := db.Exec(statement, args...); err != nil {
		t.Fatal(err)
	} else if n, _ := done.RowsAffected(); n == 0 {
		t.Fatalf("%s changes nothing", statement)
	}
}

// hashes are a run's genomes, in the order in which they were measured.
func hashes(t *testing.T, l *Lab, run string) (all []string) {
	t.Helper()
	var text strings.Builder
	if err := l.Ledger.ExportCSV(&text, run); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		all = append(all, strings.Split(line, ",")[3])
	}
	return all[1:]
}

// Whatever a run measured of a genome comes out again, steps and all, also where few were
// measured at once; and a record that is not what was measured is found, with the case.
func TestReplayOfGenomes(t *testing.T) {
	l, s := lab(t)
	s.Search.Generations = 2
	r, err := l.Run(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := hashes(t, l, r.Run)
	for _, genome := range []string{"winner", all[len(all)-1][:12]} {
		g, err := l.ReplayGenome(t.Context(), r.Run, genome, Options{Workers: 2, Isolation: "full"})
		if err != nil || !g.Same || len(g.Sets) == 0 || len(g.Causes) > 0 {
			t.Errorf("%s: %+v, %v", genome, g, err)
		}
	}
	for genome, want := range map[string]string{"abcdef": "there is no genome abcdef", "best": "is no genome: winner, incumbent"} {
		if _, err := l.ReplayGenome(t.Context(), r.Run, genome, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", genome, err)
		}
	}
	rewrite(t, l, "UPDATE genome SET scores = json_replace(scores, '$[1][0]', 1e9) WHERE hash = ?", all[0])
	rewrite(t, l, "UPDATE run SET evaluator = 'another', runtime = 'scheme 9'")
	rewrite(t, l, "UPDATE place SET jird = 'v0.0.1'")
	g, err := l.ReplayGenome(t.Context(), r.Run, "incumbent", Options{Isolation: "full"})
	if err != nil {
		t.Fatal(err)
	}
	if g.Genome != all[0] || g.Same || !slices.EqualFunc(g.Sets, []string{"train", "validate", "holdout"}, func(s ReplayedSet, name string) bool {
		return s.Set == name && s.Count > 0 && s.Again.Score != nil && s.Same == (name != "train")
	}) || len(g.Sets[0].Differing) != 1 {
		t.Errorf("%+v", g)
	}
	causes := strings.Join(g.Causes, "\n")
	if !strings.Contains(causes, "recorded with scheme 9") || !strings.Contains(causes, "was another") || !strings.Contains(causes, "made by jird v0.0.1") || strings.Contains(causes, "two ways") {
		t.Error(causes)
	}
}

// Neither a run nor a tournament goes on by other rules than it began with.
func TestResumeWantsTheSamePrelude(t *testing.T) {
	l, s := lab(t)
	s.Search.Generations = 1
	r, err := l.Run(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, l, "UPDATE place SET status = 'interrupted'")
	rewrite(t, l, "UPDATE run SET evaluator = 'another'")
	if _, err := l.Resume(t.Context(), r.Run, Options{Isolation: "full"}); err == nil || !strings.Contains(err.Error(), "whose prelude for Scheme is another") {
		t.Error(err)
	}
}
