package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Queue is the submitter's side. Safe for concurrent use.
type Queue struct {
	cfg    Config
	server *embedded // or nil
	link   *link
	say    func(string, ...any)

	work, results, deads jetstream.Stream

	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	repairing  chan struct{} // holds a token while what is missing on the server is made; guards:
	repaired   time.Time     // when that was last tried
	unrepaired error         // what came of it
	created    []time.Time   // when each stream was made
	deadRead   uint64        // sequence in the stream of the dead up to which it was read

	mu      sync.Mutex
	kinds   map[Needs]bool       // of jobs, whose consumers were made
	objects map[string]*object   // by hash, those that may be asked for again
	workers map[string]worker    // by name
	dead    map[uint64]time.Time // by sequence in the work stream: when its last try was over
	died    chan struct{}        // closed and replaced when dead grows
	renewed chan struct{}        // likewise, see renewal
}

// errClosed is why what a queue does ends with it.
var errClosed = errors.New("the queue is closed")

// Open connects to a queue, or starts one in this process, and makes what is missing
// there. say is told what a person should know while jobs go on; it may be called
// from any goroutine. A server that cannot be reached, or refuses us, is an error now;
// one that is lost later is waited for.
func Open(ctx context.Context, cfg Config, say func(format string, args ...any)) (*Queue, error) {
	q := &Queue{
		cfg: cfg, say: say,
		repairing: make(chan struct{}, 1), kinds: map[Needs]bool{},
		objects: map[string]*object{}, workers: map[string]worker{},
		dead: map[uint64]time.Time{}, died: make(chan struct{}), renewed: make(chan struct{}),
	}
	var pair nkeys.KeyPair
	var err error
	if cfg.URL == "" {
		if q.server, err = serve(cfg, say); err != nil {
			return nil, err
		}
		pair = q.server.submitter
	}
	if q.link, err = dial(cfg, q.server, pair, say); err != nil {
		q.end()
		return nil, err
	}
	if err := q.begin(ctx); err != nil {
		q.end()
		return nil, err
	}
	return q, nil
}

func (q *Queue) begin(ctx context.Context) error {
	err := q.link.limited(ctx, buildLimit, func(ctx context.Context) error {
		s, err := build(ctx, q.link.js)
		if err == nil {
			q.results, q.deads, q.work = s[0], s[1], s[2]
			q.created = created(s)
		}
		return err
	})
	if failed := q.link.failure(); failed != nil {
		return failed
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) || errors.Is(err, errNoResponders) {
		return fmt.Errorf("%s has no JetStream: start it with -js: %w", q.link.name, err)
	}
	if small(err) {
		const most = WorkBytes + ResultBytes + ObjectBytes + OutputBytes + deadBytes
		return fmt.Errorf("%s has less storage than the %.1f GiB that the streams may take: give it that (max_file_store, or a limit of the account), or make smaller streams there beforehand: %w", q.link.name, float64(most)/(1<<30), err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", q.link.name, err)
	}
	heard := make(chan *nats.Msg, 1024)
	for _, subject := range []string{workerSubject, missingSubject, deadSubject} {
		if _, err := q.link.nc.ChanSubscribe(subject, heard); err != nil {
			return err
		}
	}
	q.ctx, q.stop = context.WithCancelCause(context.Background())
	q.wg.Go(func() { q.listen(heard) })
	q.wg.Go(q.watch)
	return nil
}

// Close ends what is under way: a Do that waits returns an error, and its job stays in
// the stream. A server in this process ends too.
func (q *Queue) Close() error {
	q.mu.Lock() // whoever got in by within is waited for
	q.stop(errClosed)
	q.mu.Unlock()
	q.wg.Wait()
	q.end()
	return nil
}

func (q *Queue) end() {
	if q.link != nil {
		q.link.close()
	}
	if q.server != nil {
		q.server.stop()
	}
}

// Address is where workers may join a server in this process, or "".
func (q *Queue) Address() string {
	if q.server == nil || q.cfg.Listen == "" {
		return ""
	}
	return q.server.Addr().String()
}

// within ends with ctx and with the queue, whose Close waits for it until release is
// called.
func (q *Queue) within(ctx context.Context) (_ context.Context, release func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() != nil {
		return nil, nil, errClosed
	}
	q.wg.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(q.ctx, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		q.wg.Done()
	}, nil
}

// listen takes in what workers say that concerns no single job.
func (q *Queue) listen(heard <-chan *nats.Msg) {
	for {
		select {
		case m := <-heard:
			switch m.Subject {
			case workerSubject:
				q.see(m.Data)
			case missingSubject:
				q.wg.Go(func() { q.putAgain(m) })
			default:
				q.mark(m.Data)
			}
		case <-q.ctx.Done():
			return
		}
	}
}
