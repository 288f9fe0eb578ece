package guard_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/serve"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// BenchmarkKill is from SIGKILL of the live process to the next answer, of another
// process, as any of four clients sees it which write and read in a loop, by calls of
// the guard and over its socket. The baseline is an OTP supervisor with a port to a cold
// gsi, which restores nothing and has no load; they take turns.
func BenchmarkKill(b *testing.B) {
	w := newBench(b)
	g, _ := w.open(w.dir, wal.Sync, w.options())
	otp := startOTP(b)
	clients := map[string]func(request string) string{"call": direct(b, g), "socket": throughSocket(b, g)}
	took := map[string]spent{}
	for b.Loop() {
		for name, ask := range clients {
			took[name] = append(took[name], recovery(b, g, ask))
		}
		took["otp"] = append(took["otp"], otp())
	}
	for name, s := range took {
		b.ReportMetric(ms(s.at(0.5)), "ms-p50-"+name)
		b.ReportMetric(ms(s.at(0.99)), "ms-p99-"+name)
	}
	for name := range clients {
		b.ReportMetric(float64(took[name].at(0.5))/float64(took["otp"].at(0.5)), "p50-"+name+"/otp")
		b.ReportMetric(float64(took[name].at(0.99))/float64(took["otp"].at(0.99)), "p99-"+name+"/otp")
	}
	b.ReportMetric(0, "ns/op")
}

func direct(b *testing.B, g *guard.Guard) func(request string) string {
	return func(request string) string {
		datum, err := sexpr.Read([]byte(request))
		check(b, err)
		r, err := g.Call(context.Background(), guard.Request{Datum: datum})
		check(b, err)
		text, err := sexpr.Canonical(r.Reply.Value)
		check(b, err)
		return string(text)
	}
}

// throughSocket serves the guard and returns a client of it.
func throughSocket(b *testing.B, g *guard.Guard) func(request string) string {
	path := filepath.Join(b.TempDir(), "guard.sock")
	listener, err := serve.Listen(path)
	check(b, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func(l net.Listener) { ended <- serve.Serve(ctx, g, l) }(listener)
	b.Cleanup(func() { stop(); <-ended })
	client := serve.NewClient(path)
	return func(request string) string {
		answer, _, err := client.Call(ctx, request, nil)
		check(b, err)
		return answer
	}
}

// answer is what one client was told, and when.
type answer struct {
	text string
	at   time.Time
}

// crowd has clients write and read until stop.
func crowd(ask func(request string) string) (answers <-chan answer, stop func()) {
	all, quit := make(chan answer, 1024), make(chan struct{})
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := 0; ; i++ {
				request := fmt.Sprintf("(get note-%d)", c)
				if i%2 == 0 {
					request = fmt.Sprintf(`(put note-%d "number %d")`, c, i)
				}
				text := ask(request)
				select {
				case all <- answer{text, time.Now()}:
				case <-quit:
					return
				}
			}
		})
	}
	return all, func() { close(quit); clients.Wait() }
}

// recovery kills the live process under load, and returns the time to the first answer
// of another process.
func recovery(b *testing.B, g *guard.Guard, ask func(request string) string) time.Duration {
	b.Helper()
	answers, stop := crowd(ask)
	defer stop()
	most := 0
	see := func() (n int, at time.Time) {
		a := <-answers
		if n = answeredBy(b, a.text); strings.HasPrefix(a.text, "(") && !strings.Contains(a.text, "number") {
			b.Fatalf("memory was not restored: %s", a.text)
		}
		return n, a.at
	}
	for range 50 {
		n, _ := see()
		most = max(most, n)
	}
	pid := g.Status().Live.PID
	killed := time.Now()
	check(b, syscall.Kill(pid, syscall.SIGKILL))
	for {
		// Answers of one process may overtake each other, by no more than there are clients.
		if n, at := see(); n < most-8 {
			return at.Sub(killed)
		} else {
			most = max(most, n)
		}
	}
}

// startOTP compiles and starts the baseline; each call of the result has it killed
// once.
func startOTP(b *testing.B) func() time.Duration {
	b.Helper()
	dir := b.TempDir()
	if out, err := exec.Command("erlc", "-o", dir, "testdata/otp.erl").CombinedOutput(); err != nil {
		b.Skipf("skipped: compiling the baseline (Debian: apt-get install erlang-base): %v: %s", err, out)
	}
	c := exec.Command("erl", "-noshell", "-kernel", "logger_level", "none", "-pa", dir, "-eval", "otp:main(), halt().")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	check(b, err)
	out, err := c.StdoutPipe()
	check(b, err)
	check(b, c.Start())
	b.Cleanup(func() { in.Close(); _ = c.Wait() })
	lines := bufio.NewReader(out)
	return func() time.Duration {
		_, err := fmt.Fprintln(in)
		check(b, err)
		var micro int64
		_, err = fmt.Fscanln(lines, &micro)
		check(b, err)
		return time.Duration(micro) * time.Microsecond
	}
}
