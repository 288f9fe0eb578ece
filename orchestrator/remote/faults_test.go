package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// opener opens a queue of some engine.
type opener func(pace) *place

// TestFaults has something go wrong: on one engine, or on all of them where the whole is
// tested.
func TestFaults(t *testing.T) {
	tests := map[string]func(*testing.T, opener){
		"a slow worker keeps its job":     slow,
		"a worker of another kind":        otherKind,
		"a stronger worker":               stronger,
		"a dead letter":                   deadLetter,
		"a job that is withdrawn":         withdrawn,
		"a result that is late":           late,
		"a worker that is struck leaving": struckWhileLeaving,
		"an object that the server lost":  lostObject,
		"a stream that the server lost":   lostStream,
		"a consumer that the server lost": lostConsumer,
		"a job that the server lost":      lostJob,
	}
	for engine, open := range engines {
		if engine != "loopback" && !whole {
			continue
		}
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, func(pace pace) *place { return open(t, pace) })
				})
			}
		})
	}
}

// A job that takes longer than a worker may be silent stays with its worker. One that
// another got is no fault of ours if the machine stood still for so long: then there is
// more time.
func slow(t *testing.T, open opener) {
	for ack := 500 * time.Millisecond; ; ack *= 4 {
		pace := quick
		pace.ack = ack
		p := open(pace)
		var n atomic.Int64
		for range 2 {
			p.work(testOffer, 1, counted(&n, testJob))
		}
		expect(t, p.do("slow", fmt.Sprint("sleep ", ack*3/2)), "slept")
		if n.Load() == 1 {
			return
		}
		if ack > 5*time.Second {
			t.Fatalf("given to %d workers", n.Load())
		}
	}
}

func otherKind(t *testing.T, open opener) {
	p := open(quick)
	for _, change := range []func(*Offer){
		func(o *Offer) { o.Runtime = "gambit 4.9.4" },
		func(o *Offer) { o.Evaluator = "fedcba" },
		func(o *Offer) { o.Protocol++ },
		func(o *Offer) { o.Isolation-- },
	} {
		other := testOffer
		change(&other)
		p.work(other, 1, func(context.Context, Get, []byte) ([]byte, error) {
			t.Errorf("%v got a job for %v", other, testNeeds)
			return nil, errTold
		})
	}
	for len(p.queue.Present()) < 4 {
		time.Sleep(5 * time.Millisecond)
	}
	done := p.waiting("picky", "echo hello")
	p.wait("jobs wait for a worker with gambit 4.9.3, of this version: ")
	for _, lacks := range []string{"has gambit 4.9.4", "is of another version", "isolates less than is asked for"} {
		if p.count(lacks) == 0 {
			t.Errorf("it is not said that one %s: %q", lacks, p.lines)
		}
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-done, "hello<nil>")
	if n := p.count("jobs wait"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func stronger(t *testing.T, open opener) {
	p := open(quick)
	strong := testOffer
	strong.Isolation = 3
	p.work(strong, 1, testJob)
	var g errgroup.Group
	for level := range Isolations {
		g.Go(func() error {
			needs := testNeeds
			needs.Isolation = level
			_, err := p.queue.Do(t.Context(), fmt.Sprint("level-", level), needs, []byte("echo hello"))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func deadLetter(t *testing.T, open opener) {
	p := open(quick)
	var n atomic.Int64
	p.work(testOffer, 1, counted(&n, testJob))
	_, err := p.queue.Do(t.Context(), "poison", testNeeds, []byte("fail"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"job poison", "3 workers took it", errTold.Error(), "start again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if n.Load() != 3 {
		t.Errorf("tried %d times", n.Load())
	}
	// It is out of the way, and its id can be used again.
	expect(t, p.do("poison", "echo cured"), "cured")
}

func withdrawn(t *testing.T, open opener) {
	p := open(quick)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := p.queue.Do(ctx, "unwanted", testNeeds, []byte("echo hello"))
		failed <- err
	}()
	p.wait("jobs wait")
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("no error")
	}
	var n atomic.Int64
	p.work(testOffer, 1, counted(&n, testJob))
	expect(t, p.do("wanted", "echo hello"), "hello")
	if n.Load() != 1 {
		t.Errorf("%d jobs were done", n.Load())
	}
}

// A worker within the submitter's process gives back what it has when it ends; others
// finish it.
func TestGivesBack(t *testing.T) {
	t.Parallel()
	p := engines["embedded"](t, quick)
	// More often than a job may fail.
	done := make(chan string, 1)
	go func() {
		result, err := p.queue.Do(t.Context(), "back", testNeeds, []byte("echo hello"))
		done <- fmt.Sprint(string(result), err)
	}()
	for range Tries + 1 {
		begun := make(chan struct{}, 1)
		stop := p.work(testOffer, 1, func(ctx context.Context, get Get, body []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		<-begun
		stop()
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-done, "hello<nil>")
}

// Who ends a worker may first have ended what it works with: that it failed then is no
// failure of the job.
func struckWhileLeaving(t *testing.T, open opener) {
	pace := quick
	pace.fail = time.Minute
	p := open(pace)
	done := make(chan string, 1)
	go func() {
		result, err := p.queue.Do(t.Context(), "struck", testNeeds, []byte("echo hello"))
		done <- fmt.Sprint(string(result), err)
	}()
	for range Tries {
		failing := make(chan struct{}, 1)
		stop := p.work(testOffer, 1, func(context.Context, Get, []byte) ([]byte, error) {
			failing <- struct{}{}
			return nil, errTold
		})
		<-failing
		stop()
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-done, "hello<nil>")
	if p.count("a job failed here") != 0 {
		t.Errorf("told %q", p.lines)
	}
}

// late has two workers do the same job at once, as when one was suspended and has come back.
func late(t *testing.T, open opener) {
	p := open(quick)
	var begun atomic.Int64
	second := make(chan struct{})
	stop := p.work(testOffer, 2, func(ctx context.Context, get Get, body []byte) ([]byte, error) {
		if begun.Add(1) > 1 {
			return []byte("first"), nil
		}
		if _, err := p.queue.link.js.Publish(ctx, testNeeds.subject("twice"), nil); err != nil {
			t.Error(err)
		}
		<-second
		return []byte("late"), nil
	})
	expect(t, p.do("twice", ""), "first")
	close(second)
	stop()
	expect(t, p.do("twice", ""), "first")
	if begun.Load() != 2 {
		t.Errorf("begun %d times", begun.Load())
	}
}

func lostObject(t *testing.T, open opener) {
	p := open(quick)
	data := []byte("a snapshot")
	hash, err := p.queue.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.queue.link.js.DeleteObjectStore(t.Context(), objectBucket); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, p.do("lost", "object "+hash), strconv.Itoa(len(data)))

	// One that has changed is no better than none.
	bucket, err := p.queue.link.js.ObjectStore(t.Context(), objectBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutBytes(t.Context(), hash, []byte("another snapshot")); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob) // that has none in its memory
	for i := range 4 {
		expect(t, p.do(fmt.Sprint("changed-", i), "object "+hash), strconv.Itoa(len(data)))
	}
}

// waiting submits a job that no worker takes yet.
func (p *place) waiting(id, body string) (result <-chan string) {
	done := make(chan string, 1)
	go func() {
		result, err := p.queue.Do(p.t.Context(), id, testNeeds, []byte(body))
		done <- fmt.Sprint(string(result), err)
	}()
	p.wait("jobs wait")
	return done
}

func lostStream(t *testing.T, open opener) {
	p := open(quick)
	result := p.waiting("lost", "echo hello")
	for _, c := range streams() {
		if err := p.queue.link.js.DeleteStream(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
	// Dead letters are seen in the new streams too.
	if _, err := p.queue.Do(t.Context(), "poison", testNeeds, []byte("fail")); err == nil {
		t.Error("no error")
	}
}

func lostConsumer(t *testing.T, open opener) {
	p := open(quick)
	result := p.waiting("lost", "echo hello")
	if err := p.queue.link.js.DeleteConsumer(t.Context(), workStream, testNeeds.consumer()); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
}

// A job that is lost alone is submitted again, although the server has seen its id.
func lostJob(t *testing.T, open opener) {
	p := open(quick)
	result := p.waiting("lost", "echo hello")
	if err := p.queue.work.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.work(testOffer, 1, testJob)
	expect(t, <-result, "hello<nil>")
}

// startServer starts a server in a process of its own.
func (s *says) startServer(dir, listen string, before []string, env ...string) (address string, kill func()) {
	s.t.Helper()
	cmd := s.again("server", before, append(env, "REMOTE_DIR="+dir, "REMOTE_LISTEN="+listen)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	kill = run(s.t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatal("the server did not start: ", err)
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
	p.open(Config{Dir: store(t), Listen: "127.0.0.1:0", pace: impatient})
	url := "nats://" + p.queue.Address()
	p.workAt(Config{URL: url, pace: impatient})

	mark := filepath.Join(t.TempDir(), "begun")
	kill := run(t, p.again("worker", nil, "REMOTE_URL="+url, "REMOTE_PACE=impatient"))
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
	p.open(Config{Dir: store(t), Listen: "127.0.0.1:0", pace: impatient})
	result := make(chan error, 1)
	go func() {
		_, err := p.queue.Do(t.Context(), "killer", testNeeds, []byte("die"))
		result <- err
	}()
	for range Tries {
		cmd := p.again("worker", nil, "REMOTE_URL=nats://"+p.queue.Address(), "REMOTE_PACE=impatient")
		run(t, cmd)
		cmd.Wait()
	}
	// Redelivery is tried when there is a worker, and then found to be one too many.
	p.workAt(Config{URL: "nats://" + p.queue.Address(), pace: impatient})
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
			dir := store(t)
			p := &place{says: newSays(t)}
			address, kill := p.startServer(dir, fmt.Sprintf("127.0.0.1:%d", freePort(t)), nil)
			p.open(Config{URL: "nats://" + address, pace: quick})
			p.workAt(Config{URL: "nats://" + address, pace: quick})
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
			p.startServer(dir, address, nil)
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
	p := engines["loopback"](t, quick)
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
	dir := store(t)
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
	p.open(Config{Dir: store(t), Listen: "127.0.0.1:0", Cert: good.cert, Key: good.key})
	work := func(cfg Config) error {
		cfg.URL = "tls://" + p.queue.Address()
		return Work(t.Context(), cfg, testOffer, 1, testJob, p.say)
	}
	refused(t, work(Config{CA: other.ca}), "give the CA that signed it", other.ca)
	refused(t, work(Config{}), "give the CA that signed it")
	refused(t, work(Config{CA: good.key}), good.key)

	mutual := &place{says: newSays(t)}
	mutual.open(Config{Dir: store(t), Listen: "127.0.0.1:0", Cert: good.cert, Key: good.key, CA: good.ca})
	p = mutual
	refused(t, work(Config{CA: good.ca}), "give one that its CA signed")
	refused(t, work(Config{CA: good.ca, Cert: other.cert, Key: other.key}), "give one that its CA signed")
}

// What a worker's key may not do, the server keeps it from doing.
func TestRights(t *testing.T) {
	t.Parallel()
	dir := store(t)
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
	p := engines["embedded"](t, quick)
	_, err := Open(t.Context(), Config{Dir: p.queue.cfg.Dir}, t.Logf)
	refused(t, err, p.queue.cfg.Dir, "another process has it open")
}

// A queue that was closed is found as it was: what was done is not done again.
func TestReopened(t *testing.T) {
	t.Parallel()
	dir := store(t)
	p := &place{says: newSays(t)}
	p.open(Config{Dir: dir, pace: quick})
	work := func(do Job) { go p.queue.Work(t.Context(), testOffer, 1, do) }
	work(testJob)
	expect(t, p.do("done", "echo hello"), "hello")
	p.queue.Close()
	if _, err := p.queue.Do(t.Context(), "late", testNeeds, nil); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	p.open(Config{Dir: dir, pace: quick})
	expect(t, p.do("done", "echo hello"), "hello")
}

// A worker waits for a server that is not there yet.
func TestWorkerFirst(t *testing.T) {
	t.Parallel()
	p := &place{says: newSays(t)}
	address, kill := p.startServer(store(t), fmt.Sprintf("127.0.0.1:%d", freePort(t)), nil)
	kill()
	p.workAt(Config{URL: "nats://" + address, pace: quick})
	stop := p.work(testOffer, 1, testJob)
	p.wait("trying on")
	p.startServer(store(t), address, nil)
	p.open(Config{URL: "nats://" + address, pace: quick})
	expect(t, p.do("one", "echo hello"), "hello")
	stop()
}

// freePort is a port that stays free while a server of ours is down: it is below those that
// the kernel gives to clients, of which there are many here.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + (os.Getpid()*37+int(ports.Add(1)))%12_000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

var ports atomic.Int64
