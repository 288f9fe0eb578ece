package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Get returns the object of a hash, verified. It waits for a submitter to put it again
// where the server has lost it, for getLimit at most.
type Get func(ctx context.Context, hash string) ([]byte, error)

// Job does a job. An error says that this machine could not, not that there is something
// about the job that its submitter should learn: another worker tries it. It must heed
// ctx.
type Job func(ctx context.Context, get Get, body []byte) (result []byte, err error)

// After its ctx a worker finishes what is under way for finishLimit, then gives it
// back, and has reportLimit to tell. Kubernetes kills after 30 s by default.
const (
	finishLimit = 15 * time.Second
	reportLimit = 10 * time.Second
)

// Pulls are made anew after pullLimit: a server forgets those of a worker that is cut off.
const pullLimit = 30 * time.Second

// Work does jobs from the queue at cfg.URL, up to parallel at once, until ctx ends; it
// finishes what is under way or gives it back. A server that cannot be reached is
// waited for. The error is nil unless the server refuses us.
func Work(ctx context.Context, cfg Config, offer Offer, parallel int, do Job, say func(format string, args ...any)) error {
	if cfg.URL == "" {
		return errors.New("a worker needs the address of a queue (nats://HOST:PORT)")
	}
	for pause := firstPause; ; pause = min(2*pause, cmp.Or(cfg.pace, usual).retry) {
		l, err := dial(cfg, nil, nil, say)
		if err == nil {
			return work(ctx, l, offer, parallel, finishLimit, do)
		}
		var r *refusal
		if errors.As(err, &r) {
			return err
		}
		if pause == firstPause {
			say("%v; trying on", err)
		}
		select {
		case <-time.After(jittered(pause)):
		case <-ctx.Done():
			return nil
		}
	}
}

// Work does jobs within the submitter's process, as the function Work does; what is under
// way when ctx or the queue ends is given back at once.
func (q *Queue) Work(ctx context.Context, offer Offer, parallel int, do Job) error {
	ctx, release, err := q.within(ctx)
	if err != nil {
		return err
	}
	defer release()
	var pair nkeys.KeyPair
	if q.server != nil {
		pair = q.server.worker
	}
	l, err := dial(q.cfg, q.server, pair, q.say)
	if err != nil {
		return err
	}
	return work(ctx, l, offer, parallel, 0, do)
}

// hand is a worker.
type hand struct {
	link  *link
	do    Job
	cache cache
	slots chan struct{} // one for each job under way

	finish, report context.Context // see finishLimit

	mu   sync.Mutex
	wake chan struct{} // closed and replaced when a consumer was made
}

func work(ctx context.Context, l *link, offer Offer, parallel int, finish time.Duration, do Job) error {
	defer l.close()
	if err := Needs(offer).check(); err != nil {
		return err
	}
	if parallel < 1 {
		return fmt.Errorf("%d jobs at once: must be 1 or more", parallel)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(l.ctx, stop)()
	w := &hand{link: l, do: do, slots: make(chan struct{}, parallel), wake: make(chan struct{})}
	var cancel [2]context.CancelFunc
	w.finish, cancel[0] = after(ctx, finish)
	w.report, cancel[1] = after(ctx, finish+reportLimit)
	defer cancel[0]()
	defer cancel[1]()

	woken := make(chan *nats.Msg, 16)
	if _, err := l.nc.ChanSubscribe(wakeSubject, woken); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.announce(ctx, offer, parallel, woken) })
	for n := Needs(offer); n.Isolation >= 0; n.Isolation-- {
		for range parallel {
			wg.Go(func() { w.serve(ctx, n) })
		}
	}
	wg.Wait()
	if failed := l.failure(); failed != nil {
		return failed
	}
	l.nc.FlushTimeout(callLimit) // what was given back; a server that is cut off finds out itself
	return nil
}

// after is a context that ends d after ctx.
func after(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer atomic.Pointer[time.Timer]
	stop := context.AfterFunc(ctx, func() { timer.Store(time.AfterFunc(d, cancel)) })
	return late, func() {
		stop()
		if t := timer.Load(); t != nil {
			t.Stop()
		}
		cancel()
	}
}

// hands numbers the workers of this process.
var hands atomic.Int64

// announce tells submitters who we are, until ctx ends, and has those woken that wait for
// a consumer.
func (w *hand) announce(ctx context.Context, offer Offer, parallel int, woken <-chan *nats.Msg) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := fmt.Sprintf("%s:%d", host, os.Getpid())
	if n := hands.Add(1); n > 1 {
		name += fmt.Sprintf(".%d", n)
	}
	data, err := json.Marshal(worker{Name: name, Offer: offer, Parallel: parallel})
	if err != nil {
		panic(err) // strings and integers
	}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		w.link.nc.Publish(workerSubject, data) // lost while we are cut off
		select {
		case <-tick.C:
		case <-woken:
			w.mu.Lock()
			close(w.wake)
			w.wake = make(chan struct{})
			w.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// waking is closed when a consumer is next made.
func (w *hand) waking() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wake
}

// serve does jobs that need exactly n, one at a time, until ctx ends. There is one for
// each slot and level of isolation; jobs of several levels that come at once wait here
// for a slot, beating.
func (w *hand) serve(ctx context.Context, n Needs) {
	for ctx.Err() == nil {
		waking, healing := w.waking(), w.link.healing()
		consumer, err := w.bind(ctx, n)
		for err == nil && ctx.Err() == nil { // a pull of one who leaves would be answered
			var msg jetstream.Msg
			if msg, err = w.pull(ctx, consumer); msg == nil {
				break
			}
			w.handle(ctx, msg, consumer.CachedInfo().Config.AckWait)
		}
		if err == nil {
			continue
		}
		select {
		case <-waking: // it was made
		case <-healing:
		case <-ctx.Done():
		case <-time.After(jittered(w.link.pace.retry)):
		}
	}
}

func (w *hand) bind(ctx context.Context, n Needs) (c jetstream.Consumer, err error) {
	err = w.link.limited(ctx, callLimit, func(ctx context.Context) error {
		c, err = w.link.js.Consumer(ctx, workStream, n.consumer())
		return err
	})
	return c, err
}

// pull waits for a job. There is none, nor an error, where the consumer must be looked up
// again: a server does not answer a pull from one that is gone. No pull is given up while
// the connection lasts, since a job that comes meanwhile would be lost for its AckWait.
func (w *hand) pull(ctx context.Context, c jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	healing := w.link.healing()
	batch, err := c.Fetch(1, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, err
	}
	select {
	case msg := <-batch.Messages():
		if msg != nil {
			return msg, nil
		}
	case <-healing: // the server has forgotten the request
		return nil, nil
	}
	err = batch.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoHeartbeat) {
		err = nil
	}
	return nil, err
}

// handle does one job.
func (w *hand) handle(ctx context.Context, msg jetstream.Msg, ackWait time.Duration) {
	subject := msg.Subject()
	id := subject[strings.LastIndexByte(subject, '.')+1:]
	healing := w.link.healing()
	beating, stop := context.WithCancel(w.report)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { w.beat(beating, msg, id, ackWait/3) })

	w.slots <- struct{}{}
	defer func() { <-w.slots }()
	result, err := w.carry(msg)
	switch {
	case err == nil:
		err = w.publish(id, result)
		if err == nil {
			w.confirm(msg, healing)
		}
	case w.leaving(ctx):
		w.note(id, noteReturned, "")
		msg.Nak()
	default:
		w.link.once(err.Error(), "a job failed here and goes to another worker: %v", err)
		w.note(id, noteFailed, err.Error())
		msg.Nak()
	}
}

// leaving says whether we end, or are told to within the pause that is made after a
// failure: who ends us may have ended first what we work with.
func (w *hand) leaving(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(w.link.pace.fail):
		return false
	}
}

func (w *hand) carry(msg jetstream.Msg) ([]byte, error) {
	body := msg.Data()
	if hash := msg.Headers().Get(objectHeader); hash != "" {
		var err error
		if body, err = w.fetch(w.finish, hash); err != nil {
			return nil, err
		}
	}
	return w.do(w.finish, w.get, body)
}

// beat says that the job is under way, at once and then each period, to the server, which else
// would give it to another, and to those who wait.
func (w *hand) beat(ctx context.Context, msg jetstream.Msg, id string, period time.Duration) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		w.note(id, noteBeat, "")
		select {
		case <-tick.C:
			msg.InProgress()
		case <-ctx.Done():
			return
		}
	}
}

const noteBytes = 4 << 10 // of what is said of a failure

func (w *hand) note(id, kind, text string) {
	m := nats.NewMsg(noteSubject(id))
	m.Header.Set(noteHeader, kind)
	m.Data = []byte(text[:min(len(text), noteBytes)])
	w.link.nc.PublishMsg(m)
}

// publish stores a result, unless there is one for the job already.
func (w *hand) publish(id string, result []byte) error {
	m := nats.NewMsg(resultSubject(id))
	m.Data = result
	if len(result) > Inline {
		hash := hashOf(result)
		m.Data = nil
		m.Header.Set(objectHeader, hash)
		err := w.link.persist(w.report, "storing a large result", nil, func(short context.Context) error {
			bucket, err := w.link.js.ObjectStore(short, outputBucket)
			if err != nil {
				return err
			}
			return write(w.report, w.link, bucket, hash, result)
		})
		if err != nil {
			return err
		}
	}
	return w.link.persist(w.report, "storing a result", nil, func(ctx context.Context) error {
		_, err := w.link.js.PublishMsg(ctx, m, jetstream.WithExpectStream(resultStream),
			jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithRetryAttempts(0))
		if taken(err) {
			return nil
		}
		return err
	})
}

// confirm takes the job out of the stream. If that cannot be, it is done again, in vain.
// A server that was started again may not know of the delivery, and then it does not
// answer: once the connection was lost no answer is waited for.
func (w *hand) confirm(msg jetstream.Msg, healing <-chan struct{}) {
	select {
	case <-healing:
	default:
		if w.link.limited(w.report, callLimit, msg.DoubleAck) == nil {
			return
		}
	}
	if !w.link.nc.IsConnected() {
		select {
		case <-w.link.healing():
		case <-w.report.Done():
		case <-w.link.ctx.Done():
		}
	}
	msg.Ack()
}
