package experiments

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jird/orchestrator"
	"jird/orchestrator/journal"
	"jird/orchestrator/promote"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// What a run, a decision, a ref, or a journal names stays; of an agent whose guard is at
// work, all.
func TestPruneLeavesWhatIsNamedAnywhere(t *testing.T) {
	var said []string
	lab, err := OpenLab(t.TempDir(), func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	ids := map[string]snapshots.ID{}
	for _, name := range []string{"run", "incumbent", "winner", "ref", "from", "to", "nobody", "nobody served"} {
		agent := "a"
		switch name {
		case "from", "to", "nobody served":
			agent = "served"
		}
		if ids[name], err = lab.Vault.Put(snapshots.Image{Name: agent, Files: []snapshots.File{{Path: "agent.scm", Data: []byte(name)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Ledger.Begin(orchestrator.RunRecord{ID: "r", Spec: "{}", Agent: string(ids["run"])}); err != nil {
		t.Fatal(err)
	}
	if err := lab.Ledger.Declare(orchestrator.Decision{Run: "an agent", Number: 1, IncumbentImage: string(ids["incumbent"]), WinnerImage: string(ids["winner"]), Plan: promote.NewPlan(0.01, 0.05, 0.8, 40, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := lab.Vault.SwapRef("a/live", "", ids["ref"]); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(lab.agentDir("served"), 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := wal.Open(lab.journalDir("served"), wal.Options{Create: true, First: 1})
	if err != nil {
		t.Fatal(err)
	}
	record, err := journal.Encode(&journal.Begin{N: 1, Kind: journal.Promotion, From: ids["from"], To: ids["to"]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(record); err != nil {
		t.Fatal(err)
	}
	if err := log.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	age := func() {
		t.Helper()
		manifests, err := filepath.Glob(filepath.Join(lab.Home, "vault", "manifests", "*"))
		if err != nil || len(manifests) == 0 {
			t.Fatal(manifests, err)
		}
		for _, m := range manifests {
			past := time.Now().Add(-2 * settled)
			if err := os.Chtimes(m, past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	age()
	gone := func() (names []string) {
		t.Helper()
		u, err := lab.Prune(true)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range u.Images {
			for name, known := range ids {
				if known == id {
					names = append(names, name)
				}
			}
		}
		return names
	}
	if got := fmt.Sprint(gone()); got != "[nobody]" || len(said) != 1 || !strings.Contains(said[0], "all images of served stay: its guard is at work") {
		t.Errorf("removed %v, said %q", got, said)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(gone()); got != "[nobody served]" {
		t.Errorf("removed %v", got)
	}
	for _, name := range []string{"run", "incumbent", "winner", "ref", "from", "to"} {
		if _, err := lab.Vault.Get(ids[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(lab.journalDir("served"), "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lab.Vault.Put(snapshots.Image{Name: "served"}); err != nil {
		t.Fatal(err)
	}
	age()
	if got := gone(); len(got) > 0 || !strings.Contains(said[len(said)-1], "all images of served stay") {
		t.Errorf("beside a damaged journal: removed %v, said %q", got, said)
	}
}
