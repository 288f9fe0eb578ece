package guard_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// BenchmarkCall is one call of the agent over its descriptor (bare), through the
// guard in mode Batch (guard), and that over HTTP on the Unix socket (socket), in
// turns: medians, what the guard adds, and its share of the bare calls per second.
// Each has an agent of its own: a process that two of them called would be warmer.
func BenchmarkCall(b *testing.B) {
	clerks := contending(b, newBench)
	spin := spinsPerMillisecond(b, clerks.bare)
	for _, c := range []struct{ name, request string }{
		{"get", "(get note-7)"}, {"put", "(put note-7 \"something else\")"},
		{"1ms", fmt.Sprintf("(work %d)", spin)}, {"10ms", fmt.Sprintf("(work %d)", 10*spin)},
	} {
		b.Run(c.name, func(b *testing.B) { clerks.paired(b, c.request) })
	}
	b.Run("packer", func(b *testing.B) { contending(b, newPacker).paired(b, "(place 42)") })
	b.Run("memory", func(b *testing.B) { resident(b, newBench, "(put note-%d %[1]d)") })
	b.Run("memory-place", func(b *testing.B) { resident(b, newPacker, "(place 42)") })
}

// newPacker makes the agent that jird init makes, without a memory. Its calls take
// longer with every bin that is open.
func newPacker(b *testing.B) *bench {
	var files []snapshots.File
	for _, name := range []string{"agent.scm", "policy.scm"} {
		code, err := os.ReadFile(filepath.Join("../../experiments/examples/packer/agent", name))
		check(b, err)
		files = append(files, snapshots.File{Path: name, Data: code})
	}
	return benchOf(b, sexpr.List{}, files...)
}

// contenders are three agents of a kind.
type contenders struct {
	bare   *bareAgent
	guard  *guard.Guard
	socket func(request string) string
}

func contending(b *testing.B, made func(*testing.B) *bench) contenders {
	w, other := made(b), made(b)
	o := w.options()
	c := contenders{bare: startBare(b, w, o)}
	c.guard, _ = w.open(w.dir, wal.Batch, o)
	g, _ := other.open(other.dir, wal.Batch, o)
	c.socket = throughSocket(b, g)
	return c
}

func (c contenders) paired(b *testing.B, text string) {
	request, err := sexpr.Read([]byte(text))
	check(b, err)
	paired(b, map[string]func(){
		"bare": func() { c.bare.call(b, request) },
		"guard": func() {
			_, err := c.guard.Call(context.Background(), guard.Request{Datum: request})
			check(b, err)
		},
		"socket": func() { c.socket(text) },
	})
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
	image.Memory = w.memory
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
// process without zygote holds after as many. The calls are numbered in request.
func resident(b *testing.B, made func(*testing.B) *bench, request string) {
	w := made(b)
	o := w.options()
	calls := make([]sexpr.Value, 200)
	for i := range calls {
		text := request
		if strings.Contains(request, "%") {
			text = fmt.Sprintf(request, i)
		}
		var err error
		calls[i], err = sexpr.Read([]byte(text))
		check(b, err)
	}
	for b.Loop() {
		image := w.image
		image.Memory = w.memory
		engine, err := sandbox.OpenSpawner(context.Background(), o, image)
		check(b, err)
		s, err := engine.Start(context.Background())
		check(b, err)
		bare := &bareAgent{s, 0}
		for _, c := range calls {
			bare.call(b, c)
		}
		alone := pss(b, s.PID)
		engine.Close()

		old := map[int]bool{}
		for _, pid := range children(b) {
			old[pid] = true
		}
		fresh := made(b)
		g, _ := fresh.open(fresh.dir, wal.Batch, o)
		for _, c := range calls {
			_, err := g.Call(context.Background(), guard.Request{Datum: c})
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
