package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func simLog(t *testing.T, d *disk, mode Mode) *Log {
	t.Helper()
	return mustOpen(t, "sim", Options{FS: d, Mode: mode, SegmentSize: 1 << 16})
}

func appendN(t *testing.T, l *Log, n int) (last LSN) {
	t.Helper()
	for range n {
		lsn, err := l.Append([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		last = lsn
	}
	return last
}

// after sleeps and lets the committer do what is due.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Nothing is due before its time, and all of it at its time, as one group.
func TestGroupsByTime(t *testing.T) {
	for mode, window := range map[Mode]time.Duration{Sync: SyncDelay, Batch: BatchDelay} {
		synctest.Test(t, func(t *testing.T) {
			l := simLog(t, newDisk(), mode)
			appendN(t, l, 3)
			after(window / 2)
			appendN(t, l, 4)
			after(window/2 - 1)
			if l.Durable() != 0 {
				t.Errorf("mode %d: committed before its time", mode)
			}
			if s := l.Stats(); s.Waiting != 7 || s.Age != window-1 {
				t.Errorf("mode %d: at risk %+v", mode, s)
			}
			after(1)
			s := l.Stats()
			if l.Durable() != 7 || s.Syncs != 1 || s.Appends != 7 || s.Bytes != 7 {
				t.Errorf("mode %d: durable to %d, %+v", mode, l.Durable(), s)
			}
			if s.Waiting != 0 || s.Age != 0 || s.WaitingMax != 7 || s.AgeMax != window {
				t.Errorf("mode %d: the loss window was %+v", mode, s)
			}
			after(10 * window)
			if l.Stats().Syncs != 1 {
				t.Error("an empty group was synced")
			}
			l.Close()
		})
	}
}

func TestGroupsByCount(t *testing.T) {
	for mode, full := range map[Mode]int{Sync: BatchEntries, Batch: BatchEntries / 2} {
		synctest.Test(t, func(t *testing.T) {
			l := simLog(t, newDisk(), mode)
			appendN(t, l, full-1)
			synctest.Wait()
			if l.Durable() != 0 {
				t.Errorf("mode %d: committed with %d records", mode, full-1)
			}
			appendN(t, l, 1)
			synctest.Wait()
			if l.Durable() != LSN(full) || l.Stats().Syncs != 1 {
				t.Errorf("mode %d: durable to %d with %d syncs", mode, l.Durable(), l.Stats().Syncs)
			}
			l.Close()
		})
	}
}

// In mode Sync a caller that waits pays for a commit and for no timer.
func TestWaitIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := simLog(t, newDisk(), Sync)
		began := time.Now()
		for range 20 {
			put(t, l, []byte("x"))
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("20 records have waited %v", waited)
		}
		l.Close()
	})
}

// In mode Batch an acknowledgement does not wait for the disk, until 100 records
// are at risk.
func TestBatchAcknowledgesWithinItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l := simLog(t, d, Batch)
		stuck := make(chan struct{})
		d.slow = func(verb string) {
			if verb == "sync" {
				<-stuck
			}
		}
		last := appendN(t, l, BatchEntries)
		if err := l.Wait(context.Background(), last); err != nil {
			t.Fatal(err)
		}
		over := appendN(t, l, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Wait(ctx, over); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a record was acknowledged with 101 at risk: %v", err)
		}
		close(stuck)
		if err := l.Wait(context.Background(), over); err != nil {
			t.Error(err)
		}
		if err := l.Sync(context.Background()); err != nil || l.Durable() != over {
			t.Errorf("after Sync %d of %d are durable: %v", l.Durable(), over, err)
		}
		if s := l.Stats(); s.WaitingMax != BatchEntries+1 || s.AgeMax != time.Minute || s.SyncTimeMax != time.Minute {
			t.Errorf("the loss window was measured as %+v", s)
		}
		l.Close()
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l := simLog(t, d, Sync)
		if err := l.Wait(context.Background(), 1); err == nil {
			t.Error("waited for a record that was never appended")
		}
		stuck := make(chan struct{})
		d.slow = func(string) { <-stuck }
		last := appendN(t, l, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Wait(ctx, last); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait says %v", err)
		}
		close(stuck)
		l.Close()
		if l.Durable() != last {
			t.Error("Close has not committed the queue")
		}
	})
}

// A reader sees no record that a crash could still take.
func TestReplayOfAGroupInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l := simLog(t, d, Sync)
		put(t, l, []byte("one"))
		stuck := make(chan struct{})
		d.slow = func(verb string) {
			if verb == "sync" {
				<-stuck
			}
		}
		appendN(t, l, 2)
		after(time.Second) // written, and the fsync goes on
		if got := replay(t, l, 0); len(got) != 1 || l.Durable() != 1 || l.Last() != 3 {
			t.Errorf("%d records are read, %d are durable of %d", len(got), l.Durable(), l.Last())
		}
		close(stuck)
		synctest.Wait()
		if got := replay(t, l, 0); len(got) != 3 {
			t.Errorf("%d records are read of 3", len(got))
		}
		l.Close()
	})
}

// Callers at once share fsyncs, get their LSNs in their own order, and find what
// they wrote.
func TestConcurrentAppenders(t *testing.T) {
	for _, mode := range []Mode{Sync, Batch} {
		dir := t.TempDir()
		l := mustOpen(t, dir, Options{Mode: mode, SegmentSize: 1 << 16})
		const callers, each = 16, 60
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				last := LSN(0)
				for i := range each {
					lsn, err := l.Append(binary.LittleEndian.AppendUint64(nil, uint64(caller*each+i)))
					if err == nil {
						err = l.Wait(context.Background(), lsn)
					}
					if err != nil || lsn <= last {
						t.Errorf("record %d after %d: %v", lsn, last, err)
						return
					}
					if durable := l.Durable(); mode == Sync && durable < lsn {
						t.Errorf("%d was acknowledged, %d is durable", lsn, durable)
					}
					last = lsn
				}
			})
		}
		all.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		s := l.Stats()
		if s.Appends != callers*each || s.Syncs >= s.Appends {
			t.Errorf("mode %d: %d syncs for %d records", mode, s.Syncs, s.Appends)
		}
		l = mustOpen(t, dir, Options{})
		next := [callers]uint64{}
		for _, rec := range replay(t, l, 0) {
			n := binary.LittleEndian.Uint64(rec.Data)
			if caller := n / each; n%each != next[caller] {
				t.Errorf("caller %d: its record %d where %d must be", caller, n%each, next[caller])
			} else {
				next[caller]++
			}
		}
		for caller, n := range next {
			if n != each {
				t.Errorf("caller %d has %d records", caller, n)
			}
		}
	}
}

// What is vouched for is what a wait for it would return at once: in mode Sync what is
// durable, in mode Batch what 100 records at most are at risk with, never what is not
// there or after a fault.
func TestAcknowledged(t *testing.T) {
	for _, mode := range []Mode{Sync, Batch} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			l := simLog(t, d, mode)
			lsn, err := l.Append([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Acknowledged(lsn); got != (mode == Batch) {
				t.Errorf("mode %d: not durable yet, and acknowledged is %v", mode, got)
			}
			if err := l.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !l.Acknowledged(lsn) || l.Acknowledged(lsn+1) {
				t.Errorf("mode %d: durable %v, not there %v", mode, l.Acknowledged(lsn), l.Acknowledged(lsn+1))
			}
			l.Close()
			if l.Acknowledged(lsn) {
				t.Errorf("mode %d: a closed log vouches", mode)
			}
		})
	}
}
