package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/serve"
)

// served starts a guard of an agent and waits until it answers.
func (p *place) served(args ...string) *exec.Cmd {
	p.t.Helper()
	c := p.command(append([]string{"serve"}, args...)...)
	said, err := c.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	listens := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if strings.Contains(lines.Text(), "is served at") {
				listens <- true
			}
		}
		close(listens)
	}()
	if !<-listens {
		p.t.Fatal("the guard ended before it listened")
	}
	return c
}

func (p *place) call(request string, args ...string) string {
	p.t.Helper()
	return strings.TrimSpace(p.ok(append([]string{"call", request}, args...)...))
}

func (p *place) want(got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("got %s, want %s", got, want)
	}
}

// ends waits for a guard that was told to end.
func (p *place) ends(c *exec.Cmd, sig syscall.Signal) {
	p.t.Helper()
	if err := c.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	_ = c.Wait()
}

// client reaches an agent's guard without a process for each call.
func (p *place) client(agent string) *serve.Client {
	return serve.NewClient(filepath.Join(p.home, "agents", agent, "guard.sock"))
}

func notes(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	p.ok("init", "notes", "--example", "self-destruct")
	return p
}

// The story that jird exists for: the agent's idea of a faster memory is an endless
// recursion. It is refused in the shadow; forced in, the agent dies, is back with
// its memory, and the version before is live again. A good idea is let in.
func TestSelfDestruct(t *testing.T) {
	p := notes(t)
	guard := p.served("notes/agent")
	p.want(p.call("(note milk 2)"), "done")
	first := p.status()
	p.want(p.call("(optimise)"), "proposed")
	p.waitFor("the verdict on the first proposal", func(s guardStatusJSON) bool { return s.Proposals == 0 })
	if now := p.status(); now.Live.Version != first.Live.Version || now.Live.Restarts != 0 {
		t.Errorf("the bad idea touched the live agent: %+v", now)
	}
	p.want(p.call("(recall milk)"), "2")

	p.ok("snapshot", "create", "other", "notes/agent") // another agent: its ref is free
	bad := filepath.Join(p.dir, "bad")
	if err := os.CopyFS(bad, os.DirFS(filepath.Join(p.dir, "notes/agent"))); err != nil {
		t.Fatal(err)
	}
	p.edit("bad/memory-code.scm", "(memory-ref (list 'note (note-key key)) #f)", "(+ 1 (recall key))")
	var made struct{ Snapshot string }
	if err := json.Unmarshal([]byte(p.ok("snapshot", "create", "notes", "bad", "--output", "json")), &made); err != nil {
		t.Fatal(err)
	}
	if said := p.ok("explain", "notes"); !strings.Contains(said, "notes/1: kept the incumbent: vetoed") || !strings.Contains(said, "(define recall (lambda") {
		t.Errorf("the proposal's evidence:\n%s", said)
	}
	if said := p.ok("promote", made.Snapshot); !strings.Contains(said, "notes/2: kept the incumbent: vetoed: failures") {
		t.Errorf("judged, the bad version: %s", said)
	}
	p.run(exitUsage, "promote", made.Snapshot[:12]) // judged before
	p.ok("promote", made.Snapshot[:12], "--force")
	p.want(p.call("(recall milk)", "--agent", "notes"), "2")
	now := p.status()
	if now.Live.Version != first.Live.Version || now.Live.Restarts == 0 || now.Metrics.Attempts != 1 || now.Metrics.Held != 0 {
		t.Errorf("%+v", now)
	}

	p.want(p.call("(tidy)", "--agent", "notes"), "proposed")
	callers := p.client("notes") // whose calls the canary needs
	p.waitFor("the good idea to be live", func(s guardStatusJSON) bool {
		for range 200 {
			if _, _, err := callers.Call(t.Context(), "(count)", nil); err != nil {
				t.Fatal(err)
			}
		}
		return s.Metrics.Held == 1
	})
	p.want(p.call(`(recall "milk")`, "--agent", "notes"), "#f") // it was noted under the symbol's own key
	p.want(p.call("(note tea 3)", "--agent", "notes"), "done")
	p.want(p.call(`(recall "tea")`, "--agent", "notes"), "3")
	p.ok("rollback", "--agent", "notes")
	p.want(p.call(`(recall "tea")`, "--agent", "notes"), "3")
	p.ends(guard, syscall.SIGTERM)
	p.ok("wal", "verify", "--agent", "notes")
	if dump := p.ok("wal", "dump", "--agent", "notes"); !strings.Contains(dump, "(begin 1 \"forced\"") {
		t.Errorf("the journal does not tell of it:\n%s", dump)
	}
}

type guardStatusJSON struct {
	Live struct {
		PID      int
		Version  string
		Restarts int
	}
	Proposals int
	Metrics   struct {
		Attempts int `json:"promotions_attempted"`
		Held     int `json:"promotions_held"`
	}
}

func (p *place) status() (s guardStatusJSON) {
	p.t.Helper()
	time.Sleep(300 * time.Millisecond) // it is published four times a second
	if err := json.Unmarshal([]byte(p.ok("status", "--agent", "notes", "--output", "json")), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *place) waitFor(what string, holds func(guardStatusJSON) bool) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(p.status()); {
		if time.Now().After(deadline) {
			p.t.Fatalf("waiting for %s: %+v", what, p.status())
		}
	}
}

// One guard for an agent; what it acknowledged survives its death; another way in is
// refused while it runs.
func TestServe(t *testing.T) {
	p := notes(t)
	guard := p.served("notes/agent")
	if _, said := p.run(exitFailed, "serve", "notes"); !strings.Contains(said, "held by the guard of notes") {
		t.Errorf("the second guard is told: %s", said)
	}
	p.want(p.call("(note milk 2)", "--id", "x"), "done")
	p.want(p.call("(note milk 2)", "--id", "x"), "done")
	p.want(p.call("(count)"), "1")
	for request, says := range map[string]string{"(note": "not one S-expression", "(note milk 3)": "used with another request"} {
		args := []string{"call", request}
		if request != "(note" {
			args = append(args, "--id", "x")
		}
		if _, said := p.run(exitUsage, args...); !strings.Contains(said, says) {
			t.Errorf("%s: %s", request, said)
		}
	}
	if _, said := p.run(exitFailed, "call", "milk"); !strings.Contains(said, "(car") { // the agent takes its request apart
		t.Errorf("an exception is told as: %s", said)
	}
	p.ends(guard, syscall.SIGKILL)
	if _, said := p.run(exitFailed, "call", "(count)"); !strings.Contains(said, "jird serve notes") {
		t.Errorf("without a guard: %s", said)
	}
	guard = p.served("notes")
	p.want(p.call("(recall milk)"), "2")
	p.want(p.call("(note milk 2)", "--id", "x"), "done")
	p.want(p.call("(count)"), "1")
	p.ends(guard, syscall.SIGTERM)
	if code := guard.ProcessState.ExitCode(); code != exitDone {
		t.Errorf("status %d after SIGTERM", code)
	}

	// A ref that is lost is not taken from the folder, which is another version by now.
	ref := filepath.Join(p.home, "vault/refs/notes/live")
	live, err := os.ReadFile(ref)
	if err != nil {
		t.Fatal(err)
	}
	p.edit("notes/agent/agent.scm", "(memory-ref 'count 0))", "17)")
	for _, by := range []string{"notes", "notes/agent"} {
		if err := os.Remove(ref); err != nil {
			t.Fatal(err)
		}
		guard = p.served(by)
		p.want(p.call("(count)"), "1")
		p.ends(guard, syscall.SIGTERM)
		if now, err := os.ReadFile(ref); err != nil || !bytes.Equal(now, live) {
			t.Errorf("served by %s: the ref is %q, %v", by, now, err)
		}
	}
}

// A run's winner becomes live through the guard that serves the agent, after live
// traffic has met it.
func TestRunPromotesThroughTheGuard(t *testing.T) {
	p := newPlace(t)
	guard := p.served("p/agent")
	p.want(p.call("(place 42)"), "0")
	run := p.command("run", "p/experiment.yaml", "--generations", "3", "--seed", "7", "--shadows", "8", "--output", "json")
	var out bytes.Buffer
	run.Stdout = &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	client := p.client("packer")
	var err error
	for calls, running := 0, true; running; calls++ {
		select {
		case err = <-ended:
			running = false
		default:
			if answer, _, err := client.Call(t.Context(), "(place 42)", nil); err != nil {
				t.Fatalf("call %d during the run: %s, %v", calls, answer, err)
			}
			time.Sleep(5 * time.Millisecond) // the run wants the processor too
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Promoted bool
		Snapshot string
		Reason   string
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || !r.Promoted {
		t.Fatalf("%s (%v)", out.String(), err)
	}
	time.Sleep(300 * time.Millisecond)
	var s guardStatusJSON
	if err := json.Unmarshal([]byte(p.ok("status", "--agent", "packer", "--output", "json")), &s); err != nil || s.Live.Version != r.Snapshot || s.Live.Restarts != 0 {
		t.Errorf("the guard serves %s, the run promoted %s", s.Live.Version, r.Snapshot)
	}
	p.ends(guard, syscall.SIGTERM)
	if dump := p.ok("wal", "dump"); !strings.Contains(dump, `(step 1 "mirror")`) || !strings.Contains(dump, `(step 1 "split 50")`) {
		t.Error("the journal tells of no canary")
	}
}
