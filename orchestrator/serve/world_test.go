package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	os.Exit(m.Run())
}

const agentCode = `
(define (agent-handle request)
  (case (car request)
    ((add) (memory-set! 'count (+ (memory-ref 'count 0) (cadr request))) (memory-ref 'count 0))
    ((slow) (let loop ((i 0)) (if (< i (caddr request)) (loop (+ i 1)))) (agent-handle (list 'add (cadr request))))
    ((get) (memory-ref 'count 0))
    ((raise) (error "told to"))
    ((die) (exit 9))
    ((hang) (let loop () (loop)))
    (else 'VERSION)))
`

// place is a guard behind a real socket.
type place struct {
	t        testing.TB
	dir      string
	vault    *snapshots.Vault
	store    *store
	guard    *guard.Guard
	cfg      guard.Config
	one, two snapshots.ID
	socket   string
	client   *http.Client
	stop     context.CancelFunc
	served   chan error
}

// store is a disk that can be full.
type store struct {
	guard.Disk
	full atomic.Bool
}

type journaled struct {
	guard.Opened
	s *store
}

func (s *store) OpenJournal(create bool) (guard.Opened, error) {
	j, err := s.Disk.OpenJournal(create)
	return &journaled{j, s}, err
}

func (j *journaled) Append(b []byte) (uint64, error) {
	if j.s.full.Load() {
		return 0, fmt.Errorf("writing the journal: %w", syscall.ENOSPC)
	}
	return j.Opened.Append(b)
}

func newPlace(t testing.TB, change ...func(*guard.Config)) *place {
	t.Helper()
	r, err := sandbox.FindRuntime(t.Context(), "auto")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	if _, err := isolation.Decide(isolation.Policy{Level: isolation.Full}, isolation.Probe()); err != nil {
		t.Skipf("skipped: %v", err)
	}
	p := &place{t: t, dir: t.TempDir()}
	p.socket = filepath.Join(p.dir, "s")
	if p.vault, err = snapshots.Open(filepath.Join(p.dir, "vault")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.vault.Close() })
	p.one, p.two = p.version("one"), p.version("two")
	if err := p.vault.SwapRef("a/live", "", p.one); err != nil {
		t.Fatal(err)
	}
	p.store = &store{Disk: guard.Disk{Agent: "a", Vault: p.vault, Dir: filepath.Join(p.dir, "journal")}}
	p.cfg = guard.Config{
		Agent: "a", Vault: p.vault, Store: p.store, Code: p.code, Canary: guard.Canary{Steps: []guard.Step{}}, Say: t.Logf,
		Line: supervise.Config{Sandbox: sandbox.Options{
			Runtime: r, Policy: isolation.Policy{Level: isolation.Full, Heap: 32 << 20}, Wall: 20 * time.Second,
			Compiler: &sandbox.Compiler{Runtime: r, Cache: sandbox.Cache(t.TempDir()), Level: isolation.Full},
		}},
	}
	for _, c := range change {
		c(&p.cfg)
	}
	p.start()
	return p
}

func (p *place) version(name string) snapshots.ID {
	p.t.Helper()
	code := strings.ReplaceAll(agentCode, "VERSION", name)
	id, err := p.vault.Put(snapshots.Image{Name: "a", Files: []snapshots.File{{Path: "agent.scm", Data: []byte(code)}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *place) code(id snapshots.ID) (sandbox.Image, error) {
	image, err := p.vault.Get(id)
	if err != nil {
		return sandbox.Image{}, err
	}
	return sandbox.Image{Files: []sandbox.Source{{Name: "agent.scm", Code: image.File("agent.scm").Data}}}, nil
}

// start serves until ends is called, at the end of the test at the latest.
func (p *place) start() {
	p.t.Helper()
	g, err := guard.Open(p.t.Context(), p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := Listen(p.socket)
	if err != nil {
		p.t.Fatal(errors.Join(err, g.Close()))
	}
	ctx, stop := context.WithCancel(context.Background())
	p.guard, p.stop, p.served = g, stop, make(chan error, 1)
	p.client = NewClient(p.socket).http
	served := p.served
	go func() { served <- Serve(ctx, g, l); close(served) }()
	p.t.Cleanup(func() { stop(); <-served })
}

// ends has the guard end in order.
func (p *place) ends() {
	p.t.Helper()
	p.stop()
	if err := <-p.served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		p.t.Fatal(err)
	}
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header is pairs.
func (p *place) ask(method, path, body string, header ...string) reply {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://guard"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, strings.TrimSpace(string(text))}
}

func (p *place) call(datum string, header ...string) reply {
	p.t.Helper()
	return p.ask("POST", "/v1/call", datum, header...)
}

func (p *place) want(a reply, status int, says string) {
	p.t.Helper()
	if a.status != status || !strings.Contains(a.body, says) {
		p.t.Errorf("got %d %q, want %d and %q", a.status, a.body, status, says)
	}
}
