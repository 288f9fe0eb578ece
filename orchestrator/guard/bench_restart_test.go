package guard_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"jird/orchestrator/journal"
	"jird/snapshots/sexpr"
	"jird/snapshots/wal"
)

// benchTail is how many bytes of records follow the checkpoint.
const benchTail = 8 << 20

// BenchmarkOpen is from opening the folder of a guard that was killed, with 10,000
// keys in the checkpoint and 8 MiB of journal after it, to serving. The baseline
// reads the journal and does nothing with it, then starts a cold gsi: what a restart
// cannot do without.
func BenchmarkOpen(b *testing.B) {
	w := newBench(b)
	o := w.options()
	g, _ := w.open(w.dir, wal.Sync, o)
	check(b, g.Close())
	records := writeTail(b, filepath.Join(w.dir, "journal"))
	var opened, floor, cpu spent
	for b.Loop() {
		dir := b.TempDir()
		check(b, os.CopyFS(dir, os.DirFS(w.dir)))
		before := processorTime(b)
		g, took := w.open(dir, wal.Sync, o)
		opened, cpu = append(opened, took), append(cpu, processorTime(b)-before)
		if got := g.Status().Remembered; got != records {
			b.Fatalf("%d calls are remembered, %d were made", got, records)
		}
		check(b, g.Close())
		floor = append(floor, readAndStart(b, filepath.Join(dir, "journal"), o.Runtime.Interpreter))
	}
	b.ReportMetric(ms(opened.at(0.5)), "ms-p50")
	b.ReportMetric(ms(opened.at(0)), "ms-least")
	b.ReportMetric(ms(cpu.at(0.5)), "ms-cpu-p50")
	b.ReportMetric(float64(opened.at(0.5))/float64(floor.at(0.5)), "p50/floor")
	b.ReportMetric(0, "ns/op")
}

// writeTail appends calls as a guard does, and says how many.
func writeTail(b *testing.B, dir string) (n int) {
	b.Helper()
	l, err := wal.Open(dir, wal.Options{})
	check(b, err)
	defer l.Close()
	for size := 0; size < benchTail; n++ {
		sum := sha256.Sum256(fmt.Append(nil, n))
		body := hex.EncodeToString(sum[:])
		record, err := journal.Encode(&journal.Call{
			ID: fmt.Sprintf("%s-%08d", body[:18], n), Body: body, Time: time.Now().UnixMilli(),
			Reply:  journal.Reply{Status: journal.OK, Value: sexpr.List{sexpr.Symbol("noted"), sexpr.NewInt(int64(n))}},
			Writes: []journal.Write{{Key: benchKey(n), Value: sexpr.String(fmt.Sprintf("what was noted by call %d, at the %d. time", n, n/benchKeys))}},
		})
		check(b, err)
		_, err = l.Append(record)
		check(b, err)
		size += len(record)
	}
	return n
}

func readAndStart(b *testing.B, dir, gsi string) time.Duration {
	b.Helper()
	began := time.Now()
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	check(b, err)
	for _, s := range segments {
		_, err := os.ReadFile(s)
		check(b, err)
	}
	check(b, exec.Command(gsi, "-e", "(display (+ 1 2))").Run())
	return time.Since(began)
}

// processorTime is what this process has used, of all cores; a busy machine changes it
// little.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	check(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
