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
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/serve"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// BenchmarkKill is from SIGKILL of the live process to the next answer, of another
// process, as a client in a loop sees it. The baseline is an OTP supervisor with a
// port to a cold gsi, which restores nothing; they take turns. 20 calls of load lie
// before each kill.
func BenchmarkKill(b *testing.B) {
	w := newBench(b)
	g, _ := w.open(w.dir, wal.Sync, w.options())
	otp := startOTP(b)
	socket := throughSocket(b, g)
	clients := map[string]func() string{"call": direct(b, g), "socket": func() string { return socket("(get note-7)") }}
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

func direct(b *testing.B, g *guard.Guard) func() string {
	return func() string {
		r, err := g.Call(context.Background(), guard.Request{Datum: sexpr.List{sexpr.Symbol("get"), benchKey(7)}})
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

// recovery kills the live process while its client calls, and returns the time to
// the first answer of another process.
func recovery(b *testing.B, g *guard.Guard, ask func() string) time.Duration {
	b.Helper()
	for range 20 {
		ask()
	}
	pid := g.Status().Live.PID
	if pid == 0 {
		b.Fatal("nothing is live")
	}
	killed := make(chan time.Time, 1)
	before := answeredBy(b, ask())
	go func() {
		killed <- time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.Error(err)
		}
	}()
	for {
		text := ask()
		now := time.Now()
		if n := answeredBy(b, text); n < before {
			if !strings.Contains(text, "number 7") {
				b.Fatalf("memory was not restored: %s", text)
			}
			return now.Sub(<-killed)
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
