package wal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random choices; 0: a new one")

// rounds is how long the crash tests go on; `make crash` has many.
var rounds = func() int {
	n, _ := strconv.Atoi(os.Getenv("CRASH_ROUNDS"))
	return max(n, 1)
}()

// stride is how many steps there are to each that is tried.
func stride() int {
	if rounds > 1 {
		return 1
	}
	return 3
}

// seeded returns a source of randomness and says how to have it again.
func seeded(t testing.TB) (uint64, *rand.Rand) {
	t.Helper()
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with -seed %d", seed)
		}
	})
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// history is what the user of a journal knows: what it appended, and what it was
// promised.
type history struct {
	data     map[LSN][]byte // the newest append of an LSN
	appended LSN
	acked    LSN
	ackedAt  map[LSN]time.Time
	cutAsked LSN // the highest TruncateBefore
	cut      LSN // the highest that returned nil
	failed   time.Time
}

func newHistory() *history { return &history{data: map[LSN][]byte{}, ackedAt: map[LSN]time.Time{}} }

func (h *history) append(l *Log, data []byte) (LSN, error) {
	lsn, err := l.Append(data)
	if err == nil {
		h.data[lsn], h.appended = data, lsn
	}
	return lsn, err
}

func (h *history) wait(l *Log, lsn LSN) error {
	err := l.Wait(context.Background(), lsn)
	if err == nil {
		h.acked = lsn
		h.ackedAt[lsn] = time.Now()
	}
	return err
}

func (h *history) truncate(l *Log, lsn LSN) error {
	h.cutAsked = max(h.cutAsked, lsn)
	err := l.TruncateBefore(lsn)
	if err == nil {
		h.cut = max(h.cut, lsn)
	}
	return err
}

func randomData(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

const smallSegment = 2048

// work is a life of a journal with all that it can do. It ends at the first error.
func work(d *disk, h *history, o Options, rng *rand.Rand) error {
	o.FS, o.Create, o.SegmentSize = d, true, smallSegment
	for life := range 2 {
		l, err := Open("sim", o)
		if err != nil {
			return err
		}
		if err := errors.Join(h.live(l, rng, life), l.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) live(l *Log, rng *rand.Rand, life int) error {
	for group := range 9 {
		var last LSN
		for range 1 + rng.IntN(4) {
			size := rng.IntN(200)
			if group == 4 {
				size = 3 * sector // alone more than what is left
			}
			lsn, err := h.append(l, randomData(rng, size))
			if err != nil {
				return err
			}
			last = lsn
		}
		if err := h.wait(l, last); err != nil {
			return err
		}
		if group == 5 && life == 0 {
			if err := h.truncate(l, last-3); err != nil {
				return err
			}
		}
	}
	if life == 0 { // nothing remains
		return h.truncate(l, l.Durable()+1)
	}
	return nil
}

// check opens what a crash left and holds it against the history. least is what
// must be there.
func (h *history) check(t *testing.T, d *disk, least LSN) LSN {
	t.Helper()
	report, err := verify(d)
	if err != nil && !missing(err) || len(report.Faults) > 0 {
		t.Fatalf("verify after a mere crash: %v %v", report.Faults, err)
	}
	l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
	if err != nil {
		t.Fatalf("opening after a crash: %v", err)
	}
	if l.Last() < least || l.Last() > h.appended {
		t.Fatalf("the last record is %d; at least %d were promised and %d appended", l.Last(), least, h.appended)
	}
	if report.Entries > 0 && report.Last != l.Last() || report.Torn != l.Torn() {
		t.Fatalf("verify said %+v, but Open finds %d and drops %d bytes", report, l.Last(), l.Torn())
	}
	if l.First() < h.cut || l.First() > max(h.cutAsked, 1) {
		t.Fatalf("the first record is %d after a truncation to %d (asked %d)", l.First(), h.cut, h.cutAsked)
	}
	h.compare(t, l)
	last := l.Last()
	// What Open has shown must not be lost any more.
	again, err := Open("sim", Options{FS: d.crash(allLost)})
	if err != nil || again.Last() != last {
		t.Fatalf("a second crash after Open: %v", err)
	}
	h.compare(t, again)
	if err := errors.Join(again.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	return last
}

// compare reads the journal and holds every byte against the history.
func (h *history) compare(t *testing.T, l *Log) {
	t.Helper()
	next := l.First()
	for rec, err := range l.Replay(0) {
		if err != nil {
			t.Fatalf("replaying record %d: %v", next, err)
		}
		if rec.LSN != next {
			t.Fatalf("record %d where %d must be", rec.LSN, next)
		}
		if want, ok := h.data[rec.LSN]; !ok || !bytes.Equal(rec.Data, want) {
			t.Fatalf("record %d is not what was appended", rec.LSN)
		}
		next++
	}
	if next != l.Last()+1 {
		t.Fatalf("the replay ends at %d, not at %d", next-1, l.Last())
	}
}

// goOn appends to a recovered journal, cuts the power and looks again.
func (h *history) goOn(t *testing.T, d *disk, rng *rand.Rand) {
	t.Helper()
	l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	h.appended = l.Last() // what was lost may come again
	for range 3 {
		lsn, err := h.append(l, randomData(rng, rng.IntN(400)))
		if err := errors.Join(err, h.wait(l, lsn)); err != nil {
			t.Fatalf("appending after a crash: %v", err)
		}
	}
	h.check(t, d.crash(atRandom(rng)), h.acked)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.check(t, d.crash(allLost), h.acked)
}

func powerCut(at int) func(int, string, string) error {
	return func(step int, _, _ string) error {
		if step == at {
			return errPower
		}
		return nil
	}
}

// clone lets one history go on in several ways.
func (h *history) clone() *history {
	c := *h
	c.data = map[LSN][]byte{}
	for lsn, data := range h.data {
		c.data[lsn] = data
	}
	return &c
}

// bubble runs f with a clock of its own, so that no timer depends on the machine.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// The power goes off at every step of a life; what was not synced survives in many
// ways; the machine comes up, and may lose power at every step of the recovery too.
func TestPowerLossAtEveryStep(t *testing.T) {
	t.Parallel()
	seed, _ := seeded(t)
	bubble(t, func(t *testing.T) {
		for at := int(seed % uint64(stride())); ; at += stride() {
			d, h := newDisk(), newHistory()
			d.fault = powerCut(at)
			err := work(d, h, Options{}, rand.New(rand.NewPCG(seed, 1)))
			if err == nil {
				t.Logf("%d steps", at)
				if at < 80 {
					t.Fatalf("only %d steps: the life is too short to prove anything", at)
				}
				return
			}
			if !errors.Is(err, errPower) {
				t.Fatalf("step %d: %v", at, err)
			}
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			picks := []survival{allLost, allKept}
			for range rounds {
				picks = append(picks, atRandom(rng))
			}
			for i, pick := range picks {
				after := d.crash(pick)
				h.clone().check(t, after.crash(allLost), h.acked)
				if rounds > 1 || i == at/stride()%(4*len(picks)) {
					recoverAgain(t, after, h, rng)
				}
				h.clone().goOn(t, after, rng)
			}
		}
	})
}

// recoverAgain cuts the power at every step of the recovery.
func recoverAgain(t *testing.T, d *disk, h *history, rng *rand.Rand) {
	t.Helper()
	for at := 0; ; at++ {
		again := d.crash(allLost)
		again.fault = powerCut(at)
		l, err := Open("sim", Options{FS: again, Create: true, SegmentSize: smallSegment})
		if err == nil {
			l.Close()
			if !again.off {
				return
			}
		}
		h.clone().check(t, again.crash(atRandom(rng)), h.acked)
	}
}

// The process is killed and the machine runs on: the page cache shows more than is
// on the medium. What the next process shows must survive a loss of power.
func TestKilledThenPowerLoss(t *testing.T) {
	t.Parallel()
	seed, _ := seeded(t)
	bubble(t, func(t *testing.T) {
		for at := 0; ; at++ {
			d, h := newDisk(), newHistory()
			d.fault = powerCut(at)
			if work(d, h, Options{}, rand.New(rand.NewPCG(seed, 1))) == nil {
				return
			}
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			h.clone().check(t, d.die(), h.acked)
			h.clone().goOn(t, d.die(), rng)
		}
	})
}

// In mode Batch a crash takes at most the newest 100 acknowledged records and none
// that is older than a second.
func TestPowerLossInBatchMode(t *testing.T) {
	t.Parallel()
	seed, _ := seeded(t)
	bubble(t, func(t *testing.T) {
		for at := 0; ; at++ {
			d, h := newDisk(), newHistory()
			cut := powerCut(at)
			d.fault = func(step int, verb, name string) error {
				err := cut(step, verb, name)
				if err != nil {
					h.failed = time.Now()
				}
				return err
			}
			if batchLife(d, h, rand.New(rand.NewPCG(seed, 2))) == nil {
				return
			}
			least := max(h.acked, BatchEntries) - BatchEntries
			for lsn, acked := range h.ackedAt {
				if h.failed.Sub(acked) > BatchDelay {
					least = max(least, lsn)
				}
			}
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			for _, pick := range []survival{allLost, atRandom(rng), atRandom(rng)} {
				h.clone().check(t, d.crash(pick), least)
			}
		}
	})
}

func batchLife(d *disk, h *history, rng *rand.Rand) error {
	l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment, Mode: Batch})
	if err != nil {
		return err
	}
	for range 260 {
		if rng.IntN(20) == 0 {
			time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
		}
		lsn, err := h.append(l, randomData(rng, rng.IntN(30)))
		if err == nil {
			err = h.wait(l, lsn)
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return l.Close()
}

// A fault at every step, of every kind: the first one is the last thing that the
// journal does, and a new handle finds all that was promised, before and after a
// loss of power.
func TestFaultAtEveryStep(t *testing.T) {
	t.Parallel()
	seed, _ := seeded(t)
	for _, kind := range []error{errShort, errors.New("input/output error")} {
		bubble(t, func(t *testing.T) {
			for at := int(seed % uint64(stride())); ; at += stride() {
				d, h := newDisk(), newHistory()
				steps := 0
				d.fault = func(step int, _, _ string) error {
					steps = step
					if step == at {
						return kind
					}
					return nil
				}
				if err := work(d, h, Options{}, rand.New(rand.NewPCG(seed, 1))); err == nil {
					return
				} else if !errors.Is(err, kind) {
					t.Fatalf("step %d: %v does not say %v", at, err, kind)
				}
				if d.open != 0 {
					t.Fatalf("after the fault in step %d %d files are open", at, d.open)
				}
				if steps != at {
					t.Fatalf("after the fault in step %d the journal went on to step %d", at, steps)
				}
				rng := rand.New(rand.NewPCG(seed, uint64(at)))
				d.fault = nil
				for _, pick := range []survival{allLost, allKept, atRandom(rng)} {
					h.clone().check(t, d.crash(pick), h.acked)
				}
				h.clone().check(t, d, h.acked)
				h.clone().goOn(t, d, rng)
			}
		})
	}
}

func TestAFailedSyncPoisons(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, h, broken := newDisk(), newHistory(), errors.New("input/output error")
		l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		first, err := h.append(l, []byte("one"))
		if err := errors.Join(err, h.wait(l, first)); err != nil {
			t.Fatal(err)
		}
		syncs := 0
		d.fault = func(_ int, verb, _ string) error {
			if verb != "sync" {
				return nil
			}
			syncs++
			if syncs == 1 {
				return broken
			}
			return nil // a second try would work
		}
		second, err := h.append(l, []byte("two"))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.wait(l, second); !errors.Is(err, broken) || !errors.Is(err, ErrPoisoned) {
			t.Errorf("Wait says %v", err)
		}
		if _, err := l.Append(nil); !errors.Is(err, broken) || !errors.Is(err, ErrPoisoned) {
			t.Errorf("Append says %v", err)
		}
		if err := l.TruncateBefore(first + 1); !errors.Is(err, broken) {
			t.Errorf("TruncateBefore says %v", err)
		}
		if err := l.Sync(context.Background()); !errors.Is(err, broken) {
			t.Errorf("Sync says %v", err)
		}
		if err := l.Wait(context.Background(), first); err != nil {
			t.Errorf("what is durable is acknowledged no more: %v", err)
		}
		if l.Durable() != first || syncs != 1 {
			t.Errorf("durable is %d after %d syncs", l.Durable(), syncs)
		}
		if err := l.Close(); !errors.Is(err, broken) {
			t.Errorf("Close says %v", err)
		}
		h.goOn(t, d, rand.New(rand.NewPCG(1, 1)))
	})
}

// raft-wal only logs that it could not begin a new segment. What filled the old one
// is acknowledged, and nothing else.
func TestAFailedRotationPoisons(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, h, broken := newDisk(), newHistory(), errors.New("no space")
		l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		d.fault = func(_ int, verb, _ string) error {
			if verb == "create" {
				return broken
			}
			return nil
		}
		lsn, err := h.append(l, make([]byte, smallSegment))
		if err := errors.Join(err, h.wait(l, lsn)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := l.Append(nil); !errors.Is(err, broken) {
			t.Errorf("Append says %v", err)
		}
		if err := l.Close(); !errors.Is(err, broken) {
			t.Errorf("Close says %v", err)
		}
		d.fault = nil
		h.goOn(t, d, rand.New(rand.NewPCG(1, 1)))
	})
}
