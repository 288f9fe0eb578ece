package remote

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the program of the servers and workers that tests kill.
func TestMain(m *testing.M) {
	switch os.Getenv("REMOTE_TEST") {
	case "server":
		serverProcess()
	case "worker":
		workerProcess()
	case "submitter":
		submitterProcess()
	default:
		flag.Set("test.parallel", "8") // they wait, mostly
		// nats.go leaves one that never got its channel where a put of an object ends as soon
		// as it began (cleanupReplySub before resetPendingAcksOnReconnect has run).
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
	}
}

var testNeeds = Needs{Runtime: "gambit 4.9.3", Evaluator: "abcdef", Protocol: 1, Isolation: 2}
var testOffer = Offer(testNeeds)

// errTold is what a job fails with that is told to fail.
var errTold = errors.New("the disk is on fire")

// testJob does what the body says.
func testJob(ctx context.Context, get Get, body []byte) ([]byte, error) {
	verb, arg, _ := strings.Cut(string(body), " ")
	switch verb {
	case "echo":
		return []byte(arg), nil
	case "measure": // the body itself
		return []byte(strconv.Itoa(len(body))), nil
	case "make":
		n, err := strconv.Atoi(arg)
		return bytes.Repeat([]byte("x"), n), err
	case "object":
		data, err := get(ctx, arg)
		return []byte(strconv.Itoa(len(data))), err
	case "sleep":
		d, err := time.ParseDuration(arg)
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return []byte("slept"), err
	case "die":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "gate": // shut until its file is gone
		if err := os.WriteFile(arg, nil, 0o600); err != nil {
			return nil, err
		}
		for ctx.Err() == nil {
			if _, err := os.Stat(arg); err != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return []byte("through the gate"), ctx.Err()
	case "hang": // in the first process that gets it, which leaves a mark
		f, err := os.OpenFile(arg, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return []byte("did not hang"), nil
		}
		f.Close()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errTold
}

// says collects what a queue says.
type says struct {
	t     testing.TB
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newSays(t testing.TB) *says { return &says{t: t, more: make(chan struct{}, 1)} }

func (s *says) say(format string, args ...any) {
	s.mu.Lock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Write takes in what another process says.
func (s *says) Write(p []byte) (int, error) {
	s.say("%s", p)
	return len(p), nil
}

func (s *says) count(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// wait returns when something with part in it was said.
func (s *says) wait(part string) {
	s.t.Helper()
	limit := time.After(time.Minute)
	for s.count(part) == 0 {
		select {
		case <-s.more:
		case <-limit:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("%q was never said, but %q", part, s.lines)
		}
	}
}

// place is a queue and a way to work for it.
type place struct {
	*says
	queue *Queue
	// work returns at once; what it starts ends with the test, or with stop.
	work func(offer Offer, parallel int, do Job) (stop func())
}

// quick is the pace of tests. What a machine under load could exceed is as usual.
var quick = pace{
	ack:      AckWait,
	patience: 200 * time.Millisecond,
	look:     300 * time.Millisecond,
	check:    500 * time.Millisecond,
	fail:     20 * time.Millisecond,
	retry:    400 * time.Millisecond,
	ping:     usual.ping,
	withdraw: time.Minute,
}

// impatient gives a job to another worker soon.
var impatient = func() pace { p := quick; p.ack = 500 * time.Millisecond; return p }()

// nervous notices soon that a line is cut, too.
var nervous = func() pace { p := impatient; p.ping = 300 * time.Millisecond; return p }()

// paces are for other processes, by name.
var paces = map[string]pace{"usual": usual, "quick": quick, "impatient": impatient, "nervous": nervous}

// whole says that what takes long is to be tested too: make faults.
var whole = os.Getenv("REMOTE_FAULTS") == "all"

// store is a folder for a server: in memory, since on a disk that others load the server's
// syncs would be most of what a test takes.
func store(t testing.TB) string {
	t.Helper()
	if _, bench := t.(*testing.B); !bench && !whole {
		if dir, err := os.MkdirTemp("/dev/shm", "jird-remote-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// engines are all the ways to have a queue.
var engines = map[string]func(t testing.TB, pace pace) *place{
	"embedded": func(t testing.TB, pace pace) *place {
		p := &place{says: newSays(t)}
		p.open(Config{Dir: store(t), pace: pace})
		p.work = func(offer Offer, parallel int, do Job) func() {
			return p.start(func(ctx context.Context) error { return p.queue.Work(ctx, offer, parallel, do) })
		}
		return p
	},
	"loopback": func(t testing.TB, pace pace) *place {
		p := &place{says: newSays(t)}
		p.open(Config{Dir: store(t), Listen: "127.0.0.1:0", pace: pace})
		p.workAt(Config{URL: "nats://" + p.queue.Address(), pace: pace})
		return p
	},
	"keys": func(t testing.TB, pace pace) *place {
		p := &place{says: newSays(t)}
		pki := newPKI(t)
		dir := store(t)
		p.open(Config{Dir: dir, Listen: "127.0.0.1:0", Cert: pki.cert, Key: pki.key, CA: pki.ca, pace: pace,
			Workers: []string{newTestKey(t, dir, "worker")}, Submitters: []string{newTestKey(t, dir, "submitter")}})
		p.workAt(Config{URL: "tls://" + p.queue.Address(), NKey: filepath.Join(dir, "worker"), CA: pki.ca, Cert: pki.cert, Key: pki.key, pace: pace})
		return p
	},
	"daemon": func(t testing.TB, pace pace) *place {
		p := &place{says: newSays(t)}
		cfg := Config{URL: "nats://" + daemon(t), pace: pace}
		p.open(cfg)
		p.workAt(cfg)
		return p
	},
}

func (p *place) open(cfg Config) {
	p.t.Helper()
	q, err := Open(p.t.Context(), cfg, p.say)
	if err != nil {
		p.t.Fatal(err)
	}
	p.queue = q
	p.t.Cleanup(func() { q.Close() })
}

func (p *place) workAt(cfg Config) {
	p.work = func(offer Offer, parallel int, do Job) func() {
		return p.start(func(ctx context.Context) error { return Work(ctx, cfg, offer, parallel, do, p.say) })
	}
}

func (p *place) start(work func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("worker: %v", err)
		}
	})
	p.t.Cleanup(stop)
	return stop
}

func (p *place) do(id, body string) string {
	p.t.Helper()
	result, err := p.queue.Do(p.t.Context(), id, testNeeds, []byte(body))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(result)
}

func expect(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// daemon runs the nats-server that is installed, and returns its address.
func daemon(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("nats-server")
	if err != nil {
		t.Skip("skipped: no nats-server is installed (Debian: apt-get install nats-server)")
	}
	dir := store(t)
	cmd := exec.Command(path, "-js", "-sd", dir, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", dir)
	run(t, cmd)
	return portsFile(t, dir)
}

// portsFile waits for the file in which a nats-server says where it listens.
func portsFile(t testing.TB, dir string) string {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob(filepath.Join(dir, "*.ports"))
		if len(names) == 0 {
			continue
		}
		data, _ := os.ReadFile(names[0])
		if _, rest, ok := strings.Cut(string(data), "nats://"); ok {
			if address, _, ok := strings.Cut(rest, `"`); ok {
				return address
			}
		}
	}
	t.Fatal("the nats-server did not start")
	return ""
}

// run starts a process that is killed at the end of the test at the latest.
func run(t testing.TB, cmd *exec.Cmd) (kill func()) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(kill)
	return kill
}

// again is this test program in another role, which says what it has to say to s; before
// goes before it on the command line.
func (s *says) again(role string, before []string, env ...string) *exec.Cmd {
	line := append(before, os.Args[0])
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "REMOTE_TEST="+role)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = s
	return cmd
}

// serverProcess runs a server until it is killed.
func serverProcess() {
	cfg := Config{Dir: os.Getenv("REMOTE_DIR"), Listen: os.Getenv("REMOTE_LISTEN"), pace: paces[os.Getenv("REMOTE_PACE")]}
	if key := os.Getenv("REMOTE_WORKER"); key != "" {
		cfg.Workers = []string{key}
	}
	if key := os.Getenv("REMOTE_SUBMITTER"); key != "" {
		cfg.Submitters = []string{key}
	}
	e, err := serve(cfg, func(string, ...any) {})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(e.Addr())
	select {}
}

// ourConfig is what the environment says of a worker's or submitter's.
func ourConfig() Config {
	return Config{URL: os.Getenv("REMOTE_URL"), NKey: os.Getenv("REMOTE_KEY"), pace: paces[os.Getenv("REMOTE_PACE")]}
}

func sayOnStderr(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// workerProcess works until it is told to end, or killed.
func workerProcess() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Work(ctx, ourConfig(), testOffer, 2, testJob, sayOnStderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// submitterProcess submits one job.
func submitterProcess() {
	ctx := context.Background()
	q, err := Open(ctx, ourConfig(), sayOnStderr)
	for limit := time.Now().Add(time.Minute); err != nil && time.Now().Before(limit); { // a line that was just mended
		time.Sleep(50 * time.Millisecond)
		q, err = Open(ctx, ourConfig(), sayOnStderr)
	}
	var result []byte
	if err == nil {
		result, err = q.Do(ctx, os.Getenv("REMOTE_ID"), testNeeds, []byte(os.Getenv("REMOTE_BODY")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(result)
}

func newTestKey(t testing.TB, dir, name string) (public string) {
	t.Helper()
	public, err := NewKey(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// counted counts how often a job is begun.
func counted(n *atomic.Int64, do Job) Job {
	return func(ctx context.Context, get Get, body []byte) ([]byte, error) {
		n.Add(1)
		return do(ctx, get, body)
	}
}
