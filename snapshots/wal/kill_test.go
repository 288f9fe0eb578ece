package wal

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child appends until it is killed and prints each record that was acknowledged:
// LSN and checksum.
func child(dir string) {
	l, err := Open(dir, Options{Create: true, SegmentSize: 1 << 14})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	for range 4 {
		go func() {
			for {
				data := randomData(rand.New(rand.NewPCG(rand.Uint64(), 0)), rand.IntN(600))
				lsn, err := l.Append(data)
				if err == nil {
					err = l.Wait(context.Background(), lsn)
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				if lsn%200 == 0 {
					if err := l.TruncateBefore(lsn - 100); err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
				}
				out.Lock()
				fmt.Printf("%d %d\n", lsn, crc32.ChecksumIEEE(data))
				out.Unlock()
			}
		}()
	}
	select {}
}

// A real process is killed at random moments, again and again on the same folder.
// (A kill keeps the page cache: for power see the simulated disk.)
func TestKilledProcess(t *testing.T) {
	_, rng := seeded(t)
	dir := t.TempDir()
	acked := map[LSN]uint32{}
	last := LSN(0)
	for range 5 * rounds {
		killChild(t, dir, time.Duration(rng.IntN(120))*time.Millisecond, func(lsn LSN, sum uint32) {
			acked[lsn], last = sum, max(last, lsn)
		})
		l, err := Open(dir, Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		if l.Last() < last {
			t.Errorf("record %d was acknowledged, the last one is %d", last, l.Last())
		}
		next := l.First()
		for rec, err := range l.Replay(0) {
			if err != nil || rec.LSN != next {
				t.Fatalf("record %d where %d must be: %v", rec.LSN, next, err)
			}
			if sum, ok := acked[rec.LSN]; ok && sum != crc32.ChecksumIEEE(rec.Data) {
				t.Errorf("record %d is not the one that was acknowledged", rec.LSN)
			}
			next++
		}
		if next != l.Last()+1 {
			t.Errorf("the replay ends before %d, the last record is %d", next, l.Last())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d records acknowledged", len(acked))
	if len(acked) == 0 {
		t.Error("no record was acknowledged: nothing was tested")
	}
}

func killChild(t *testing.T, dir string, alive time.Duration, acked func(LSN, uint32)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WAL_CHILD="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewReader(out)
	for first := true; ; first = false {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // half a line was not acknowledged
			break
		}
		if first { // it works: from now on it may die at any moment
			kill.Reset(alive)
		}
		var lsn LSN
		var sum uint32
		if _, err := fmt.Sscan(line, &lsn, &sum); err != nil {
			t.Errorf("the child says %q", line)
		}
		acked(lsn, sum)
	}
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended by itself: %v", cmd.ProcessState)
	}
}
