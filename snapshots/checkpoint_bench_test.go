package snapshots

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pieces are keys and values of which the values do not compress.
func pieces(r *rand.Rand, total int) [][]byte {
	var all [][]byte
	for at := 0; at < total; at += 64 << 10 {
		all = append(all, pieceAt(r))
	}
	return all
}

func pieceAt(r *rand.Rand) []byte {
	var b []byte
	for len(b) < 64<<10-100 {
		b = fmt.Appendf(b, "(\"key-%d\" . #u8(", r.IntN(1e6))
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
		b = append(b, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa))"...)
	}
	return b
}

// plain writes the same bytes to one file and syncs it: what any checkpoint costs
// at least.
func plain(b *testing.B, path string, pieces [][]byte) time.Duration {
	start := time.Now()
	f, err := os.Create(path)
	for _, p := range pieces {
		if err == nil {
			_, err = f.Write(p)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	f.Close()
	return time.Since(start)
}

func size(b *testing.B, dir string) (total int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		total += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// BenchmarkCheckpoint puts a first checkpoint, and one in which a hundredth of the
// pieces changed, and reads the newest back; each beside a plain file of the same
// bytes, written or rewritten and synced.
func BenchmarkCheckpoint(b *testing.B) {
	for _, mb := range []int{1, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			parts := pieces(r, mb<<20)
			var first, second, read, file time.Duration
			var added, stored int64
			for range b.N {
				dir := b.TempDir()
				v, err := Open(filepath.Join(dir, "v"))
				if err != nil {
					b.Fatal(err)
				}
				id, err := v.Put(image(1))
				if err != nil {
					b.Fatal(err)
				}
				put := func(lsn uint64) time.Duration {
					start := time.Now()
					if _, err := v.PutCheckpoint(Checkpoint{Agent: "a", LSN: lsn, Image: id, Parts: []Part{{"memory", parts}}}); err != nil {
						b.Fatal(err)
					}
					return time.Since(start)
				}
				file += plain(b, filepath.Join(dir, "plain"), parts)
				first += put(1)
				stored = size(b, v.dir)
				for range max(1, len(parts)/100) {
					parts[r.IntN(len(parts))] = pieceAt(r)
				}
				second += put(2)
				added = size(b, v.dir) - stored
				start := time.Now()
				if _, _, err := v.Newest("a"); err != nil {
					b.Fatal(err)
				}
				read += time.Since(start)
				v.Close()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(file.Milliseconds())/float64(b.N), "plain-ms")
			b.ReportMetric(first.Seconds()/file.Seconds(), "first/plain")
			b.ReportMetric(second.Seconds()/file.Seconds(), "1%/plain")
			b.ReportMetric(read.Seconds()/file.Seconds(), "read/plain")
			b.ReportMetric(float64(stored)/float64(mb<<20), "stored/plain")
			b.ReportMetric(float64(added)/float64(mb<<20), "added/plain")
		})
	}
}
