package experiments

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The matrix says what the standings say: an entrant's mean is that of its row.
func TestTournamentReport(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := tournament(t)
	s.Seeds, s.Promote = 3, nil
	standings, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.TournamentReport(standings.Run)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Matrix.Rows) != 16 || len(r.Matrix.Columns) != 16 || r.Status != "done" || r.Origin.SpecHash == "" || r.Origin.Started == "" || r.Decision != nil {
		t.Errorf("%+v", r)
	}
	for i, name := range r.Matrix.Rows {
		sum, matches := 0.0, 0
		for k, c := range r.Matrix.Cells[i] {
			if met := c.Matches > 0; met == (i == k) || c.Matches != r.Matrix.Cells[k][i].Matches {
				t.Errorf("%s met %s in %d matches", name, r.Matrix.Columns[k], c.Matches)
			}
			sum, matches = sum+c.Mean*float64(c.Matches), matches+c.Matches
		}
		if want := standings.Numbers()[name+".mean"]; math.Abs(sum/float64(matches)-want) > 1e-9 || matches != 45 {
			t.Errorf("%s has a mean of %g in %d matches, and stands at %g", name, sum/float64(matches), matches, want)
		}
	}
}

// A report names its snapshots, and is made all the same where the vault has lost them.
func TestReportWithoutSnapshots(t *testing.T) {
	t.Parallel()
	needScheme(t)
	l, s := lab(t)
	defer l.Close()
	result, err := l.Run(t.Context(), s, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" files, ", "is not whole in this vault"} {
		r, err := l.RunReport(result.Run)
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if err := r.HTML(&page); err != nil {
			t.Fatal(err)
		}
		if len(r.Images) != 2 || !strings.Contains(r.Images[0].Here, want) || !strings.Contains(page.String(), r.Images[0].ID) {
			t.Errorf("%+v", r.Images)
		}
		if err := os.RemoveAll(filepath.Join(l.Home, "vault")); err != nil {
			t.Fatal(err)
		}
	}
}

// A coevolution's report follows the best of both sides.
func TestCoevolutionReport(t *testing.T) {
	t.Parallel()
	l := emptyLab(t)
	s := small(loaded(t, "examples/dilemma/coevolve.yaml"))
	s.Promote = nil
	standings, err := l.Tournament(t.Context(), s, Options{Shadows: 4}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.TournamentReport(standings.Run)
	if err != nil {
		t.Fatal(err)
	}
	charts, err := r.Charts()
	if err != nil || len(charts) != 1 || len(charts[0].Legend) != 2 || charts[0].Legend[1].Name != "red" {
		t.Errorf("%+v, %v", charts, err)
	}
	if n := s.Evolve.Search.Generations; len(r.Reigns) != 2*(n+1) || r.Reigns[0].Source == "" || r.Reigns[0].Score == nil || len(r.Champions()) < 2 {
		t.Errorf("%d reigns in %d generations", len(r.Reigns), n)
	}
}
