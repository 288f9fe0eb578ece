package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// lived returns the disk of a journal of several segments, closed or killed, its
// history, and the last LSN of the group before the last.
func lived(t *testing.T, seed uint64, closed bool) (d *disk, h *history, before LSN) {
	t.Helper()
	d, h = newDisk(), newHistory()
	bubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		for group := range 13 {
			before = h.acked
			for range 3 {
				if _, err := h.append(l, randomData(rng, rng.IntN(150))); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.wait(l, h.appended); err != nil {
				t.Fatal(err)
			}
			if group == 6 {
				if err := h.truncate(l, 2); err != nil {
					t.Fatal(err)
				}
			}
		}
		after := d.crash(allLost)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if !closed {
			d = after
		}
	})
	return d, h, before
}

// damaged returns a copy of a disk with one file changed; nil removes it.
func (d *disk) damaged(name string, change func([]byte) []byte) *disk {
	after := d.crash(allLost)
	if data := change(after.names[name].now().data); data != nil {
		after.names[name] = &names{files: []*inode{onMedium(data)}}
	} else {
		delete(after.names, name)
	}
	return after
}

func files(t *testing.T, d *disk) []string {
	t.Helper()
	names, err := d.List()
	if err != nil || len(names) < 4 {
		t.Fatalf("files %v, %v: fewer than a test of damage needs", names, err)
	}
	return names
}

// reading is what a damaged journal gives.
type reading struct {
	report  Report
	opened  bool
	damage  *CorruptError // from Open or Replay
	records int
	torn    int64
}

// read uses a damaged journal in every way. Whatever it gives must be right.
func (h *history) read(t *testing.T, d *disk) (r reading) {
	t.Helper()
	report, err := verify(d)
	if err != nil {
		t.Fatal(err)
	}
	r.report = report
	if m, err := readMeta(d); err == nil {
		each(d, m, 0, nil, func(rec Record, err error) bool { h.right(t, rec, err); return true })
	}
	if d.steps != 0 {
		t.Fatal("Verify has changed something")
	}
	l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
	if err != nil {
		if !errors.As(err, &r.damage) {
			t.Fatalf("an error that names no damage: %v", err)
		}
		if d.steps != 0 {
			t.Fatalf("Open has changed something although %v", err)
		}
		return r
	}
	defer l.Close()
	r.opened, r.torn = true, l.Torn()
	next := l.First()
	for rec, err := range l.Replay(0) {
		h.right(t, rec, err)
		if err != nil {
			if !errors.As(err, &r.damage) {
				t.Fatalf("an error that names no damage: %v", err)
			}
			break
		}
		if rec.LSN != next {
			t.Fatalf("record %d where %d must be", rec.LSN, next)
		}
		next++
		r.records++
	}
	return r
}

func (h *history) right(t *testing.T, rec Record, err error) {
	t.Helper()
	if err == nil && string(h.data[rec.LSN]) != string(rec.Data) {
		t.Fatalf("a wrong record %d, and no error", rec.LSN)
	}
}

// A flipped bit in any byte of any file is noticed, or costs nothing. After a crash
// it may pass for a torn write in the last group, and only there.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	seed, rng := seeded(t)
	for _, closed := range []bool{true, false} {
		d, h, before := lived(t, seed, closed)
		whole := h.read(t, d.crash(allLost))
		noticed, harmless, torn := 0, 0, 0
		for _, name := range files(t, d) {
			size := len(d.names[name].now().data)
			for at := rng.IntN(5); at < size; at += 1 + rng.IntN(30)/rounds {
				bit := byte(1) << rng.IntN(8)
				after := d.damaged(name, func(b []byte) []byte { b[at] ^= bit; return b })
				r := h.read(t, after)
				switch lost := whole.records - r.records; {
				case r.damage != nil:
					noticed++
					if !r.report.Lost() && r.opened {
						t.Fatalf("%s byte %d: the replay says %v, Verify says nothing", name, at, r.damage)
					}
					if len(r.report.Faults) == 0 {
						t.Fatalf("%s byte %d: Open says %v, Verify says nothing", name, at, r.damage)
					}
				case lost == 0:
					harmless++
				case closed || r.torn == 0 || h.acked-LSN(lost) < before || r.report.Torn != r.torn:
					t.Fatalf("%s byte %d: %d records are lost and nobody says so", name, at, lost)
				default:
					torn++
				}
			}
		}
		t.Logf("closed %v: %d noticed, %d harmless, %d taken for torn", closed, noticed, harmless, torn)
		if noticed == 0 || harmless == 0 {
			t.Error("the flips have met nothing")
		}
	}
}

// A file that is gone or cut is noticed, and named.
func TestLostAndCutFiles(t *testing.T) {
	seed, rng := seeded(t)
	for _, closed := range []bool{true, false} {
		d, h, before := lived(t, seed, closed)
		names := files(t, d)
		whole := h.read(t, d.crash(allLost))
		for i, name := range names {
			r := h.read(t, d.damaged(name, func([]byte) []byte { return nil }))
			if r.damage == nil || r.damage.File != name || !r.report.Lost() {
				t.Errorf("%s is gone: %v, and Verify says %v", name, r.damage, r.report.Faults)
			}
			if name != metaName && i > 0 && r.report.Entries == 0 {
				t.Errorf("%s is gone: nothing of the rest can be read", name)
			}
			size := len(d.names[name].now().data)
			for range 40 * rounds {
				to := rng.IntN(size)
				r := h.read(t, d.damaged(name, func(b []byte) []byte { return b[:to] }))
				lost := whole.records - r.records
				if !closed && to >= smallSegment && r.torn > 0 && r.damage == nil && h.acked-LSN(lost) >= before {
					continue // a crash cuts the last group like this
				}
				if len(r.report.Faults) == 0 || lost != 0 && (r.damage == nil || r.damage.File != name) {
					t.Errorf("%s is cut to %d of %d bytes: %v, and Verify says %v", name, to, size, r.damage, r.report.Faults)
				}
			}
		}
	}
}

// An old meta file over newer segments must not make them garbage.
func TestAnOldMetaFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, h := newDisk(), newHistory()
		l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		old := slices.Clone(d.names[metaName].now().data)
		for range 5 {
			lsn, err := h.append(l, make([]byte, 700))
			if err := errors.Join(err, h.wait(l, lsn)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r := h.read(t, d.damaged(metaName, func([]byte) []byte { return old }))
		if r.damage == nil || r.damage.File != metaName || !r.report.Lost() {
			t.Errorf("opened with an old meta file: %v, Verify: %v", r.damage, r.report.Faults)
		}
	})
}

// A segment of another journal has no record of this one.
func TestAStrangersSegment(t *testing.T) {
	seed, _ := seeded(t)
	d, h, _ := lived(t, seed, true)
	other, _, _ := lived(t, seed, true)
	for _, name := range files(t, d) {
		if !strings.HasSuffix(name, ".wal") || other.names[name] == nil {
			continue
		}
		r := h.read(t, d.damaged(name, func([]byte) []byte { return other.names[name].now().data }))
		if r.damage == nil || r.damage.File != name || !r.report.Lost() {
			t.Errorf("%s of another journal: %v, Verify: %v", name, r.damage, r.report.Faults)
		}
	}
}

// A whole and valid record in the place of another one, as a misdirected write
// leaves it.
func TestAMisplacedRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, h := newDisk(), newHistory()
		l, err := Open("sim", Options{FS: d, Create: true, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range []string{"aaaa", "bbbb", "cccc"} {
			lsn, err := h.append(l, []byte(data))
			if err := errors.Join(err, h.wait(l, lsn)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for from, to := range map[string]string{"aaaa": "bbbb", "bbbb": "aaaa", "cccc": "bbbb"} {
			r := h.read(t, d.damaged("00000000000000000001-0000000000000001.wal", func(b []byte) []byte {
				i, j := bytes.Index(b, []byte(from)), bytes.Index(b, []byte(to))
				copy(b[j-envelopeSize:j+4], b[i-envelopeSize:i+4])
				return b
			}))
			if r.damage == nil || !r.report.Lost() {
				t.Errorf("%s in the place of %s: %v, Verify: %v", from, to, r.damage, r.report.Faults)
			}
		}
	})
}

// A read that fails once is an error, and never a shorter journal.
func TestReadFaultAtEveryStep(t *testing.T) {
	seed, _ := seeded(t)
	for _, closed := range []bool{true, false} {
		d, h, _ := lived(t, seed, closed)
		bubble(t, func(t *testing.T) {
			for at := 0; ; at++ {
				again, broken, reads := d.crash(allLost), errors.New("input/output error"), 0
				again.unreadable = func() error {
					if reads++; reads == at+1 {
						return broken
					}
					return nil
				}
				l, err := Open("sim", Options{FS: again})
				if err == nil {
					for _, e := range l.Replay(0) {
						err = e
					}
					err = errors.Join(err, l.Close())
				}
				if again.open != 0 {
					t.Fatalf("read %d fails: %d files are open", at, again.open)
				}
				if reads <= at {
					if at < 10 || err != nil {
						t.Fatalf("%d reads, %v", at, err)
					}
					return
				}
				if !errors.Is(err, broken) {
					t.Fatalf("read %d fails, and the error is %v", at, err)
				}
				again.unreadable = nil
				h.check(t, again, h.acked)
			}
		})
	}
}
