package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// startServer starts a server in a process of its own.
func startServer(t *testing.T, dir, listen string, before []string, env ...string) (address string, kill func()) {
	t.Helper()
	cmd := again("server", before, append(env, "REMOTE_DIR="+dir, "REMOTE_LISTEN="+listen)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	kill = run(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("the server did not start: ", err)
	}
	return strings.TrimSpace(line), kill
}

// appears waits for a file.
func appears(t *testing.T, path string) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatal(path + " never appeared")
}

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	p := &place{says: newSays(t)}
	p.open(Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", ackWait: time.Second})
	url := "nats://" + p.queue.Address()
	p.workAt(Config{URL: url})

	mark := filepath.Join(t.TempDir(), "begun")
	kill := run(t, again("worker", nil, "REMOTE_URL="+url))
	result := make(chan string, 1)
	go func() { result <- p.do("killed", "hang "+mark) }()
	appears(t, mark)
	kill()
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "did not hang")
}

// A job that kills its workers is dead after three, which nobody is left to report.
func TestJobKillsWorkers(t *testing.T) {
	t.Parallel()
	p := &place{says: newSays(t)}
	p.open(Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", ackWait: time.Second})
	result := make(chan error, 1)
	go func() {
		_, err := p.queue.Do(t.Context(), "killer", testNeeds, []byte("die"))
		result <- err
	}()
	for range Tries {
		cmd := again("worker", nil, "REMOTE_URL=nats://"+p.queue.Address())
		run(t, cmd)
		cmd.Wait()
	}
	// Redelivery is tried when there is a worker, and then found to be one too many.
	p.workAt(Config{URL: "nats://" + p.queue.Address()})
	p.work(testOffer, 1, func(context.Context, Get, []byte) ([]byte, error) {
		t.Error("a fourth worker got it")
		return nil, errTold
	})
	if err := <-result; err == nil || !strings.Contains(err.Error(), "none of them said why") {
		t.Error(err)
	}
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"its store kept": true, "its store lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			address, kill := startServer(t, dir, "127.0.0.1:0", nil)
			p := &place{says: newSays(t)}
			p.open(Config{URL: "nats://" + address})
			p.workAt(Config{URL: "nats://" + address})
			hash, err := p.queue.Put(t.Context(), []byte("snapshot"))
			if err != nil {
				t.Fatal(err)
			}
			begun, hold := make(chan struct{}, 100), make(chan struct{})
			do := func(ctx context.Context, get Get, body []byte) ([]byte, error) {
				begun <- struct{}{}
				<-hold
				return testJob(ctx, get, body)
			}
			stops := []func(){p.work(testOffer, 2, do), p.work(testOffer, 2, do)}
			var g errgroup.Group
			for i := range 40 {
				g.Go(func() error {
					body, want := fmt.Sprint("echo ", i), fmt.Sprint(i)
					if i%2 == 1 {
						body, want = "object "+hash, "8"
					}
					result, err := p.queue.Do(t.Context(), fmt.Sprint("job-", i), testNeeds, []byte(body))
					if err == nil && string(result) != want {
						err = fmt.Errorf("job %d: %q", i, result)
					}
					return err
				})
			}
			for range 4 {
				<-begun
			}
			kill()
			if !keep {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			close(hold) // four end while there is no server
			p.wait("is lost")
			startServer(t, dir, address, nil)
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			for _, stop := range stops {
				stop()
			}
		})
	}
}

func TestFullStream(t *testing.T) {
	t.Parallel()
	p := engines["loopback"](t)
	// Room for about three.
	c := p.queue.work.CachedInfo().Config
	c.MaxBytes = 4000
	if _, err := p.queue.link.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for i := range 20 {
		g.Go(func() error {
			_, err := p.queue.Do(t.Context(), fmt.Sprint("job-", i), testNeeds, []byte("echo "+strings.Repeat("x", 1000)))
			return err
		})
	}
	p.wait("there is no room")
	p.work(testOffer, 2, testJob)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := p.count("there is no room"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// refused is an error that comes at once, and says what is in parts.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	p := &place{says: newSays(t)}
	p.open(Config{Dir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0",
		Workers: []string{newTestKey(t, dir, "worker")}, Submitters: []string{newTestKey(t, dir, "submitter")}})
	newTestKey(t, dir, "stranger")
	url := "nats://" + p.queue.Address()
	work := func(key string) error {
		return Work(t.Context(), Config{URL: url, NKey: key}, testOffer, 1, testJob, p.say)
	}
	submit := func(key string) error {
		q, err := Open(t.Context(), Config{URL: url, NKey: key}, p.say)
		if err == nil {
			defer q.Close()
			_, err = q.Do(t.Context(), "forbidden", testNeeds, nil)
		}
		return err
	}
	refused(t, work(file("stranger")), url, "refuses the key in "+file("stranger"))
	refused(t, submit(file("stranger")), url, "refuses the key in "+file("stranger"))
	refused(t, work(""), "wants a key")
	refused(t, work(file("none")), file("none"), "no such file")
	refused(t, submit(file("worker")), "the key in "+file("worker")+" lacks a right")
	refused(t, work(file("submitter")), "the key in "+file("submitter")+" lacks a right")
}

func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	good, other := newPKI(t), newPKI(t)
	p := &place{says: newSays(t)}
	p.open(Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Cert: good.cert, Key: good.key})
	work := func(cfg Config) error {
		cfg.URL = "tls://" + p.queue.Address()
		return Work(t.Context(), cfg, testOffer, 1, testJob, p.say)
	}
	refused(t, work(Config{CA: other.ca}), "give the CA that signed it", other.ca)
	refused(t, work(Config{}), "give the CA that signed it")
	refused(t, work(Config{CA: good.key}), good.key)

	mutual := &place{says: newSays(t)}
	mutual.open(Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Cert: good.cert, Key: good.key, CA: good.ca})
	p = mutual
	refused(t, work(Config{CA: good.ca}), "give one that its CA signed")
	refused(t, work(Config{CA: good.ca, Cert: other.cert, Key: other.key}), "give one that its CA signed")
}

// What a worker's key may not do, the server keeps it from doing.
func TestRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &place{says: newSays(t)}
	p.open(Config{Dir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0", Workers: []string{newTestKey(t, dir, "worker")}})
	cfg := Config{URL: "nats://" + p.queue.Address(), NKey: filepath.Join(dir, "worker")}
	p.workAt(cfg)
	p.work(testOffer, 1, testJob)
	p.do("done", "echo secret")
	for name, try := range map[string]func(ctx context.Context, l *link) error{
		"submit": func(ctx context.Context, l *link) error {
			_, err := l.js.Publish(ctx, testNeeds.subject("mine"), nil)
			return err
		},
		"read results": func(ctx context.Context, l *link) error {
			_, err := l.js.Stream(ctx, resultStream)
			return err
		},
		"hear results": func(ctx context.Context, l *link) error {
			sub, err := l.nc.SubscribeSync("jird.job.>")
			if err == nil {
				_, err = sub.NextMsgWithContext(ctx)
			}
			return err
		},
		"hear answers to others": func(ctx context.Context, l *link) error {
			sub, err := l.nc.SubscribeSync("_INBOX.>")
			if err == nil {
				_, err = sub.NextMsgWithContext(ctx)
			}
			return err
		},
		"delete jobs": func(ctx context.Context, l *link) error { return l.js.DeleteStream(ctx, workStream) },
		"put objects": func(ctx context.Context, l *link) error {
			_, err := l.js.Publish(ctx, "$O."+objectBucket+".M.x", nil)
			return err
		},
		"make a consumer": func(ctx context.Context, l *link) error {
			_, err := l.js.CreateConsumer(ctx, workStream, jetstream.ConsumerConfig{Durable: "mine"})
			return err
		},
	} {
		l, err := dial(cfg, nil, nil, p.say)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.limited(t.Context(), callLimit, func(ctx context.Context) error { return try(ctx, l) }); err == nil {
			t.Errorf("a worker may %s", name)
		}
		if err := l.failure(); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the server did not refuse: %v", name, err)
		}
		l.close()
	}
}

func TestRefusesOpenListen(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Dir: t.TempDir(), Listen: "0.0.0.0:0"}, t.Logf)
	refused(t, err, "0.0.0.0:0", "public keys")
}

func TestSecondProcess(t *testing.T) {
	t.Parallel()
	p := engines["embedded"](t)
	_, err := Open(t.Context(), Config{Dir: p.queue.cfg.Dir}, t.Logf)
	refused(t, err, p.queue.cfg.Dir, "another process has it open")
}

// A queue that was closed is found as it was: what was done is not done again.
func TestReopened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &place{says: newSays(t)}
	p.open(Config{Dir: dir})
	work := func(do Job) { go p.queue.Work(t.Context(), testOffer, 1, do) }
	work(testJob)
	expect(t, p.do("done", "echo hello"), "hello")
	p.queue.Close()
	if _, err := p.queue.Do(t.Context(), "late", testNeeds, nil); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	p.open(Config{Dir: dir})
	expect(t, p.do("done", "echo hello"), "hello")
}

// A worker waits for a server that is not there yet.
func TestWorkerFirst(t *testing.T) {
	t.Parallel()
	address, kill := startServer(t, t.TempDir(), "127.0.0.1:0", nil)
	kill()
	p := &place{says: newSays(t)}
	p.workAt(Config{URL: "nats://" + address})
	stop := p.work(testOffer, 1, testJob)
	p.wait("trying on")
	startServer(t, t.TempDir(), address, nil)
	p.open(Config{URL: "nats://" + address})
	expect(t, p.do("one", "echo hello"), "hello")
	stop()
}
