package remote

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BenchmarkEmpty is the cost of a job that does nothing, on the server in this process,
// which syncs: one after the other, and many at once.
func BenchmarkEmpty(b *testing.B) {
	for _, atOnce := range []int{1, 64} {
		b.Run(fmt.Sprint(atOnce, " at once"), func(b *testing.B) {
			p := engines["embedded"](b, usual)
			p.work(testOffer, 8, testJob)
			p.do("first", "echo")
			var g errgroup.Group
			g.SetLimit(atOnce)
			n := 0
			for b.Loop() {
				n++
				id := fmt.Sprint("job-", n)
				g.Go(func() error {
					_, err := p.queue.Do(b.Context(), id, testNeeds, []byte("echo"))
					return err
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkObject is the time in which an object reaches a worker that has just come,
// over loopback; beside it that of putting it.
func BenchmarkObject(b *testing.B) {
	for _, size := range []int{32, 100} {
		b.Run(fmt.Sprint(size, "MiB"), func(b *testing.B) {
			p := engines["loopback"](b, usual)
			var put time.Duration
			n := 0
			for b.Loop() {
				n++
				b.StopTimer()
				data := make([]byte, size<<20)
				rand.Read(data)
				began := time.Now()
				hash, err := p.queue.Put(b.Context(), data)
				if err != nil {
					b.Fatal(err)
				}
				put += time.Since(began)
				b.StartTimer()
				stop := p.work(testOffer, 1, testJob)
				p.do(fmt.Sprint("job-", n), "object "+hash)
				b.StopTimer()
				stop()
				p.queue.forget(b, hash)
				b.StartTimer()
			}
			b.SetBytes(int64(size) << 20)
			b.ReportMetric(put.Seconds()/float64(n), "s/put")
		})
	}
}

// forget makes room for the next object.
func (q *Queue) forget(b *testing.B, hash string) {
	bucket, err := q.link.js.ObjectStore(b.Context(), objectBucket)
	if err == nil {
		err = bucket.Delete(b.Context(), hash)
	}
	if err != nil {
		b.Fatal(err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.objects, hash)
}

// BenchmarkWorkers is how much more eight workers do than one, of jobs that wait 100 ms.
// Both rounds take as long, in turn: a disk that others load for some seconds makes the
// one slower as often as the other, and is seen in what a job took.
func BenchmarkWorkers(b *testing.B) {
	p := engines["loopback"](b, usual)
	round := func(name string, workers int) (perJob time.Duration) {
		var stops []func()
		for range workers {
			stops = append(stops, p.work(testOffer, 1, testJob))
		}
		do := func(stage string, jobs int) {
			var g errgroup.Group
			for i := range jobs {
				g.Go(func() error {
					_, err := p.queue.Do(b.Context(), fmt.Sprint(name, stage, i), testNeeds, []byte("sleep 100ms"))
					return err
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		do("-warm-", 2*workers) // until each has had some
		const each = 10
		began := time.Now()
		do("-", each*workers)
		took := time.Since(began)
		for _, stop := range stops {
			stop()
		}
		return took / each
	}
	var one, eight time.Duration
	n := 0
	for b.Loop() {
		n++
		one += round(fmt.Sprint("one-", n), 1)
		eight += round(fmt.Sprint("eight-", n), 8)
	}
	b.ReportMetric(float64(one.Milliseconds())/float64(n), "ms/job-of-one")
	b.ReportMetric(float64(eight.Milliseconds())/float64(n), "ms/job-of-eight")
	b.ReportMetric(8*one.Seconds()/eight.Seconds(), "times")
}
