package experiments

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"jird/experiments/examples"
	"jird/experiments/ledger"
	"jird/orchestrator"
)

// timed is a ledger that knows how long it was written to during the search.
type timed struct {
	*ledger.Ledger
	took time.Duration
}

func (l *timed) Generation(g orchestrator.GenerationRecord) error {
	began := time.Now()
	defer func() { l.took += time.Since(began) }()
	return l.Ledger.Generation(g)
}

// BenchmarkLedger tells what share of a search the ledger takes: of the packer, and of an
// example whose fitness is one multiplication. Nothing is computed while it writes, so the
// rest is what the search would take without it.
func BenchmarkLedger(b *testing.B) {
	for _, name := range []string{"packer", "blank"} {
		b.Run(name, func(b *testing.B) {
			var took, whole time.Duration
			for i := range b.N {
				dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
				if err := examples.Write(name, dir); err != nil {
					b.Fatal(err)
				}
				s, err := Load(filepath.Join(dir, "experiment.yaml"), "")
				if err != nil {
					b.Fatal(err)
				}
				s.Search.Budget, s.Search.Generations, s.Search.Stagnation = 0, 10, 0
				l, err := OpenLab(filepath.Join(dir, "home"), b.Logf)
				if err != nil {
					b.Fatal(err)
				}
				p, _, err := l.planFor(b.Context(), s, Options{Isolation: "full"})
				if err != nil {
					b.Fatal(err)
				}
				unlock, err := l.identify(s, &p.Record)
				if err != nil {
					b.Fatal(err)
				}
				book := &timed{Ledger: l.Ledger}
				d := l.deps(Options{Keep: true})
				var last orchestrator.Event
				d.Recorder, d.Events = book, func(e orchestrator.Event) { last = e }
				if _, err := orchestrator.Run(b.Context(), p, d, nil); err != nil {
					b.Fatal(err)
				}
				unlock()
				took, whole = took+book.took, whole+last.Elapsed
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took.Seconds()/(whole-took).Seconds(), "ledger/rest")
			b.ReportMetric(whole.Seconds()/float64(b.N), "search-s")
		})
	}
}
