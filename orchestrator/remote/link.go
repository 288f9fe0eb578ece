package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

var errNoResponders = nats.ErrNoResponders

const (
	callLimit  = 5 * time.Second       // of one request to the server
	buildLimit = 30 * time.Second      // of making what is missing there
	firstPause = 50 * time.Millisecond // before a request is made again, doubled for each further
	sayAgain   = time.Minute           // the same thing is not said twice in that
)

// link is a connection that comes back. It ends only if the server refuses us, which
// trying again would not change, or if it is closed.
type link struct {
	name string // of the server, for people
	file string // of the key we log in with
	ca   string // file of the CA that we trust
	nc   *nats.Conn
	js   jetstream.JetStream
	say  func(string, ...any)
	pace pace

	ctx  context.Context // ends when the server refuses us, which is its cause
	fail context.CancelCauseFunc

	mu     sync.Mutex
	online context.Context      // ends when the connection is lost, and is replaced
	cut    context.CancelFunc   // ends online
	healed chan struct{}        // closed and replaced whenever the connection is back
	said   map[string]time.Time // by what it was about
}

// dial connects to the server at cfg.URL, or to the one in this process as pair. The
// first error of a server that cannot be reached is returned; refusal tells it from
// what waiting does not cure.
func dial(cfg Config, e *embedded, pair nkeys.KeyPair, say func(string, ...any)) (*link, error) {
	l := &link{name: cfg.URL, file: cfg.NKey, ca: cmp.Or(cfg.CA, "the system's"), say: say, pace: cmp.Or(cfg.pace, usual), healed: make(chan struct{}), said: map[string]time.Time{}}
	l.ctx, l.fail = context.WithCancelCause(context.Background())
	l.online, l.cut = context.WithCancel(l.ctx)
	opts := []nats.Option{
		nats.Name("jird"), nats.Timeout(callLimit),
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.ReconnectBufSize(-1), // what cannot be sent now fails now: each sender knows what to do
		nats.PingInterval(l.pace.ping), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(l.problem), nats.ClosedHandler(l.closed),
		nats.DisconnectErrHandler(l.lost), nats.ReconnectHandler(l.heal), nats.ReconnectErrHandler(l.stillLost),
	}
	if e != nil {
		l.name = "the queue in " + cfg.Dir
		opts = append(opts, nats.InProcessServer(e))
	} else {
		var err error
		if opts, pair, err = l.credentials(cfg, opts); err != nil {
			return nil, &refusal{err}
		}
	}
	if pair != nil {
		public, err := pair.PublicKey()
		if err != nil {
			return nil, &refusal{err}
		}
		opts = append(opts, nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix(inbox(public)))
	}
	var err error
	if l.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, l.explain(err)
	}
	if l.js, err = jetstream.New(l.nc); err != nil {
		l.nc.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) credentials(cfg Config, opts []nats.Option) ([]nats.Option, nkeys.KeyPair, error) {
	c, err := asking(cfg)
	if err != nil {
		return nil, nil, err
	}
	if c != nil {
		opts = append(opts, nats.Secure(c))
	}
	if cfg.NKey == "" {
		return opts, nil, nil
	}
	pair, err := readKey(cfg.NKey)
	return opts, pair, err
}

func (l *link) close() {
	l.fail(nats.ErrConnectionClosed)
	l.nc.Close()
}

// refusal is an error that trying again does not change.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// explain adds what can be done about an error of connecting.
func (l *link) explain(err error) error {
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		if l.file == "" {
			return &refusal{fmt.Errorf("%s wants a key: give a file with an nkey whose public key it knows: %w", l.name, err)}
		}
		return &refusal{fmt.Errorf("%s refuses the key in %s: enter its public key there, or give the file of one that is: %w", l.name, l.file, err)}
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return &refusal{fmt.Errorf("%s takes no nkeys: leave %s out, or configure its users: %w", l.name, l.file, err)}
	case errors.As(err, &certificate):
		return &refusal{fmt.Errorf("%s shows a certificate that is not to be trusted: give the CA that signed it (now %s), or a name that is in it: %w", l.name, l.ca, err)}
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"):
		return &refusal{fmt.Errorf("%s does not take our certificate: give one that its CA signed: %w", l.name, err)}
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return &refusal{fmt.Errorf("%s: we and the server do not agree on TLS; tls:// and a CA ask for it: %w", l.name, err)}
	}
	if errors.Is(err, nats.ErrNoServers) {
		return fmt.Errorf("%s: no server answers there; is it started, and can its port be reached from here? (%w)", l.name, err)
	}
	return fmt.Errorf("%s: %w", l.name, err)
}

// failure is why the link has ended, or nil.
func (l *link) failure() error { return context.Cause(l.ctx) }

// healing is closed when the connection is next back.
func (l *link) healing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.healed
}

// once says something, unless it was said lately.
func (l *link) once(about, format string, args ...any) {
	l.mu.Lock()
	last, was := l.said[about]
	now := time.Now()
	fresh := !was || now.Sub(last) > sayAgain
	if fresh {
		l.said[about] = now
	}
	l.mu.Unlock()
	if fresh {
		l.say(format, args...)
	}
}

func (l *link) problem(_ *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		if strings.Contains(err.Error(), "$JS.API.STREAM.PURGE.OBJ_") {
			return // the client tidies up after a put that failed; a worker may not, and what is left ages
		}
		l.fail(fmt.Errorf("%s: the key in %s lacks a right; is it a submitter's where a worker's is needed, or the other way round? %w", l.name, l.file, err))
	case errors.Is(err, nats.ErrSlowConsumer): // beats are dropped; results are looked up
	default:
		l.once(err.Error(), "%s: %v", l.name, err)
	}
}

func (l *link) closed(nc *nats.Conn) {
	if err := nc.LastError(); err != nil {
		l.fail(l.explain(err))
	}
	l.fail(nats.ErrConnectionClosed)
}

func (l *link) lost(nc *nats.Conn, err error) {
	l.mu.Lock()
	l.cut()
	l.online, l.cut = context.WithCancel(l.ctx)
	l.mu.Unlock()
	if err != nil {
		l.once("lost", "the connection to %s is lost, trying to get it back: %v", l.name, err)
	}
}

func (l *link) stillLost(nc *nats.Conn, err error) {
	explained := l.explain(err)
	var r *refusal
	if errors.As(explained, &r) {
		l.fail(explained)
		nc.Close()
	}
}

func (l *link) heal(*nats.Conn) {
	l.once("back", "the connection to %s is back", l.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.healed)
	l.healed = make(chan struct{})
}

// persist makes a request until it succeeds, ctx ends or the server refuses us. repair,
// if not nil, is called when a part of the layout is missing.
func (l *link) persist(ctx context.Context, what string, repair, request func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, l.pace.retry) {
		healing := l.healing()
		err := l.limited(ctx, callLimit, request)
		if repair != nil && missing(err) && ctx.Err() == nil {
			if err = l.limited(ctx, buildLimit, repair); err == nil {
				err = l.limited(ctx, callLimit, request)
			}
		}
		if err == nil {
			return nil
		}
		if failed := l.failure(); failed != nil {
			return failed
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if full(err) {
			l.once("full", "%s: %s waits, there is no room: %v", l.name, what, err)
		} else if l.nc.IsConnected() && pause == l.pace.retry {
			l.once(what, "%s: %s does not get on: %v", l.name, what, err)
		}
		select {
		case <-healing:
			pause = firstPause
		case <-l.ctx.Done():
		case <-ctx.Done():
		case <-time.After(jittered(pause)):
		}
	}
}

// limited makes one request, and no longer than that, nor than the connection lasts: a
// request that was sent on one that is lost is not answered on the next.
func (l *link) limited(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	l.mu.Lock()
	online := l.online
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(online, cancel)()
	return request(ctx)
}
