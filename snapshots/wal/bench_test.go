package wal

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	_ "modernc.org/sqlite"
)

// Each contender makes one record durable before it returns.
type contender struct {
	name string
	open func(b *testing.B, dir string) func(data []byte) error
}

var contenders = []contender{
	{"write+fsync", func(b *testing.B, dir string) func([]byte) error {
		f, err := os.Create(filepath.Join(dir, "plain"))
		check(b, err)
		b.Cleanup(func() { f.Close() })
		var mu sync.Mutex
		return func(data []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if _, err := f.Write(data); err != nil {
				return err
			}
			return f.Sync()
		}
	}},
	{"raft-wal", func(b *testing.B, dir string) func([]byte) error {
		w, err := raftwal.Open(dir, raftwal.WithLogger(hclog.NewNullLogger()))
		check(b, err)
		b.Cleanup(func() { w.Close() })
		var mu sync.Mutex
		index := uint64(0)
		return func(data []byte) error {
			mu.Lock()
			defer mu.Unlock()
			index++
			return w.StoreLog(&raft.Log{Index: index, Data: data})
		}
	}},
	{"sqlite", func(b *testing.B, dir string) func([]byte) error {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
		check(b, err)
		db.SetMaxOpenConns(1) // one writer at a time, without SQLITE_BUSY
		b.Cleanup(func() { db.Close() })
		_, err = db.Exec("create table journal (lsn integer primary key, data blob)")
		check(b, err)
		insert, err := db.Prepare("insert into journal (data) values (?)")
		check(b, err)
		b.Cleanup(func() { insert.Close() })
		return func(data []byte) error {
			_, err := insert.Exec(data)
			return err
		}
	}},
	{"jird", func(b *testing.B, dir string) func([]byte) error {
		l := mustOpen(b, dir, Options{})
		return func(data []byte) error {
			lsn, err := l.Append(data)
			if err != nil {
				return err
			}
			return l.Wait(context.Background(), lsn)
		}
	}},
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAppend gives appends per second of 200-byte records in mode Sync, and as
// a multiple of each other contender in the same run: all take turns in short
// rounds, so that a noisy machine disturbs all alike.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			appends := make([]func([]byte) error, len(contenders))
			for i, c := range contenders {
				appends[i] = c.open(b, b.TempDir())
			}
			spent := make([]time.Duration, len(contenders))
			data := bytes.Repeat([]byte("x"), 200)
			n := 0
			for b.Loop() {
				for i, f := range appends {
					began := time.Now()
					inParallel(b, callers, 4*callers, func() error { return f(data) })
					spent[i] += time.Since(began)
				}
				n += 4 * callers
			}
			jird := len(contenders) - 1
			b.ReportMetric(float64(n)/spent[jird].Seconds(), "appends/s")
			for i, c := range contenders[:jird] {
				b.ReportMetric(float64(spent[i])/float64(spent[jird]), "x-"+c.name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func inParallel(b *testing.B, callers, n int, f func() error) {
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkReopen opens a journal whose last segment is nearly full, and replays
// it: what a restart pays. The baseline reads the same file.
func BenchmarkReopen(b *testing.B) {
	for _, size := range []int{200, 20_000} {
		b.Run(fmt.Sprintf("record=%d", size), func(b *testing.B) {
			dir := b.TempDir()
			l := mustOpen(b, dir, Options{})
			data := bytes.Repeat([]byte("x"), size)
			n := (7 << 20) / (size + 80)
			for range n {
				_, err := l.Append(data)
				check(b, err)
			}
			check(b, l.Close())
			var open, read, plain time.Duration
			for b.Loop() {
				began := time.Now()
				l := mustOpen(b, dir, Options{})
				open += time.Since(began)
				began = time.Now()
				if got := len(replay(b, l, 0)); got != n {
					b.Fatalf("%d records of %d", got, n)
				}
				read += time.Since(began)
				check(b, l.Close())
				began = time.Now()
				list, err := filepath.Glob(filepath.Join(dir, "*.wal"))
				check(b, err)
				_, err = os.ReadFile(list[0])
				check(b, err)
				plain += time.Since(began)
			}
			b.ReportMetric(open.Seconds()*1000/float64(b.N), "ms-open")
			b.ReportMetric(read.Seconds()*1000/float64(b.N), "ms-replay")
			b.ReportMetric(float64(open+read)/float64(plain), "x-ReadFile")
			b.ReportMetric(0, "ns/op")
		})
	}
}
