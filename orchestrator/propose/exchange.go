package propose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Exchange is a request and what became of it. Its JSON has the texts in base64.
type Exchange struct {
	Hash      string `json:"hash"` // SHA-256 of the proposer's identity, a line's end, and the request
	Proposer  string `json:"proposer"`
	Request   []byte `json:"request"` // JSON
	Answer    []byte `json:"answer"`  // as it was given, a key in it aside
	Failure   string `json:"failure"` // why there is no answer, fit to be shown; else ""
	Attempts  int    `json:"attempts"`
	TokensIn  int64  `json:"tokens_in"`
	TokensOut int64  `json:"tokens_out"`
	Micros    int64  `json:"micros"` // millionths of the currency that prices are given in
}

func (x *Exchange) cost() cost { return cost{x.Attempts, x.TokensIn, x.TokensOut, x.Micros} }

// Store keeps exchanges. It is used by one goroutine at a time. An error means that the run
// cannot go on.
type Store interface {
	// Exchange returns what is recorded under a hash, nil where nothing is. Whether one
	// that failed is told or made again is the store's to say.
	Exchange(hash string) (*Exchange, error)
	// Record keeps an exchange. It must not return before the exchange is durable.
	Record(x Exchange) error
}

// Pauses between attempts: exponential with full jitter, drawn from nothing to a bound that
// doubles (Brooker 2015, Exponential Backoff And Jitter, AWS Architecture Blog). An endpoint
// that says how long to wait is obeyed up to the longest.
const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// pause is how long to wait after an attempt, the first being 1.
func (p *Proposers) pause(attempt int, asked time.Duration) time.Duration {
	bound := min(p.limit, p.base<<min(attempt-1, 20))
	return max(rand.N(bound+1), min(asked, p.limit))
}

// half makes the exchanges of many asks at once. An ask has none afterwards if a ceiling
// left no room for it.
func (p *Proposers) half(ctx context.Context, asks []*asked) error {
	first := map[string]*asked{} // two that are equal are one exchange
	for _, a := range asks {
		if err := a.prepare(); err != nil {
			return err
		}
		if first[a.hash] != nil {
			continue
		}
		first[a.hash] = a
		a.attempts = p.account.room(a.most, 1+a.source.calling().Retries)
		p.account.held = p.account.held.plus(a.most.times(a.attempts))
	}
	g, all := errgroup.WithContext(ctx)
	made := 0
	var over atomic.Int64
	for _, a := range asks {
		if first[a.hash] == a && a.attempts > 0 {
			made++
			g.Go(func() (err error) {
				defer over.Add(1)
				a.exchange, err = p.exchange(all, a)
				return err
			})
		}
	}
	err := p.patiently(g, func() { p.say("%d of %d requests to proposers are over", over.Load(), made) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	p.settle(asks, first)
	return nil
}

// patience is after how long a person is told how far a round is, again and again.
const patience = 15 * time.Second

// patiently waits for a group, and tells how far it is.
func (p *Proposers) patiently(g *errgroup.Group, tell func()) error {
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	tick := time.NewTicker(p.patience)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			tell()
		}
	}
}

// prepare makes all that is sent, and the hash of all that its answer can depend on.
func (a *asked) prepare() (err error) {
	if a.encoded, err = encode(a.request); err != nil {
		return err
	}
	if a.body, a.most, err = a.source.prepare(a.request, a.encoded); err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", a.source.identity, a.encoded))
	a.hash = hex.EncodeToString(sum[:])
	return nil
}

// settle replaces what was set aside by what was used, in the order of the asks.
func (p *Proposers) settle(asks []*asked, first map[string]*asked) {
	p.account.held = cost{}
	for _, a := range asks {
		if same := first[a.hash]; same != a {
			a.exchange = same.exchange
			continue
		}
		if a.exchange == nil {
			continue
		}
		if a.exchange.Failure != "" {
			a.source.usage.Failed++
		}
		a.source.usage.add(a.exchange.cost())
		p.account.used = p.account.used.plus(a.exchange.cost())
	}
	for _, a := range asks {
		if a.exchange == nil {
			a.source.usage.NoRoom++
			a.source.tight = a.source.tight || p.account.room(a.most, 1) == 0
		}
	}
}

// exchange takes what is recorded, or asks until there is an answer or no attempt is left.
func (p *Proposers) exchange(ctx context.Context, a *asked) (*Exchange, error) {
	if x, err := p.recorded(a); x != nil || err != nil {
		return x, err
	}
	select {
	case a.source.slots <- struct{}{}:
		defer func() { <-a.source.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	x := &Exchange{Hash: a.hash, Proposer: a.source.calling().Name, Request: a.encoded}
	for {
		answer, spent, err := a.source.once(ctx, a.body)
		x.Attempts++
		x.TokensIn, x.TokensOut, x.Micros = x.TokensIn+spent.in, x.TokensOut+spent.out, x.Micros+spent.micros
		var failed *failure
		switch {
		case err == nil: // paid for, so kept also where the run is to stop
			x.Answer = answer
			return x, p.record(*x)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, &failed):
			return nil, fmt.Errorf("proposer %s: %w", x.Proposer, err)
		case !failed.again || x.Attempts >= a.attempts:
			x.Failure = failed.text
			return x, p.record(*x)
		}
		select {
		case <-time.After(p.pause(x.Attempts, failed.after)):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// once is one attempt with its deadline.
func (o *opened) once(ctx context.Context, body []byte) ([]byte, cost, error) {
	limit := o.calling().Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &failure{text: fmt.Sprintf("no answer within %v", limit), again: true})
	defer cancel()
	return o.attempt(ctx, body)
}

func (p *Proposers) recorded(a *asked) (*Exchange, error) {
	p.storing.Lock()
	defer p.storing.Unlock()
	x, err := p.store.Exchange(a.hash)
	if x != nil && err == nil {
		a.source.usage.Replayed++
	}
	return x, err
}

func (p *Proposers) record(x Exchange) error {
	p.storing.Lock()
	defer p.storing.Unlock()
	return p.store.Record(x)
}
