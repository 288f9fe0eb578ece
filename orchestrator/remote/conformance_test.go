package remote

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestConformance holds every engine to the same promises. What happens when something
// goes wrong is TestFaults.
func TestConformance(t *testing.T) {
	tests := map[string]func(*testing.T, *place){
		"a job and its result":      plain,
		"an id has one result":      oneResult,
		"one job, several who wait": shared,
		"large bodies and results":  large,
		"objects":                   objects,
		"many jobs, many workers":   many,
	}
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, open(t, quick))
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
	const size = Inline + 2*chunkSize
	body := "measure " + strings.Repeat("y", size)
	expect(t, p.do("body", body), strconv.Itoa(len(body)))
	if got := p.do("result", "make "+strconv.Itoa(size)); got != strings.Repeat("x", size) {
		t.Errorf("%d bytes", len(got))
	}
}

func objects(t *testing.T, p *place) {
	p.work(testOffer, 2, testJob)
	data := bytes.Repeat([]byte("snapshot"), chunkSize/4)
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
	if whole {
		jobs = 1000
	}
	var begun atomic.Int64
	for range 4 {
		p.work(testOffer, 2, counted(&begun, testJob))
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
