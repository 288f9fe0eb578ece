package guard_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/sandbox"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// BenchmarkCall is one call of the agent over its descriptor (bare), through the
// guard in mode Batch (guard), and that over HTTP on the Unix socket (socket), in
// turns: medians, what the guard adds, and its share of the bare calls per second.
// Each has an agent of its own: a process that two of them called would be warmer.
func BenchmarkCall(b *testing.B) {
	w := newBench(b)
	o := w.options()
	bare := startBare(b, w, o)
	g, _ := w.open(w.dir, wal.Batch, o)
	other := newBench(b)
	behind, _ := other.open(other.dir, wal.Batch, o)
	socket := throughSocket(b, behind)
	spin := spinsPerMillisecond(b, bare)
	for _, c := range []struct{ name, request string }{
		{"get", "(get note-7)"}, {"put", "(put note-7 \"something else\")"},
		{"1ms", fmt.Sprintf("(work %d)", spin)}, {"10ms", fmt.Sprintf("(work %d)", 10*spin)},
	} {
		b.Run(c.name, func(b *testing.B) {
			request, err := sexpr.Read([]byte(c.request))
			check(b, err)
			paired(b, map[string]func(){
				"bare": func() { bare.call(b, request) },
				"guard": func() {
					_, err := g.Call(context.Background(), guard.Request{Datum: request})
					check(b, err)
				},
				"socket": func() { socket(c.request) },
			})
		})
	}
	b.Run("memory", func(b *testing.B) { resident(b, w, o) })
}

// paired has the contenders take turns.
func paired(b *testing.B, contenders map[string]func()) {
	took := map[string]spent{}
	for b.Loop() {
		for name, call := range contenders { // in an order that changes
			began := time.Now()
			call()
			took[name] = append(took[name], time.Since(began))
		}
	}
	bare := took["bare"]
	for name, s := range took {
		b.ReportMetric(float64(s.at(0.5).Nanoseconds())/1000, "us-p50-"+name)
		if name != "bare" {
			b.ReportMetric(float64(s.at(0.5))/float64(bare.at(0.5)), "p50-"+name+"/bare")
			b.ReportMetric(float64(bare.total())/float64(s.total()), "calls-"+name+"/bare")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// bareAgent is one process of the agent without a guard.
type bareAgent struct {
	*sandbox.Shadow
	sets uint64
}

func startBare(b *testing.B, w *bench, o sandbox.Options) *bareAgent {
	b.Helper()
	image := w.image
	image.Memory = benchMemory()
	engine, err := sandbox.Open(context.Background(), o, image)
	check(b, err)
	b.Cleanup(engine.Close)
	s, err := engine.Start(context.Background())
	check(b, err)
	return &bareAgent{s, 0}
}

func (a *bareAgent) call(b *testing.B, request sexpr.Value) {
	answer, err := a.Live(context.Background(), a.sets, true, nil, request)
	check(b, err)
	if answer.Raised {
		b.Fatal(answer.Text)
	}
	if answer.Changes() {
		a.sets++
	}
}

func spinsPerMillisecond(b *testing.B, a *bareAgent) int {
	const spins = 1_000_000
	best := time.Hour
	for range 5 {
		began := time.Now()
		a.call(b, sexpr.List{sexpr.Symbol("work"), sexpr.NewInt(spins)})
		best = min(best, time.Since(began))
	}
	return int(spins * time.Millisecond / best)
}

// resident compares what the guard's processes hold after some calls with what one
// process without zygote holds after as many.
func resident(b *testing.B, w *bench, o sandbox.Options) {
	for b.Loop() {
		image := w.image
		image.Memory = benchMemory()
		engine, err := sandbox.OpenSpawner(context.Background(), o, image)
		check(b, err)
		s, err := engine.Start(context.Background())
		check(b, err)
		bare := &bareAgent{s, 0}
		for i := range 200 {
			bare.call(b, sexpr.List{sexpr.Symbol("put"), benchKey(i), sexpr.NewInt(int64(i))})
		}
		alone := pss(b, s.PID)
		engine.Close()

		old := map[int]bool{}
		for _, pid := range children(b) {
			old[pid] = true
		}
		fresh := newBench(b)
		g, _ := fresh.open(fresh.dir, wal.Batch, o)
		for i := range 200 {
			_, err := g.Call(context.Background(), guard.Request{Datum: sexpr.List{sexpr.Symbol("put"), benchKey(i), sexpr.NewInt(int64(i))}})
			check(b, err)
		}
		time.Sleep(100 * time.Millisecond) // the standby takes the write-sets in
		var all int64
		for _, pid := range children(b) {
			if !old[pid] {
				all += pss(b, pid)
			}
		}
		b.ReportMetric(float64(alone)/(1<<20), "MiB-bare")
		b.ReportMetric(float64(all)/(1<<20), "MiB-zygote+live+standby")
		b.ReportMetric(float64(all)/float64(alone), "memory/bare")
		g.Close()
	}
	b.ReportMetric(0, "ns/op")
}
