package remote

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestConformance holds every engine to the same promises.
func TestConformance(t *testing.T) {
	tests := map[string]func(*testing.T, *place){
		"a job and its result":            plain,
		"an id has one result":            oneResult,
		"large bodies and results":        large,
		"objects":                         objects,
		"many jobs, many workers":         many,
		"one job, several who wait":       shared,
		"a slow worker keeps its job":     slow,
		"a worker of another kind":        otherKind,
		"a stronger worker":               stronger,
		"a dead letter":                   deadLetter,
		"a job that is withdrawn":         withdrawn,
		"a worker that ends gives back":   givesBack,
		"a result that is late":           late,
		"an object that the server lost":  lostObject,
		"a stream that the server lost":   lostStream,
		"a consumer that the server lost": lostConsumer,
		"a job that the server lost":      lostJob,
	}
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, open(t))
				})
			}
		})
	}
}

func plain(t *testing.T, p *place) {
	p.work(testOffer, 1, testJob)
	expect(t, p.do("one", "echo hello"), "hello")
	expect(t, p.do("two", "echo "), "")
}

func oneResult(t *testing.T, p *place) {
	var n atomic.Int64
	p.work(testOffer, 2, counted(&n, testJob))
	for range 3 {
		expect(t, p.do("same", "echo hello"), "hello")
	}
	if n.Load() != 1 {
		t.Errorf("done %d times", n.Load())
	}
}

func large(t *testing.T, p *place) {
	p.work(testOffer, 1, testJob)
	body := "measure " + strings.Repeat("y", 3<<20)
	expect(t, p.do("body", body), strconv.Itoa(len(body)))
	if got := p.do("result", "make "+strconv.Itoa(3<<20)); got != strings.Repeat("x", 3<<20) {
		t.Errorf("%d bytes", len(got))
	}
}

func objects(t *testing.T, p *place) {
	p.work(testOffer, 2, testJob)
	data := bytes.Repeat([]byte("snapshot"), 300_000)
	hash, err := p.queue.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.queue.Put(t.Context(), data)
	if err != nil || again != hash {
		t.Fatalf("%s, %v", again, err)
	}
	for i := range 4 {
		expect(t, p.do(fmt.Sprint("use-", i), "object "+hash), strconv.Itoa(len(data)))
	}
}

func many(t *testing.T, p *place) {
	jobs := 100
	if p.queue.cfg.Listen != "" && p.queue.cfg.Workers == nil {
		jobs = 1000
	}
	var begun atomic.Int64
	for range 8 {
		p.work(testOffer, 1, counted(&begun, testJob))
	}
	var g errgroup.Group
	g.SetLimit(200)
	for i := range jobs {
		g.Go(func() error {
			result, err := p.queue.Do(t.Context(), fmt.Sprint("job-", i), testNeeds, fmt.Append(nil, "echo ", i))
			if err == nil && string(result) != fmt.Sprint(i) {
				err = fmt.Errorf("job %d: %q", i, result)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if begun.Load() != int64(jobs) {
		t.Errorf("%d jobs were begun for %d", begun.Load(), jobs)
	}
}

func shared(t *testing.T, p *place) {
	var n atomic.Int64
	hold := make(chan struct{})
	var g errgroup.Group
	for range 5 {
		g.Go(func() error {
			result, err := p.queue.Do(t.Context(), "shared", testNeeds, []byte("echo hello"))
			if err == nil && string(result) != "hello" {
				err = fmt.Errorf("%q", result)
			}
			return err
		})
	}
	p.work(testOffer, 3, counted(&n, func(ctx context.Context, get Get, body []byte) ([]byte, error) {
		<-hold
		return testJob(ctx, get, body)
	}))
	close(hold)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n.Load() != 1 {
		t.Errorf("done %d times", n.Load())
	}
}

func slow(t *testing.T, p *place) {
	p.queue.cfg.ackWait = 4 * time.Second // a loaded machine may pause a beat for most of it
	var n atomic.Int64
	for range 2 {
		p.work(testOffer, 1, counted(&n, testJob))
	}
	expect(t, p.do("slow", fmt.Sprint("sleep ", p.queue.cfg.ackWait*5/4)), "slept")
	if n.Load() != 1 {
		t.Errorf("given to %d workers", n.Load())
	}
}

func otherKind(t *testing.T, p *place) {
	for _, change := range []func(*Offer){
		func(o *Offer) { o.Runtime = "gambit 4.9.4" },
		func(o *Offer) { o.Evaluator = "fedcba" },
		func(o *Offer) { o.Protocol++ },
		func(o *Offer) { o.Isolation-- },
	} {
		other := testOffer
		change(&other)
		p.work(other, 1, func(context.Context, Get, []byte) ([]byte, error) {
			t.Errorf("%v got a job for %v", other, testNeeds)
			return nil, errTold
		})
	}
	done := p.waiting("picky", "echo hello")
	p.wait("jobs wait for a worker with gambit 4.9.3, of this version: ")
	for _, lacks := range []string{"has gambit 4.9.4", "is of another version", "isolates less than is asked for"} {
		if p.count(lacks) == 0 {
			t.Errorf("it is not said that one %s: %q", lacks, p.lines)
		}
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-done, "hello<nil>")
	if n := p.count("jobs wait"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func stronger(t *testing.T, p *place) {
	strong := testOffer
	strong.Isolation = 3
	p.work(strong, 1, testJob)
	var g errgroup.Group
	for level := range Isolations {
		g.Go(func() error {
			needs := testNeeds
			needs.Isolation = level
			_, err := p.queue.Do(t.Context(), fmt.Sprint("level-", level), needs, []byte("echo hello"))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func deadLetter(t *testing.T, p *place) {
	var n atomic.Int64
	p.work(testOffer, 1, counted(&n, testJob))
	_, err := p.queue.Do(t.Context(), "poison", testNeeds, []byte("fail"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"job poison", "3 workers took it", errTold.Error(), "start again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if n.Load() != 3 {
		t.Errorf("tried %d times", n.Load())
	}
	// It is out of the way, and its id can be used again.
	expect(t, p.do("poison", "echo cured"), "cured")
}

func withdrawn(t *testing.T, p *place) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := p.queue.Do(ctx, "unwanted", testNeeds, []byte("echo hello"))
		failed <- err
	}()
	p.wait("jobs wait")
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("no error")
	}
	var n atomic.Int64
	p.work(testOffer, 1, counted(&n, testJob))
	expect(t, p.do("wanted", "echo hello"), "hello")
	if n.Load() != 1 {
		t.Errorf("%d jobs were done", n.Load())
	}
}

func givesBack(t *testing.T, p *place) {
	if p.queue.server == nil || p.queue.cfg.Listen != "" {
		t.Skip("skipped: other workers finish what is under way")
	}
	// More often than a job may fail.
	done := make(chan string, 1)
	go func() {
		result, err := p.queue.Do(t.Context(), "back", testNeeds, []byte("echo hello"))
		done <- fmt.Sprint(string(result), err)
	}()
	for range Tries + 1 {
		begun := make(chan struct{}, 1)
		stop := p.work(testOffer, 1, func(ctx context.Context, get Get, body []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		<-begun
		stop()
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-done, "hello<nil>")
}

// late has two workers do the same job at once, as when one was suspended and has come back.
func late(t *testing.T, p *place) {
	var begun atomic.Int64
	second := make(chan struct{})
	stop := p.work(testOffer, 2, func(ctx context.Context, get Get, body []byte) ([]byte, error) {
		if begun.Add(1) > 1 {
			return []byte("first"), nil
		}
		if _, err := p.queue.link.js.Publish(ctx, testNeeds.subject("twice"), nil); err != nil {
			t.Error(err)
		}
		<-second
		return []byte("late"), nil
	})
	expect(t, p.do("twice", ""), "first")
	close(second)
	stop()
	expect(t, p.do("twice", ""), "first")
	if begun.Load() != 2 {
		t.Errorf("begun %d times", begun.Load())
	}
}

func lostObject(t *testing.T, p *place) {
	data := []byte("a snapshot")
	hash, err := p.queue.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.queue.link.js.DeleteObjectStore(t.Context(), objectBucket); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, p.do("lost", "object "+hash), strconv.Itoa(len(data)))

	// One that has changed is no better than none.
	bucket, err := p.queue.link.js.ObjectStore(t.Context(), objectBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutBytes(t.Context(), hash, []byte("another snapshot")); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob) // that has none in its memory
	for i := range 4 {
		expect(t, p.do(fmt.Sprint("changed-", i), "object "+hash), strconv.Itoa(len(data)))
	}
}

// waiting submits a job that no worker takes yet.
func (p *place) waiting(id, body string) (result <-chan string) {
	done := make(chan string, 1)
	go func() {
		result, err := p.queue.Do(p.t.Context(), id, testNeeds, []byte(body))
		done <- fmt.Sprint(string(result), err)
	}()
	p.wait("jobs wait")
	return done
}

func lostStream(t *testing.T, p *place) {
	result := p.waiting("lost", "echo hello")
	for _, c := range streams() {
		if err := p.queue.link.js.DeleteStream(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
	// Dead letters are seen in the new streams too.
	if _, err := p.queue.Do(t.Context(), "poison", testNeeds, []byte("fail")); err == nil {
		t.Error("no error")
	}
}

func lostConsumer(t *testing.T, p *place) {
	result := p.waiting("lost", "echo hello")
	if err := p.queue.link.js.DeleteConsumer(t.Context(), workStream, testNeeds.consumer()); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
}

// A job that is lost alone is submitted again, although the server has seen its id.
func lostJob(t *testing.T, p *place) {
	result := p.waiting("lost", "echo hello")
	if err := p.queue.work.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
}
