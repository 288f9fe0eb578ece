package remote

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// However many jobs wait, a consumer that is gone is made again once, and they are done.
func TestOneLookForAll(t *testing.T) {
	t.Parallel()
	p := engines["loopback"](t, quick)
	first := p.waiting("first", "echo hello") // the consumer is there
	var g errgroup.Group
	for i := range 50 {
		g.Go(func() error {
			_, err := p.queue.Do(t.Context(), fmt.Sprint("job-", i), testNeeds, []byte("echo hello"))
			return err
		})
	}
	l, err := dial(Config{URL: "nats://" + p.queue.Address()}, nil, nil, p.say)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	made, err := l.nc.SubscribeSync("$JS.API.CONSUMER.CREATE." + workStream + ".>")
	if err == nil {
		err = l.js.DeleteConsumer(t.Context(), workStream, testNeeds.consumer())
	}
	if err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 4, testJob)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	expect(t, <-first, "hello<nil>")
	if n, _, _ := made.Pending(); n != 1 {
		t.Errorf("made %d times", n)
	}
}

// A request that is not answered says nothing of the layout; one that is answered with
// what is missing does.
func TestWhatIsRepaired(t *testing.T) {
	t.Parallel()
	p := engines["embedded"](t, quick)
	for _, c := range []struct {
		err     error
		repairs int
	}{{context.DeadlineExceeded, 0}, {jetstream.ErrNoStreamResponse, 1}, {jetstream.ErrStreamNotFound, 1}} {
		repairs, requests := 0, 0
		err := p.queue.link.persist(t.Context(), "testing", func(context.Context) error {
			repairs++
			return nil
		}, func(context.Context) error {
			requests++
			if requests == 1 {
				return c.err
			}
			return nil
		})
		if err != nil || repairs != c.repairs || requests != 2 {
			t.Errorf("%v: repaired %d times, asked %d times, %v", c.err, repairs, requests, err)
		}
	}
}
