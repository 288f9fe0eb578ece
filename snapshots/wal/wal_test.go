package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WAL_CHILD"); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	o.Create = true
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// put appends records and waits for the last.
func put(t testing.TB, l *Log, data ...[]byte) (last LSN) {
	t.Helper()
	for _, b := range data {
		lsn, err := l.Append(b)
		if err != nil {
			t.Fatal(err)
		}
		last = lsn
	}
	if err := l.Wait(context.Background(), last); err != nil {
		t.Fatal(err)
	}
	return last
}

func replay(t testing.TB, l *Log, from LSN) (all []Record) {
	t.Helper()
	for rec, err := range l.Replay(from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

func TestRecordsComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	big := bytes.Repeat([]byte("jird"), MaxRecord/4)
	data := [][]byte{[]byte("one"), {}, big, []byte("four"), big[:3<<20], []byte("six")}
	l := mustOpen(t, dir, Options{SegmentSize: 1 << 20})
	if l.First() != 1 || l.Last() != 0 || l.Durable() != 0 {
		t.Errorf("a new journal is at %d, %d, %d", l.First(), l.Last(), l.Durable())
	}
	buffer := []byte("one")
	if lsn, err := l.Append(buffer); lsn != 1 || err != nil {
		t.Fatal(lsn, err)
	}
	copy(buffer, "xxx") // the journal has its own copy
	if last := put(t, l, data[1:]...); last != 6 {
		t.Errorf("the last of six is %d", last)
	}
	if _, err := l.Append(make([]byte, MaxRecord+1)); err == nil {
		t.Error("a record above the limit was taken")
	}
	for range 2 {
		if l.First() != 1 || l.Last() != 6 || l.Durable() != 6 || l.Torn() != 0 {
			t.Errorf("six records are at %d, %d, %d, torn %d", l.First(), l.Last(), l.Durable(), l.Torn())
		}
		for _, from := range []LSN{0, 1, 4, 6, 7, 9} {
			records := replay(t, l, from)
			if len(records) != max(0, 7-max(1, int(from))) {
				t.Fatalf("%d records from %d on", len(records), from)
			}
			for i, rec := range records {
				if rec.LSN != max(from, 1)+LSN(i) || !bytes.Equal(rec.Data, data[rec.LSN-1]) {
					t.Errorf("from %d: record %d has changed", from, rec.LSN)
				}
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, dir, Options{})
	}
	l.Close()
	report, err := Verify(dir)
	if err != nil || report.Lost() || report.First != 1 || report.Last != 6 || report.Entries != 6 || report.Bytes != MaxRecord+3<<20+10 || report.Torn != 0 || len(report.Faults) != 0 || report.Segments < 3 {
		t.Errorf("%+v, %v", report, err)
	}
	n := 0
	for rec, err := range Records(dir, 2) {
		if err != nil || !bytes.Equal(rec.Data, data[rec.LSN-1]) {
			t.Errorf("record %d: %v", rec.LSN, err)
		}
		if n++; rec.LSN == 3 {
			break
		}
	}
	if n != 2 {
		t.Errorf("records 2 and 3 are %d", n)
	}
}

func TestLookingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{SegmentSize: smallSegment})
	put(t, l, bytes.Repeat([]byte("a"), 3000), []byte("b"))
	l.Close()
	before := snapshot(t, dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	if report, err := Verify(dir); err != nil || report.Entries != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, err := range Records(dir, 0) {
		if err != nil {
			t.Error(err)
		}
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("the folder was\n%s\nand is\n%s", before, after)
	}
}

// snapshot is the names, times and bytes of a folder.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&s, "%s %v %x\n", e.Name(), info.ModTime(), data)
	}
	return s.String()
}

func TestAJournalIsNotMadeByMistake(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := Open(path, Options{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opening %s without Create: %v", path, err)
		}
		if _, err := Verify(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("verifying %s: %v", path, err)
		}
	}
	for _, size := range []int{-1, maxSegmentSize + 1} {
		if _, err := Open(dir, Options{Create: true, SegmentSize: size}); err == nil {
			t.Errorf("segments of %d bytes", size)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	put(t, l, []byte("a"))
	me := fmt.Sprintf("process %d ", os.Getpid())
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), me) {
		t.Errorf("a second Open: %v", err)
	}
	if _, err := Verify(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), me) {
		t.Errorf("Verify of an open journal: %v", err)
	}
	for _, err := range Records(dir, 0) {
		if !errors.Is(err, ErrInUse) {
			t.Errorf("Records of an open journal: %v", err)
		}
	}
	if got := replay(t, l, 0); len(got) != 1 {
		t.Errorf("the owner reads %v", got)
	}
	l.Close()
	if _, err := Verify(dir); err != nil {
		t.Errorf("Verify after Close: %v", err)
	}
	mustOpen(t, dir, Options{})
}

func TestTruncation(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{SegmentSize: smallSegment, First: 1000})
	for i := range 20 {
		put(t, l, fmt.Appendf(nil, "%0400d", i))
	}
	segments := func() int {
		list, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := segments()
	for _, lsn := range []LSN{0, 1, 1000} {
		if err := l.TruncateBefore(lsn); err != nil || l.First() != 1000 {
			t.Errorf("truncating before %d: first is %d, %v", lsn, l.First(), err)
		}
	}
	if err := l.TruncateBefore(1021); err == nil {
		t.Error("truncated what was never appended")
	}
	if err := l.TruncateBefore(1011); err != nil || l.First() != 1011 || segments() >= before {
		t.Errorf("first is %d, %d segments of %d, %v", l.First(), segments(), before, err)
	}
	for range 2 {
		if got := replay(t, l, 5); len(got) != 9 || got[0].LSN != 1011 {
			t.Errorf("%d records from %v on", len(got), got[0].LSN)
		}
		l.Close()
		l = mustOpen(t, dir, Options{SegmentSize: smallSegment})
	}
	if err := l.TruncateBefore(1020); err != nil || l.First() != 1020 || l.Last() != 1019 {
		t.Errorf("an empty journal is at %d, %d: %v", l.First(), l.Last(), err)
	}
	for range 2 {
		l.Close()
		if report, err := Verify(dir); err != nil || report.Entries != 0 || report.Last != l.Last() || len(report.Faults) > 0 {
			t.Errorf("%+v, %v", report, err)
		}
		l = mustOpen(t, dir, Options{SegmentSize: smallSegment})
		if l.First() != 1020 || l.Last() != 1019 {
			t.Errorf("an empty journal is at %d, %d", l.First(), l.Last())
		}
	}
	if lsn := put(t, l, []byte("next")); lsn != 1020 {
		t.Errorf("LSN %d is given after 1019", lsn)
	}
}

// A reader that is overtaken by a truncation is told.
func TestTruncationDuringAReplay(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{SegmentSize: smallSegment})
	for range 12 {
		put(t, l, make([]byte, 900))
	}
	var last error
	for rec, err := range l.Replay(0) {
		if rec.LSN == 1 {
			if err := l.TruncateBefore(10); err != nil {
				t.Fatal(err)
			}
		}
		last = err
	}
	if !errors.Is(last, ErrTruncated) {
		t.Errorf("the replay ends with %v", last)
	}
}

func TestAfterClose(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{Mode: Batch})
	put(t, l, []byte("a"), []byte("b"))
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if l.Durable() != 2 {
		t.Errorf("Close has made %d of 2 durable", l.Durable())
	}
	if err := l.Wait(context.Background(), 2); err != nil {
		t.Errorf("what is durable is acknowledged no more: %v", err)
	}
	_, err := l.Append(nil)
	for what, err := range map[string]error{"Append": err, "TruncateBefore": l.TruncateBefore(2)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s says %v", what, err)
		}
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("skipped: %v", err)
		}
		return len(list)
	}
	dir, before := t.TempDir(), count()
	l := mustOpen(t, dir, Options{SegmentSize: smallSegment})
	for range 10 {
		put(t, l, make([]byte, 900))
	}
	replay(t, l, 0)
	l.TruncateBefore(4)
	l.Close()
	Verify(dir)
	list, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err := os.Truncate(list[len(list)-1], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Fatal("opened a journal whose last segment is cut")
	}
	if _, err := Verify(dir); err != nil {
		t.Fatal(err)
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
