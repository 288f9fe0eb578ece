package experiments

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jird/orchestrator"
	"jird/orchestrator/remote"
	"jird/population"
	"jird/sandbox/isolation"
	"jird/snapshots"
)

// slow is a referee whose cases take 100 ms, in which nothing is computed.
const slow = `
(define (fitness-cases recipe count seed)
  (let loop ((i 0)) (if (= i count) '() (cons (cons (number->string i) i) (loop (+ i 1))))))
(define (fitness-score case) (thread-sleep! .1) (priority 1 2))`

// farmed is a queue with workers that have state folders of their own, and a run's plan.
type farmed struct {
	lab  *Lab
	plan orchestrator.Plan
	farm *farm
}

func openFarmed(b *testing.B, workers int, referee string) farmed {
	b.Helper()
	l, s := lab(b)
	if referee != "" {
		if err := os.WriteFile(filepath.Join(s.Agent, "fitness.scm"), []byte(referee), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() { l.Close() })
	p, _, err := l.planFor(b.Context(), s, Options{Workers: 2})
	if err != nil {
		b.Fatal(err)
	}
	s.Identify(&p.Record)
	queue, err := remote.Open(b.Context(), remote.Config{Dir: b.TempDir(), Listen: "127.0.0.1:0"}, b.Logf)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { queue.Close() })
	for range workers {
		work(b, "nats://"+queue.Address())
	}
	return farmed{l, p, &farm{lab: l, queue: queue, archives: map[snapshots.ID]string{}}}
}

// work starts a worker that does one unit at a time.
func work(b testing.TB, address string) {
	b.Helper()
	mine, err := OpenLab(filepath.Join(b.TempDir(), "worker"), func(string, ...any) {})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mine.Work(ctx, "auto", Options{Workers: 1, Engine: Engine{Where: address}}) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		mine.Close()
	})
}

// bench opens cases of the plan, there or here.
func (f farmed) bench(b *testing.B, away bool, cases int) *orchestrator.Bench {
	b.Helper()
	image, err := f.lab.Vault.Get(snapshots.ID(f.plan.Record.Agent))
	if err != nil {
		b.Fatal(err)
	}
	w := orchestrator.Work{Run: f.plan.Record, Cases: orchestrator.Cases{Count: cases, Recipe: f.plan.Train.Recipe}, Seed: 7}
	x, err := orchestrator.OpenWork(b.Context(), f.plan, image, w)
	if err != nil {
		b.Fatal(err)
	}
	if away {
		if x, err = f.farm.open(b.Context(), x, isolation.Full, w); err != nil {
			b.Fatal(err)
		}
	}
	bench := orchestrator.NewBench(x, orchestrator.Cascade{})
	b.Cleanup(bench.Close)
	return bench
}

func (f farmed) measure(b *testing.B, bench *orchestrator.Bench, genomes int) time.Duration {
	b.Helper()
	var all []*population.Genome
	for i := range genomes {
		g, err := f.plan.Search.Grammar.Parse(fmt.Appendf(nil, "(+ item %d.%d)", i, time.Now().UnixNano()%1_000_000))
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, g)
	}
	began := time.Now()
	if _, err := bench.Measure(b.Context(), all...); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkFarm is what other machines bring and cost: how much faster eight workers are
// than one where cases wait; what the queue in this process costs for each evaluation of
// the packer; how long an agent of 100 MiB takes to reach a new worker.
func BenchmarkFarm(b *testing.B) {
	b.Run("waiting", func(b *testing.B) {
		took := map[int]time.Duration{}
		for b.Loop() {
			for _, workers := range []int{1, 8} {
				f := openFarmed(b, workers, slow)
				bench := f.bench(b, true, 5)
				f.measure(b, bench, 8) // opens it everywhere
				took[workers] += f.measure(b, bench, 16)
			}
		}
		b.ReportMetric(took[1].Seconds()/took[8].Seconds(), "times-one-worker")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("cost", func(b *testing.B) {
		f := openFarmed(b, 2, "")
		here, there := f.bench(b, false, 20), f.bench(b, true, 20)
		f.measure(b, here, 8)
		f.measure(b, there, 8)
		var local, far time.Duration
		const genomes = 400
		n := 0
		for b.Loop() {
			local += f.measure(b, here, genomes)
			far += f.measure(b, there, genomes)
			n += genomes
		}
		b.ReportMetric(float64(local.Microseconds())/float64(n), "µs-local")
		b.ReportMetric(float64((far-local).Microseconds())/float64(n), "µs-more")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("snapshot", func(b *testing.B) {
		var first time.Duration
		for b.Loop() {
			f := openFarmed(b, 0, "")
			big(b, &f)
			bench := f.bench(b, true, 1)
			began := time.Now()
			work(b, "nats://"+f.farm.queue.Address())
			f.measure(b, bench, 1)
			first += time.Since(began)
		}
		b.ReportMetric(first.Seconds()/float64(b.N), "s-100MiB")
		b.ReportMetric(0, "ns/op")
	})
}

// big makes the agent one of 100 MiB that cannot be compressed.
func big(b *testing.B, f *farmed) {
	b.Helper()
	image, err := f.lab.Vault.Get(snapshots.ID(f.plan.Record.Agent))
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 100<<20)
	if _, err := rand.Read(data); err != nil {
		b.Fatal(err)
	}
	image.Files = append(image.Files, snapshots.File{Path: "ballast", Data: data})
	id, err := f.lab.Vault.Put(*image)
	if err != nil {
		b.Fatal(err)
	}
	f.plan.Record.Agent = string(id)
}
