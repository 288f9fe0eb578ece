package wal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkPlain compares durable appends of 200-byte records by one caller with
// what can be done by hand: a file that grows, and fdatasync. Single records take
// turns, and so do groups of 100 records for one sync.
func BenchmarkPlain(b *testing.B) {
	for name, size := range map[string]int{"single": 1, "group=100": 100} {
		b.Run(name, func(b *testing.B) {
			plain, jird := plainAppender(b), jirdAppender(b)
			data := bytes.Repeat([]byte("x"), 200)
			var byHand, ours time.Duration
			for n := 0; b.Loop(); n++ {
				began := time.Now()
				check(b, plain(data, size))
				byHand += time.Since(began)
				began = time.Now()
				check(b, jird(data, size))
				ours += time.Since(began)
			}
			b.ReportMetric(float64(size*b.N)/ours.Seconds(), "appends/s")
			b.ReportMetric(float64(size*b.N)/byHand.Seconds(), "appends/s-plain")
			b.ReportMetric(float64(byHand)/float64(ours), "x-write+fdatasync")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func plainAppender(b *testing.B) func(data []byte, n int) error {
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	check(b, err)
	b.Cleanup(func() { f.Close() })
	return func(data []byte, n int) error {
		for range n {
			if _, err := f.Write(data); err != nil {
				return err
			}
		}
		return unix.Fdatasync(int(f.Fd()))
	}
}

func jirdAppender(b *testing.B) func(data []byte, n int) error {
	l := mustOpen(b, b.TempDir(), Options{})
	b.Cleanup(func() { l.Close() })
	return func(data []byte, n int) (err error) {
		var last LSN
		for range n {
			if last, err = l.Append(data); err != nil {
				return err
			}
		}
		return l.Wait(context.Background(), last)
	}
}
