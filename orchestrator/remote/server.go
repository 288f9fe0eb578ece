package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// embedded is a server in this process.
type embedded struct {
	*server.Server
	lock *os.File
	// Who logs in from within this process; nil where nobody needs to.
	submitter, worker nkeys.KeyPair
}

// startLimit is how long a server may take to be ready: it reads its store first.
const startLimit = 30 * time.Second

// serve starts a server on the store in cfg.Dir.
func serve(cfg Config, say func(string, ...any)) (*embedded, error) {
	opts, e, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if e.lock, err = lock(cfg.Dir); err != nil {
		return nil, err
	}
	if e.Server, err = server.NewServer(opts); err != nil {
		e.lock.Close()
		return nil, fmt.Errorf("queue in %s: %w", cfg.Dir, err)
	}
	log := &complaints{say: say}
	e.SetLoggerV2(log, false, false, false)
	e.Start()
	if !e.ReadyForConnections(startLimit) {
		e.stop()
		return nil, fmt.Errorf("queue in %s: its server is not ready after %s: %w", cfg.Dir, startLimit, log.first())
	}
	if !e.JetStreamEnabled() {
		e.stop()
		return nil, fmt.Errorf("queue in %s: its server has no store: %w", cfg.Dir, log.first())
	}
	return e, nil
}

func (e *embedded) stop() {
	e.Shutdown()
	e.WaitForShutdown()
	e.lock.Close()
}

// lock keeps a second process, whose server would write the same files, out.
func lock(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("the queue's server needs a folder for its store")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("queue in %s: another process has it open; end that one, or take another folder: %w", dir, err)
	}
	return f, nil
}

func options(cfg Config) (*server.Options, *embedded, error) {
	e := &embedded{}
	opts := &server.Options{
		ServerName: "jird", DontListen: cfg.Listen == "",
		NoSigs:    true, // signals are the program's
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: true,
		// A message of the largest size, with its headers, must fit the limits of the streams.
		JetStreamMaxStore: WorkBytes + ResultBytes + ObjectBytes + OutputBytes + 64<<20,
		// A client that is cut off is noticed before its jobs are lost to others.
		PingInterval: 2 * cmp.Or(cfg.pace, usual).ping, MaxPingsOut: 2,
		AuthTimeout: callLimit.Seconds(), // 2 s by default, which a loaded machine exceeds
	}
	if cfg.Listen == "" {
		return opts, e, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err == nil {
		opts.Host = host
		opts.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listening on %q: must be HOST:PORT: %w", cfg.Listen, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if len(cfg.Workers)+len(cfg.Submitters) > 0 {
		if err := e.admit(opts, cfg); err != nil {
			return nil, nil, err
		}
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, nil, fmt.Errorf("listening on %s: anybody could submit and work there; give the public keys of the workers, or a loopback address", cfg.Listen)
	}
	if cfg.Cert != "" {
		if opts.TLSConfig, err = showing(cfg); err != nil {
			return nil, nil, err
		}
		opts.TLS, opts.TLSTimeout, opts.TLSVerify = true, callLimit.Seconds(), cfg.CA != ""
	}
	return opts, e, nil
}

// admit gives each key its rights, and this process two keys of its own.
func (e *embedded) admit(opts *server.Options, cfg Config) (err error) {
	admit := func(public string, rights func(string) Rights) error {
		if !nkeys.IsValidPublicUserKey(public) {
			return fmt.Errorf("key %q: must be the public key of a user (U...)", public)
		}
		r := rights(public)
		p := &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: r.Publish},
			Subscribe: &server.SubjectPermission{Allow: r.Subscribe},
		}
		if r.Respond {
			p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: missingLimit}
		}
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: public, Permissions: p})
		return nil
	}
	for _, own := range []struct {
		pair   *nkeys.KeyPair
		rights func(string) Rights
	}{{&e.submitter, SubmitterRights}, {&e.worker, WorkerRights}} {
		if *own.pair, err = nkeys.CreateUser(); err != nil {
			return err
		}
		public, err := (*own.pair).PublicKey()
		if err != nil {
			return err
		}
		if err := admit(public, own.rights); err != nil {
			return err
		}
	}
	for _, public := range cfg.Submitters {
		if err := admit(public, SubmitterRights); err != nil {
			return err
		}
	}
	for _, public := range cfg.Workers {
		if err := admit(public, WorkerRights); err != nil {
			return err
		}
	}
	return nil
}
