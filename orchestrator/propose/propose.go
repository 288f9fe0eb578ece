// Package propose makes genomes by asking: a program of the user's, or a model behind an
// OpenAI-compatible endpoint. It is a ga.Proposer.
//
// A round is done in two halves: all are asked at once, as many at a time as each source
// may be; then the answers are judged in the order of the asks, before any evaluation is
// spent on them; then what was refused is asked a second time, with the reason, and judged
// the same way. Refused again it is given up. So the genomes of a round depend on what was
// answered only, not on when.
//
// Every exchange is recorded under the hash of all that its answer can depend on, as soon
// as it is over. One that is recorded is not made again: a run that is resumed or repeated
// gets the same answers byte for byte, and without a call.
//
// Calls, tokens and money have ceilings over a whole run. Before an ask the most that it
// can cost is set aside, so no ceiling is passed; what it did cost is settled after its
// half of the round. What is under way when a run is killed is in no account.
//
// What a proposer says is parsed and compared here, never executed, put into a shell, or
// shown as it is: see Visible. A key is read from the environment when a call is made and
// stands in nothing else than its header.
package propose

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"jird/population"
	"jird/population/ga"
)

// Task is what all proposers of a run are told.
type Task struct {
	Text    string // the user's words
	File    string // of the agent, where the definitions stand
	Grammar *population.Grammar
	Names   []string // that the agent defines already, told where genomes are any Scheme
	Cases   []string // names of the training cases, in the order of scores
}

// Calling is how a source is called.
type Calling struct {
	Name     string
	Timeout  time.Duration // of one attempt
	Retries  int           // attempts after a first that failed, 0 to 20
	Parallel int           // asks at a time, 1 to 1000
}

func (c Calling) check() (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("proposer %q: %s", c.Name, fmt.Sprintf(format, args...)))
	}
	if c.Name == "" {
		fault("it has no name: give it one")
	}
	if c.Timeout <= 0 {
		fault("timeout %v: use more than 0", c.Timeout)
	}
	if c.Retries < 0 || c.Retries > 20 {
		fault("retries %d: use 0 to 20", c.Retries)
	}
	if c.Parallel < 1 || c.Parallel > 1000 {
		fault("parallel %d: use 1 to 1000", c.Parallel)
	}
	return faults
}

// Source is what proposals come from: a Command or a Chat.
type Source interface {
	open() (source, error)
}

// source is one that has been checked. Its attempts are made by many goroutines at once.
type source interface {
	calling() Calling
	// identity is all that answers depend on besides the request.
	identity() ([]byte, error)
	// prepare makes what is sent of a request, and the most that one attempt can cost.
	prepare(r Request, encoded []byte) (body []byte, most cost, err error)
	// attempt asks once. What it cost is told also when it failed. A *failure is of this
	// attempt; any other error means that none can succeed.
	attempt(ctx context.Context, body []byte) (answer []byte, spent cost, err error)
}

// failure is an attempt that came to nothing.
type failure struct {
	text  string // fit to be shown
	again bool   // whether another attempt may do better
	after time.Duration
}

func (f *failure) Error() string { return f.text }

// Proposers asks all sources of a run. Propose is called by one goroutine at a time, and
// Spent and Exhausted while it does not run.
type Proposers struct {
	task    Task
	store   Store
	say     func(format string, args ...any)
	sources map[string]*opened
	order   []string
	account account

	sketches map[string][]uint64 // of what the run held in the last round, by hash: most stays

	storing     sync.Mutex // one goroutine at a time uses the store
	base, limit time.Duration
	patience    time.Duration
}

var _ ga.Proposer = (*Proposers)(nil)

// opened is a source at work.
type opened struct {
	source
	identity []byte
	slots    chan struct{}
	usage    Usage
	tight    bool // the last round had an ask of it that no ceiling left room for
}

// New checks all sources and returns all faults at once. say is told what a person should
// know, by the goroutine that calls Propose.
func New(task Task, sources []Source, ceilings Ceilings, store Store, say func(format string, args ...any)) (*Proposers, error) {
	p := &Proposers{
		task: task, store: store, say: say, sources: map[string]*opened{}, account: account{ceilings: ceilings},
		base: firstPause, limit: longestPause, patience: patience,
	}
	var faults []error
	for _, s := range sources {
		o, err := open(s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		name := o.calling().Name
		if p.sources[name] != nil {
			faults = append(faults, fmt.Errorf("two proposers are named %q: rename one", name))
		}
		p.sources[name] = o
		p.order = append(p.order, name)
	}
	return p, errors.Join(faults...)
}

func open(s Source) (*opened, error) {
	made, err := s.open()
	if err != nil {
		return nil, err
	}
	o := &opened{source: made, slots: make(chan struct{}, made.calling().Parallel)}
	o.usage = Usage{Proposer: made.calling().Name, Refused: map[string]int{}}
	o.identity, err = made.identity()
	return o, err
}

// asked is one request on its way.
type asked struct {
	place    int // in the round
	source   *opened
	parent   *population.Genome
	request  Request
	encoded  []byte
	body     []byte
	hash     string
	most     cost // of one attempt
	attempts int  // that there is room for
	exchange *Exchange
}

// Propose implements ga.Proposer.
func (p *Proposers) Propose(ctx context.Context, r ga.Round) ([]*population.Genome, error) {
	var asks []*asked
	for i, a := range r.Asks {
		s := p.sources[a.Proposer]
		if s == nil {
			return nil, fmt.Errorf("propose: there is no proposer %q", a.Proposer)
		}
		s.usage.Asked++
		asks = append(asks, &asked{place: i, source: s, parent: a.Parent.Genome, request: p.request(a)})
	}
	for _, s := range p.sources {
		s.tight = false
	}
	j := p.judge(r)
	if err := p.half(ctx, asks); err != nil {
		return nil, err
	}
	var second []*asked
	for _, a := range asks {
		if why := j.take(a); why != nil {
			again := &asked{place: a.place, source: a.source, parent: a.parent, request: a.request}
			again.request.Refused = &Refused{Answer: Visible(string(a.exchange.Answer), maxRefused), Reason: why.reason}
			second = append(second, again)
		}
	}
	if err := p.half(ctx, second); err != nil {
		return nil, err
	}
	for _, a := range second {
		if why := j.take(a); why != nil || a.exchange == nil || a.exchange.Failure != "" {
			a.source.usage.GivenUp++
		}
	}
	p.tell(append(asks, second...))
	return j.genomes, nil
}

// tell says of each source how many of a round's asks came to nothing.
func (p *Proposers) tell(all []*asked) {
	for _, name := range p.order {
		made, failed, why := 0, 0, ""
		for _, a := range all {
			if a.source != p.sources[name] || a.exchange == nil {
				continue
			}
			if made++; a.exchange.Failure != "" {
				failed++
				why = a.exchange.Failure
			}
		}
		if failed > 0 {
			p.say("proposer %s: %d of %d requests of this generation failed, the last: %s", name, failed, made, why)
		}
	}
}
