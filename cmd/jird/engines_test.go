package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"jird/sandbox"
)

// Whatever happens to workers, server and network, the ledger is that of a run on this
// machine alone, byte for byte. All are processes: jird's own and Debian's nats-server.

// long skips what takes longer than a few seconds, most of it waiting. make faults has it.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("JIRD_FAULTS") != "all" {
		t.Skip("it waits for long: make faults has it")
	}
}

// trial is a run: each of its cases for the search waits, those for choice and decision
// do not.
type trial struct {
	generations, population, cases string
	wait                           string // seconds

	mu          sync.Mutex
	run, export string // what it comes to on this machine
}

var (
	quick = &trial{generations: "3", population: "10", cases: "4", wait: ".02"}
	// A case of slow takes longer than a worker that is stopped may take to finish it.
	slow = &trial{generations: "1", population: "3", cases: "1", wait: "17"}
)

// field is where a trial is carried out by others.
type field struct {
	*place
	t       *testing.T
	trial   *trial
	workers int
}

func newField(t *testing.T, trial *trial) *field {
	f := &field{place: newPlace(t), t: t, trial: trial}
	f.edit("p/experiment.yaml", "islands: 4", "islands: 1", "population: 100", "population: "+trial.population, "migrants: 3", "migrants: 1", "elites: 2", "elites: 1",
		"items: 500}", "items: 40}", "count: 200,", "count: 4,", "count: 500", "count: 10",
		"count: 20,  recipe: {class: u, capacity: 150, low: 20, high: 100, items: 40}", "count: "+trial.cases+", recipe: {class: u, capacity: 150, low: 20, high: 100, items: 41}")
	f.edit("p/agent/fitness.scm", "(define (fitness-score case)\n", "(define (fitness-score case)\n  (if (= 41 (vector-length (recipe-ref case 'items))) (thread-sleep! "+trial.wait+"))\n")
	trial.mu.Lock()
	defer trial.mu.Unlock()
	if trial.export == "" {
		home := f.home
		f.home = filepath.Join(f.dir, "reference")
		local := f.submit("--engine", "local", "--workers", "8")
		local.exits(exitDone)
		trial.run = runOf(t, local)
		trial.export = f.ok("ledger", "export", trial.run)
		f.home = home
	}
	return f
}

func runOf(t *testing.T, p *process) string {
	t.Helper()
	var result struct{ Run string }
	if err := json.Unmarshal([]byte(p.out.text()), &result); err != nil || result.Run == "" {
		t.Fatalf("%v: %s", err, p.out.text())
	}
	return result.Run
}

// process is a program at work. It is killed at the end of the test at the latest.
type process struct {
	*exec.Cmd
	t         *testing.T
	out, said terminal
	ended     chan struct{}
}

func (f *field) begin(c *exec.Cmd) *process {
	f.t.Helper()
	p := &process{Cmd: c, t: f.t, ended: make(chan struct{})}
	c.Stdout, c.Stderr = &p.out, &p.said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		c.Wait()
		close(p.ended)
	}()
	f.t.Cleanup(func() {
		p.kill()
		if f.t.Failed() && !strings.HasSuffix(c.Path, "nats-server") {
			f.t.Logf("%.120s said:\n%s", strings.Join(c.Args[1:], " "), p.said.text())
		}
	})
	return p
}

func (p *process) kill() {
	p.Process.Kill()
	<-p.ended
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// says waits until the process has said something.
func (p *process) says(what string) {
	p.t.Helper()
	if p.said.wait([]*regexp.Regexp{regexp.MustCompile(what)}) != nil {
		p.t.Fatalf("it never said %q, but:\n%s", what, p.said.text())
	}
}

func (p *process) exits(status int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(4 * time.Minute):
		p.t.Fatalf("jird %s does not end; it said\n%s", p.Args[1], p.said.text())
	}
	if got := p.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("jird %s: status %d, want %d\n%s", p.Args[1], got, status, p.said.text())
	}
}

// within has a command run on a host, which is a network namespace; "" is this one.
func within(host string, c *exec.Cmd) *exec.Cmd {
	if host == "" {
		return c
	}
	on := exec.Command("ip", append([]string{"netns", "exec", host}, c.Args...)...)
	on.Dir, on.Env = c.Dir, c.Env
	return on
}

// submit begins the run.
func (f *field) submit(args ...string) *process { return f.submitOn("", args...) }

func (f *field) submitOn(host string, args ...string) *process {
	return f.begin(within(host, f.command(append([]string{"run", "p/experiment.yaml", "--generations", f.trial.generations, "--seed", "7", "--output", "json"}, args...)...)))
}

// worker begins one with a state folder of its own.
func (f *field) worker(args ...string) *process { return f.workerOn("", args...) }

func (f *field) workerOn(host string, args ...string) *process {
	f.workers++
	return f.begin(within(host, f.command(append([]string{"--home", fmt.Sprintf("worker%d", f.workers), "worker"}, args...)...)))
}

// same waits for the end of a run, and compares its ledger.
func (f *field) same(run *process) {
	f.t.Helper()
	run.exits(exitDone)
	f.sameRecord()
}

func (f *field) sameRecord() {
	f.t.Helper()
	if got := f.ok("ledger", "export", f.trial.run); got != f.trial.export {
		f.t.Error("another ledger: ", firstDifference(got, f.trial.export))
	}
}

// evaluates waits until a worker has a shadow in an evaluation: one Scheme process makes
// the shadows, each further one is one.
func (p *process) evaluates() {
	p.t.Helper()
	p.says("evaluating packer")
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if len(p.schemes()) > 1 {
			return
		}
	}
	p.t.Fatal("the worker has no shadow")
}

// waits waits until a worker's shadows have started and are in a case of slow, which
// takes far longer than a second.
func (p *process) waits() {
	p.t.Helper()
	p.evaluates()
	time.Sleep(time.Second)
}

// stop tells a worker to end, as a service manager does, or as a terminal does, which tells
// its whole group; the worker ends when it has finished or given back what is under way.
func (p *process) stop(s syscall.Signal) {
	p.t.Helper()
	before := strings.Count(p.said.text(), "a job failed here")
	if err := syscall.Kill(-p.Process.Pid, s); err != nil {
		p.t.Fatal(err)
	}
	p.exits(exitDone)
	p.says("stopped")
	if strings.Count(p.said.text(), "a job failed here") > before {
		p.t.Error("its work failed, for it was stopped:\n", p.said.text())
	}
}

// schemes are the Scheme processes of a worker.
func (p *process) schemes() (pids []int) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
	if err != nil || lists == nil {
		p.t.Fatal("the worker is gone: ", err, p.said.text())
	}
	for _, path := range lists {
		children, _ := os.ReadFile(path)
		for _, pid := range strings.Fields(string(children)) {
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			if name := strings.TrimSpace(string(comm)); name == "gsi" || name == "gxi" {
				n, _ := strconv.Atoi(pid)
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// halfway waits until a run has a generation in its ledger.
func (f *field) halfway() {
	f.t.Helper()
	for limit := time.Now().Add(2 * time.Minute); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		var status struct{ Runs []struct{ Generations int } }
		if err := json.Unmarshal([]byte(f.ok("status", "--output", "json")), &status); err != nil {
			f.t.Fatal(err)
		}
		if len(status.Runs) > 0 && status.Runs[0].Generations > 0 {
			return
		}
	}
	f.t.Fatal("the run has no generation")
}

// queue is a nats-server of the user's own, whose users are what jird key prints.
type queue struct {
	*process
	f      *field
	host   string
	url    string
	worker []string // flags of who works for it
	submit []string // flags of who submits to it
}

func (f *field) file(name string) string { return filepath.Join(f.dir, name) }

func (f *field) write(name, text string) (path string) {
	f.t.Helper()
	if err := os.WriteFile(f.file(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.file(name)
}

// sample is the configuration that the page has, with some of its words replaced.
func sample(t *testing.T, pairs ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/engines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "    # nats-server.conf\n")
	text, _, _ = strings.Cut(text, "\n\n")
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the page's configuration has no %q:\n%s", pairs[i], text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text + "\n"
}

// queueAt begins a server that listens at an address; more is for its configuration.
func (f *field) queueAt(host, address, more string) *queue {
	f.t.Helper()
	if _, err := exec.LookPath("nats-server"); err != nil {
		f.t.Skip("skipped: no nats-server is installed (Debian: apt-get install nats-server)")
	}
	users := f.ok("key", "worker.nk", "--for", "worker") + f.ok("key", "submitter.nk", "--for", "submitter")
	f.write("nats-server.conf", sample(f.t, "0.0.0.0:4222", address, "/var/lib/nats", f.file("store"), "# what jird key prints", users)+more)
	q := &queue{f: f, host: host, url: "nats://" + address}
	q.worker = []string{"--nkey", "worker.nk", "--engine", q.url}
	q.submit = []string{"--nkey", "submitter.nk", "--engine", q.url}
	q.start()
	return q
}

func (f *field) queue() *queue {
	return f.queueAt("", fmt.Sprintf("127.0.0.1:%d", freePort(f.t)), "")
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

func (q *queue) start() {
	q.f.t.Helper()
	c := exec.Command("nats-server", "-c", q.f.file("nats-server.conf"))
	c.Env = os.Environ()
	q.process = q.f.begin(within(q.host, c))
	q.says("Server is ready")
}

// A worker is slow, and one is stopped in its work: it finishes or gives back what it has.
func TestEngineWorkers(t *testing.T) {
	f := newField(t, quick)
	q := f.queue()
	slow, stopped := f.worker(q.worker...), f.worker(append(q.worker, "--workers", "1")...)
	over := make(chan struct{})
	var pace sync.WaitGroup
	pace.Go(func() { // works a third of its time
		for stop, run := time.NewTicker(150*time.Millisecond), syscall.SIGSTOP; ; {
			select {
			case <-stop.C:
				slow.Process.Signal(run)
				stop.Reset(map[syscall.Signal]time.Duration{syscall.SIGSTOP: 100, syscall.SIGCONT: 50}[run] * time.Millisecond)
				run = map[syscall.Signal]syscall.Signal{syscall.SIGSTOP: syscall.SIGCONT, syscall.SIGCONT: syscall.SIGSTOP}[run]
			case <-over:
				stop.Stop()
				slow.Process.Signal(syscall.SIGCONT)
				return
			}
		}
	})
	run := f.submit(q.submit...)
	stopped.evaluates()
	stopped.stop(syscall.SIGINT)
	f.worker(append(q.worker, "--workers", "2")...)
	f.same(run)
	close(over)
	pace.Wait()
	slow.says("evaluating packer")
	slow.stop(syscall.SIGTERM)
}

// The server is killed, and comes back with what it had, or with nothing.
func TestEngineServerKilled(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"its store kept": true, "its store lost": false} {
		t.Run(name, func(t *testing.T) {
			if !keep {
				long(t)
			}
			f := newField(t, quick)
			q := f.queue()
			worker := f.worker(append(q.worker, "--workers", "1")...)
			run := f.submit(q.submit...)
			worker.evaluates()
			f.halfway()
			q.kill()
			if !keep {
				if err := os.RemoveAll(f.file("store")); err != nil {
					t.Fatal(err)
				}
			}
			run.says("the connection to " + q.url + " is lost, trying to get it back")
			worker.says("the connection to " + q.url + " is lost, trying to get it back")
			q.start()
			for _, p := range []*process{run, worker} {
				p.says("the connection to " + q.url + " is back")
			}
			f.same(run)
			worker.stop(syscall.SIGTERM)
		})
	}
}

// The run's own process is killed, and goes on elsewhere.
func TestEngineResumedOnAnother(t *testing.T) {
	long(t)
	f := newField(t, quick)
	q := f.queue()
	f.worker(append(q.worker, "--workers", "1")...)
	f.halfwayKilled(f.submit(q.submit...))
	f.ok("resume", f.trial.run, "--engine", "local")
	f.sameRecord()

	f.home = f.file("second")
	f.halfwayKilled(f.submit("--engine", "nats", "--workers", "1"))
	f.ok(append([]string{"resume", f.trial.run}, q.submit...)...)
	f.sameRecord()
	if _, err := os.Stat(filepath.Join(f.home, "queue")); err == nil {
		t.Error("the store of the killed process's queue is left")
	}
}

func (f *field) halfwayKilled(run *process) {
	f.t.Helper()
	run.says("seed 7")
	f.halfway()
	run.kill()
	if run.ProcessState.ExitCode() != -1 {
		f.t.Fatal("the run was over before it was killed: ", run.said.text())
	}
}

// What cannot become right by waiting is an error at once, that names what is wrong.
func TestEngineRefuses(t *testing.T) {
	f := newField(t, quick)
	q := f.queue()
	f.ok("key", "stranger.nk")
	for _, c := range []struct {
		key  string
		says []string
	}{
		{"stranger.nk", []string{q.url, "refuses the key in stranger.nk"}},
		{"none.nk", []string{"none.nk", "no such file"}},
		{"p/experiment.yaml", []string{"p/experiment.yaml", "does not hold the seed"}},
	} {
		for _, p := range []*process{f.worker("--engine", q.url, "--nkey", c.key), f.submit("--engine", q.url, "--nkey", c.key)} {
			p.exits(exitFailed)
			for _, want := range c.says {
				p.says(regexp.QuoteMeta(want))
			}
		}
	}
	p := f.worker("--engine", q.url, "--nkey", "submitter.nk")
	p.exits(exitFailed)
	p.says("the key in submitter.nk lacks a right")
	p = f.submit("--engine", q.url, "--nkey", "worker.nk")
	p.exits(exitFailed)
	p.says("the key in worker.nk lacks a right")
}

func TestEngineOverTLS(t *testing.T) {
	f := newField(t, quick)
	f.certificate("server")
	f.certificate("other")
	port := freePort(t)
	f.queueAt("", fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("tls { cert_file: %s, key_file: %s }", f.file("server.pem"), f.file("server.key")))
	tls := fmt.Sprintf("tls://127.0.0.1:%d", port)
	for _, p := range []*process{
		f.worker("--engine", tls, "--nkey", "worker.nk", "--tls-ca", "other.pem"),
		f.submit("--engine", tls, "--nkey", "submitter.nk", "--tls-ca", "other.pem"),
		f.submit("--engine", tls, "--nkey", "submitter.nk"),
	} {
		p.exits(exitFailed)
		p.says(regexp.QuoteMeta(tls) + ".*give the CA that signed it")
	}
	f.worker("--engine", tls, "--nkey", "worker.nk", "--tls-ca", "server.pem")
	f.same(f.submit("--engine", tls, "--nkey", "submitter.nk", "--tls-ca", "server.pem"))
}

// A worker joins the queue in a run's own process, by a key and over TLS.
func TestEngineOfARun(t *testing.T) {
	long(t)
	f := newField(t, quick)
	f.certificate("server")
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	run := f.submit("--engine", "nats", "--workers", "1", "--listen", address, "--worker-key", strings.TrimSpace(f.ok("key", "joins.nk")),
		"--tls-cert", "server.pem", "--tls-key", "server.key")
	run.says("workers may join with: jird worker --engine tls://" + address + " --nkey FILE")
	f.worker("--engine", "tls://"+address, "--nkey", "joins.nk", "--tls-ca", "server.pem").says("evaluating packer")
	f.same(run)
}

// certificate makes one for loopback that signs itself, and its key.
func (f *field) certificate(name string) {
	f.t.Helper()
	must := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pair.Public(), pair)
	must(err)
	key, err := x509.MarshalECPrivateKey(pair)
	must(err)
	f.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	f.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})))
}

// A worker that isolates less than the run asks for, or has other code around the
// referee, gets no work, and the run says so.
func TestEngineUnfitWorkers(t *testing.T) {
	f := newField(t, quick)
	q := f.queue()
	weak := f.worker(append(q.worker, "--isolation", "none")...)
	other := f.command(append([]string{"--home", "other", "worker"}, q.worker...)...)
	other.Path = f.otherVersion()
	another := f.begin(other)
	another.says("working for")
	weak.says("working for")
	run := f.submit(q.submit...)
	run.says(`jobs wait for a worker`)
	said := run.said.text()
	for p, lacks := range map[*process]string{weak: "isolates less than is asked for", another: "is of another version"} {
		if !strings.Contains(said, fmt.Sprintf(":%d %s", p.Process.Pid, lacks)) {
			t.Errorf("it does not say what worker %d lacks:\n%s", p.Process.Pid, said)
		}
	}
	f.worker(q.worker...)
	f.same(run)
	for _, p := range []*process{weak, another} {
		p.stop(syscall.SIGTERM)
		if strings.Contains(p.said.text(), "evaluating") {
			t.Error("an unfit worker got work:\n", p.said.text())
		}
	}
}

// otherVersion is this program with another comment in the code around the referee: a
// comment, so that it would work as well.
func (f *field) otherVersion() (path string) {
	f.t.Helper()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		f.t.Fatal(err)
	}
	comment := regexp.MustCompile(`(?m)^;; .{20,}$`).Find(sandbox.Prelude())
	if comment == nil || !bytes.Contains(program, comment) {
		f.t.Fatalf("the comment %q is not in the program", comment)
	}
	changed := append([]byte(";; O"), comment[4:]...)
	path = f.file("other-version")
	if err := os.WriteFile(path, bytes.ReplaceAll(program, comment, changed), 0o700); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// A stream without room has the run wait, and say so once.
func TestEngineFullStream(t *testing.T) {
	long(t)
	f := newField(t, quick)
	if _, err := exec.LookPath("nats-server"); err != nil {
		t.Skip("skipped: no nats-server is installed (Debian: apt-get install nats-server)")
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	f.write("nats-server.conf", fmt.Sprintf("listen: %s\njetstream { store_dir: %s }\n", address, f.file("store")))
	q := &queue{f: f}
	q.start()
	// A stream that exists is taken as it is. This one has room for about two jobs.
	createStream(t, address, "JIRD_WORK", `{"name":"JIRD_WORK","subjects":["jird.work.>"],"retention":"workqueue","storage":"file","discard":"new","max_bytes":1200,"allow_direct":true,"num_replicas":1}`)
	f.worker("--engine", "nats://"+address, "--workers", "1")
	run := f.submit("--engine", "nats://"+address)
	run.says("there is no room")
	f.same(run)
	if n := strings.Count(run.said.text(), "there is no room"); n != 1 {
		t.Errorf("said %d times:\n%s", n, run.said.text())
	}
}

// createStream makes a stream beforehand, as an operator may.
func createStream(t *testing.T, address, name, config string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.%s answer %d\r\n%s\r\n", name, len(config), config)
	var answer []byte
	for buffer := make([]byte, 4096); !bytes.Contains(answer, []byte(`"did_create":true`)); {
		n, err := c.Read(buffer)
		if answer = append(answer, buffer[:n]...); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
	}
}

// A server whose disk is too small for the streams is an error that says what is wanted.
func TestEngineSmallServer(t *testing.T) {
	f := newField(t, quick)
	q := f.queueAt("", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "jetstream { store_dir: "+f.file("store")+", max_file_store: 1MB }")
	run := f.submit(q.submit...)
	run.exits(exitFailed)
	run.says("max_file_store")
}

// A worker is killed in an evaluation, and one is stopped in one that lasts longer than it
// may take to finish; a third one does their work.
func TestEngineWorkerEnds(t *testing.T) {
	t.Parallel()
	long(t)
	for name, end := range map[string]func(p *process){"killed": (*process).kill, "stopped": func(p *process) { p.stop(syscall.SIGTERM) }} {
		t.Run(name, func(t *testing.T) {
			f := newField(t, slow)
			q := f.queue()
			worker := f.worker(append(q.worker, "--workers", "4")...)
			run := f.submit(q.submit...)
			worker.waits()
			end(worker)
			other := f.worker(append(q.worker, "--workers", "4")...)
			other.evaluates()
			f.same(run)
		})
	}
}

// A worker is frozen for longer than it may be silent, and then goes on: what it had is
// done twice, by another or by itself, and counts once.
func TestEngineFrozenWorker(t *testing.T) {
	t.Parallel()
	long(t)
	for name, others := range map[string]int{"beside another": 1, "alone": 0} {
		t.Run(name, func(t *testing.T) {
			f := newField(t, slow)
			q := f.queue()
			worker := f.worker(append(q.worker, "--workers", "4")...)
			run := f.submit(q.submit...)
			worker.waits()
			worker.signal(syscall.SIGSTOP)
			for range others {
				f.worker(append(q.worker, "--workers", "4")...).evaluates()
			}
			if others == 0 {
				time.Sleep(35 * time.Second) // there is no event: the server gives its work to nobody
			}
			worker.signal(syscall.SIGCONT)
			f.same(run)
			worker.stop(syscall.SIGTERM)
		})
	}
}

// hosts are three network namespaces: the server's has a line to each of the others.
type hosts struct {
	t                         *testing.T
	server, submitter, worker string
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: no ip command (Debian: apt-get install iproute2)")
	}
	name := func(of string) string { return fmt.Sprintf("jird%d-%s", os.Getpid(), of) }
	h := &hosts{t, name("server"), name("submitter"), name("worker")}
	for _, host := range []string{h.server, h.submitter, h.worker} {
		if out, err := exec.Command("ip", "netns", "add", host).CombinedOutput(); err != nil {
			t.Skipf("skipped: network namespaces cannot be made here: %s", out)
		}
		t.Cleanup(func() { h.ip("netns", "del", host) })
		h.ip("-n", host, "link", "set", "lo", "up")
	}
	for i, host := range []string{h.submitter, h.worker} {
		h.ip("-n", h.server, "link", "add", fmt.Sprint("to", i), "type", "veth", "peer", "name", "line", "netns", host)
		h.ip("-n", h.server, "addr", "add", fmt.Sprintf("10.252.%d.1/24", i), "dev", fmt.Sprint("to", i))
		h.ip("-n", h.server, "link", "set", fmt.Sprint("to", i), "up")
		h.ip("-n", host, "addr", "add", fmt.Sprintf("10.252.%d.2/24", i), "dev", "line")
		h.ip("-n", host, "link", "set", "line", "up")
		h.ip("-n", host, "route", "add", "default", "via", fmt.Sprintf("10.252.%d.1", i))
	}
	return h
}

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Errorf("ip %v: %v: %s", args, err, out)
	}
}

// cutOff cuts the line to a host until whoever is on it has noticed. It does so at the
// server's end: the host would lose its route.
func (h *hosts) cutOff(line string, p *process) {
	h.t.Helper()
	h.ip("-n", h.server, "link", "set", line, "down")
	p.says("is lost, trying to get it back")
	h.ip("-n", h.server, "link", "set", line, "up")
}

// Server, submitter and worker are on hosts of their own. The worker is cut off in an
// evaluation and healed, then the submitter.
func TestEngineNetworkCut(t *testing.T) {
	long(t)
	f := newField(t, slow)
	h := newHosts(t)
	q := f.queueAt(h.server, "10.252.0.1:4222", "")
	worker := f.workerOn(h.worker, append(q.worker, "--workers", "4")...)
	run := f.submitOn(h.submitter, q.submit...)
	worker.waits()
	h.cutOff("to1", worker)
	f.halfway()
	h.cutOff("to0", run)
	f.same(run)
	worker.stop(syscall.SIGTERM)
}
