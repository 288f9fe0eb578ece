package experiments

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/orchestrator/serve"
	"jird/orchestrator/supervise"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// GuardOptions are what a user may say of a guard.
type GuardOptions struct {
	Socket     string // empty: guard.sock in the agent's data folder
	TCP        string // HOST:PORT on loopback; empty: none
	Runtime    string
	Isolation  isolation.Level
	Batch      bool          // acknowledge before the journal is durable, at most 100 calls or 1 s ahead
	Deadline   time.Duration // of a call that names none; 0: 10 s
	Queue      int           // calls that may wait; 0: 1,000
	Heap       int64         // bytes that the agent's heap may reach; 0: 64 MiB
	Resident   int64         // bytes at which a serving process is replaced between calls; 0: no limit
	Copy       string        // folder of a second copy of the checkpoints; empty: none
	AcceptLoss bool
	Discard    bool // a candidate's writes are kept apart until it is accepted
	Alone      bool // nobody calls: promotions need no canary
	Ready      func(socket string)
}

// AgentName gives the name of the agent that a NAME or a DIR stands for. A folder's
// is that of the experiment beside it, if there is one, else its own. It is captured
// if the agent of that name has no live version; otherwise the live one is served,
// and a difference is said.
func (l *Lab) AgentName(arg string) (string, error) {
	if _, err := l.Vault.Ref(arg + "/live"); err == nil || l.wasServed(arg) {
		return arg, nil
	}
	info, err := os.Stat(arg)
	if err != nil || !info.IsDir() {
		return "", fmt.Errorf("%q is neither an agent with a live version nor a folder; `jird snapshot list` shows the agents", arg)
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return "", err
	}
	name := filepath.Base(abs)
	if name == "agent" { // as init makes it: PLACE/agent
		name = filepath.Base(filepath.Dir(abs))
	}
	if s, err := Load(filepath.Join(filepath.Dir(abs), "experiment.yaml"), ""); err == nil && filepath.Clean(s.Agent) == abs {
		name = s.Name
	} else if s, err := LoadTournament(filepath.Join(filepath.Dir(abs), "tournament.yaml")); err == nil && filepath.Clean(s.Agent) == abs {
		name = s.Name
	}
	if _, err := l.Vault.Ref(name + "/live"); err != nil && l.wasServed(name) {
		return name, nil
	}
	_, err = l.Agent(&Spec{Name: name, Agent: abs})
	return name, err
}

// wasServed says that an agent has a journal, so its guard knows what is live, though
// the ref be lost.
func (l *Lab) wasServed(name string) bool {
	served, err := l.served(name)
	return served && err == nil
}

// Serve keeps an agent and answers on its socket until ctx is done. The error is a
// *HeldError if another guard does that, or a *guard.DoubtError.
func (l *Lab) Serve(ctx context.Context, name string, o GuardOptions) error {
	if o.Socket == "" {
		o.Socket = filepath.Join(l.agentDir(name), "guard.sock")
	}
	release, err := l.lockSoon(name, o.Socket)
	if err != nil {
		return err
	}
	defer release()
	saved, err := l.Vault.Checkpoints(name)
	if err != nil {
		return err
	}
	first := !l.wasServed(name) && len(saved) == 0
	g, close, err := l.guard(ctx, name, o)
	if err != nil {
		var load *sandbox.LoadError
		if first && errors.As(err, &load) { // nobody was answered: it was not served
			err = errors.Join(err, os.RemoveAll(l.journalDir(name)))
		}
		return err
	}
	defer close()
	var listeners []net.Listener
	unix, err := serve.Listen(o.Socket)
	if err != nil {
		return errors.Join(err, g.Close())
	}
	listeners = append(listeners, unix)
	if o.TCP != "" {
		tcp, err := serve.ListenLoopback(o.TCP)
		if err != nil {
			return errors.Join(err, unix.Close(), g.Close())
		}
		listeners = append(listeners, tcp)
	}
	if o.Ready != nil {
		o.Ready(o.Socket)
	}
	return serve.Serve(ctx, g, listeners...)
}

// lockSoon is lock, but waits a moment where the holder is dead: a child that it was
// just starting has the lock until it runs its own program (flock(2), execve(2)).
func (l *Lab) lockSoon(name, socket string) (release func(), err error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		release, err = l.lock(name, socket)
		var held *HeldError
		dead := errors.As(err, &held) && errors.Is(syscall.Kill(held.PID, 0), syscall.ESRCH)
		if !dead || time.Since(began) > time.Second {
			return release, err
		}
	}
}

// guard opens the guard of an agent whose lock is held.
func (l *Lab) guard(ctx context.Context, name string, o GuardOptions) (g *guard.Guard, close func(), err error) {
	box, err := l.box(ctx, o.Runtime, o.Isolation)
	if err != nil {
		return nil, nil, err
	}
	vault, err := snapshots.OpenWith(filepath.Join(l.Home, "vault"), snapshots.Options{Copy: o.Copy, Say: func(err error) { l.Say("%v", err) }})
	if err != nil {
		return nil, nil, err
	}
	mode := wal.Sync
	if o.Batch {
		mode = wal.Batch
	}
	store := &guard.Disk{Agent: name, Vault: vault, Dir: l.journalDir(name), Mode: mode}
	limit := max(o.Deadline, 30*time.Second)
	canary := guard.Canary{Discard: o.Discard}
	if o.Alone {
		canary.Steps = []guard.Step{}
	}
	box.Wall, box.Policy.Heap = limit, o.Heap
	judge := &judge{lab: l, vault: vault, agent: name, sandbox: box}
	g, err = guard.Open(ctx, guard.Config{
		Agent: name, Vault: vault, Store: store, Deadline: o.Deadline, Queue: o.Queue, Memory: o.Resident, AcceptLoss: o.AcceptLoss,
		Canary: canary, Say: l.Say, Failpoint: failpoint(),
		Code: func(id snapshots.ID) (sandbox.Image, error) {
			image, err := vault.Get(id)
			if err != nil {
				return sandbox.Image{}, err
			}
			return orchestrator.LiveImage(image)
		},
		Line: supervise.Config{Request: limit, Sandbox: box}, Proposed: judge.proposed(),
	})
	if err != nil {
		return nil, nil, errors.Join(err, vault.Close())
	}
	judge.start(ctx, g)
	return g, func() { judge.stop(); _ = vault.Close() }, nil
}

func (l *Lab) journalDir(name string) string { return filepath.Join(l.agentDir(name), "journal") }

// Client reaches the guard of an agent, wherever it listens.
func (l *Lab) Client(name string) (*serve.Client, error) {
	// The lock is only read: taking it, even for a moment, could keep a guard that
	// starts just now from it.
	if h := l.holder(name); h.Socket != "" && syscall.Kill(h.PID, 0) == nil {
		return serve.NewClient(h.Socket), nil
	}
	return nil, fmt.Errorf("no guard keeps %s; start one with `jird serve %s`", name, name)
}

// promoteWinner makes a run's winner live: through the agent's guard if there is
// one, else through its journal, else, for an agent that was never served, by its
// ref.
func (l *Lab) promoteWinner(ctx context.Context, name string, from, to snapshots.ID, reason string) (refused string, err error) {
	served, err := l.served(name)
	if err != nil {
		return "", err
	}
	if !served {
		return l.moveRef(name, from, to)
	}
	ended, err := l.Promote(ctx, name, serve.Promotion{From: from, To: to, Kind: journal.Promotion, Reason: reason})
	var r *serve.RefusedError
	switch {
	case errors.Is(err, snapshots.ErrRefMoved), errors.As(err, &r):
		return err.Error(), nil
	case err != nil || ended.Promoted:
		return "", err
	}
	return ended.Reason, nil
}

// served says whether an agent has a guard or a journal.
func (l *Lab) served(name string) (bool, error) {
	_, err := os.Stat(l.journalDir(name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (l *Lab) moveRef(name string, from, to snapshots.ID) (refused string, err error) {
	release, err := l.lock(name, "")
	if err != nil {
		return "", err
	}
	defer release()
	if err := guard.MoveLive(l.Vault, name, from, to); errors.Is(err, snapshots.ErrRefMoved) {
		return fmt.Sprintf("%v since this run began; run it again from there", err), nil
	} else if err != nil {
		return "", err
	}
	return "", nil
}

// Promote makes a version live: through the agent's guard if one runs, else through
// its journal.
func (l *Lab) Promote(ctx context.Context, name string, p serve.Promotion) (serve.Ended, error) {
	return l.throughGuard(ctx, name, func(c *serve.Client) (serve.Ended, error) { return c.Promote(ctx, p) },
		func(g *guard.Guard) (journal.Attempt, error) {
			return g.Promote(ctx, guard.Promote{From: p.From, To: p.To, Kind: p.Kind, Reason: p.Reason})
		})
}

// Rollback makes what was live before, or p.To, live again.
func (l *Lab) Rollback(ctx context.Context, name string, p serve.Promotion) (serve.Ended, error) {
	return l.throughGuard(ctx, name, func(c *serve.Client) (serve.Ended, error) { return c.Rollback(ctx, p) },
		func(g *guard.Guard) (journal.Attempt, error) { return g.Rollback(ctx, p.To, p.Reason) })
}

func (l *Lab) throughGuard(ctx context.Context, name string, ask func(*serve.Client) (serve.Ended, error), do func(*guard.Guard) (journal.Attempt, error)) (serve.Ended, error) {
	release, err := l.lockSoon(name, "")
	var held *HeldError
	if errors.As(err, &held) && held.Socket != "" {
		return ask(serve.NewClient(held.Socket))
	}
	if err != nil {
		return serve.Ended{}, err
	}
	defer release()
	g, close, err := l.guard(ctx, name, GuardOptions{Alone: true})
	if err != nil {
		return serve.Ended{}, err
	}
	defer close()
	a, err := do(g)
	return serve.NewEnded(a), errors.Join(err, g.Close())
}

// failpoint is where a test has the guard end: at the Nth passing of the point that
// JIRD_FAILPOINT names, as NAME:N. The process kills itself there, so nothing that a
// handler could do is done.
func failpoint() func(string) {
	name, count, ok := strings.Cut(os.Getenv("JIRD_FAILPOINT"), ":")
	left, err := strconv.Atoi(count)
	if !ok || err != nil {
		return nil
	}
	var passed atomic.Int64
	return func(at string) {
		if at == name && passed.Add(1) == int64(left) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
