package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// coldStart runs the interpreter, unisolated, until it has printed one answer.
func coldStart(b *testing.B, r Runtime) {
	b.Helper()
	out, err := exec.Command(r.Interpreter, "-e", "(display (+ 1 2))").Output()
	if err != nil || !strings.HasPrefix(string(out), "3") {
		b.Fatalf("%s: %q, %v", r.Interpreter, out, err)
	}
}

func firstAnswer(b *testing.B, e Engine) *Shadow {
	b.Helper()
	s, err := e.Start(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	v, err := s.Ask(context.Background(), sexpr.List{symbol("eval"), sexpr.List{symbol("+"), number(1), number(2)}})
	if err != nil || show(v) != "(value 3)" {
		b.Fatal(show(v), err)
	}
	return s
}

// manyAnswers starts shadows as a pool does: a few forks under way at once.
func manyAnswers(b *testing.B, e Engine, n int) []*Shadow {
	all := make([]*Shadow, n)
	var wg sync.WaitGroup
	tokens := make(chan struct{}, 2*runtime.NumCPU())
	for i := range all {
		tokens <- struct{}{}
		wg.Go(func() {
			all[i] = firstAnswer(b, e)
			<-tokens
		})
	}
	wg.Wait()
	return all
}

// warm is a zygote with an element state of 100,000 and no workspaces.
func warm(b *testing.B, slots int) (Engine, Runtime) {
	b.Helper()
	o := options(b, "fork", isolation.Full)
	o.Policy.Workspace = 0
	im := Image{Files: []Source{{"state.scm", []byte("(define state (make-vector 100000 'x))")}}}
	return engine(b, "fork", o, im), o.Runtime
}

// BenchmarkFirstAnswer is spawn to first answer of an isolated shadow, beside a
// cold, unisolated interpreter; the goal is an eighth.
func BenchmarkFirstAnswer(b *testing.B) {
	e, r := warm(b, 1)
	cold := measure(b, "cold", func(b *testing.B) { coldStart(b, r) })
	ratio(b, "shadow", map[string]time.Duration{"x-cold": cold}, func(b *testing.B) {
		s := firstAnswer(b, e)
		b.StopTimer()
		s.Close()
		b.StartTimer()
	})
}

// BenchmarkFifty is 50 isolated shadows ready and answered, beside 50 cold
// starts one after another (goal: an eighth) and at once (goal: a quarter).
func BenchmarkFifty(b *testing.B) {
	e, r := warm(b, 50)
	const n = 50
	serial := measure(b, "cold-one-after-another", func(b *testing.B) {
		for range n {
			coldStart(b, r)
		}
	})
	atOnce := measure(b, "cold-at-once", func(b *testing.B) {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { coldStart(b, r) })
		}
		wg.Wait()
	})
	ratio(b, "shadows", map[string]time.Duration{"x-cold": serial, "x-cold-at-once": atOnce}, func(b *testing.B) {
		all := manyAnswers(b, e, n)
		b.StopTimer()
		for _, s := range all {
			s.Close()
		}
		b.StartTimer()
	})
}

// measure runs a baseline and returns the time of one.
func measure(b *testing.B, name string, one func(b *testing.B)) (each time.Duration) {
	b.Run(name, func(b *testing.B) {
		for range b.N {
			one(b)
		}
		each = b.Elapsed() / time.Duration(b.N)
	})
	return each
}

// ratio runs a benchmark and reports how many times as fast as each baseline of
// the same run it is.
func ratio(b *testing.B, name string, baselines map[string]time.Duration, one func(b *testing.B)) {
	b.Run(name, func(b *testing.B) {
		for range b.N {
			one(b)
		}
		for metric, baseline := range baselines {
			if baseline > 0 { // else it was filtered out
				b.ReportMetric(float64(baseline)*float64(b.N)/float64(b.Elapsed()), metric)
			}
		}
	})
}

// BenchmarkThousand has 1,000 shadows alive at once and reports their mean
// private memory; the goal is at most 1 MiB.
func BenchmarkThousand(b *testing.B) {
	e, _ := warm(b, 1000)
	for range b.N {
		begin := time.Now()
		all := manyAnswers(b, e, 1000)
		b.ReportMetric(time.Since(begin).Seconds(), "s/1000")
		var private int64
		for _, s := range all {
			private += privateKiB(b, s.PID)
		}
		b.ReportMetric(float64(private)/1000, "KiB-private")
		var wg sync.WaitGroup
		for _, s := range all {
			wg.Go(func() { s.Close() })
		}
		wg.Wait()
	}
}

// privateKiB reads how much memory of a process no other process shares.
func privateKiB(t testing.TB, pid int) (sum int64) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var n int64
		if _, err := fmt.Sscanf(line, "Private_Dirty: %d kB", &n); err == nil {
			sum += n
		} else if _, err := fmt.Sscanf(line, "Private_Clean: %d kB", &n); err == nil {
			sum += n
		}
	}
	return sum
}
