package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/journal"
	"jird/snapshots"
)

func TestCallsAreKept(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	w.want(w.call(g, "(add 2)", "id1"), "7")
	w.want(w.call(g, "(add 2)", "id1"), "7")
	w.want(w.call(g, "(get)"), "7")
	w.want(w.call(g, "(raise)"), "raised: told to")
	w.want(w.call(g, "(get)"), "7")
	if got := w.call(g, "(add 3)", "id1"); !strings.Contains(got, journal.ErrOtherBody.Error()) {
		t.Error(got)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := w.call(g, "(get)"); !strings.Contains(got, ErrClosed.Error()) {
		t.Error(got)
	}
	g = w.open()
	w.want(w.call(g, "(get)"), "7")
	w.want(w.call(g, "(add 2)", "id1"), "7")
	w.crash(g)
	g = w.open()
	w.want(w.call(g, "(get)"), "7")
	w.want(w.call(g, "(add 1)"), "8")
}

func TestRaisedCallsAreRemembered(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(raise)", "x"), "raised: told to")
	w.crash(g)
	g = w.open()
	w.want(w.call(g, "(raise)", "x"), "raised: told to")
	w.want(w.call(g, "(get)"), "0")
}

// What the image brought along outlives a guard that dies before its first
// checkpoint, whatever became of it in the meantime.
func TestImageMemoryIsKept(t *testing.T) {
	for name, makeWorld := range map[string]func(testing.TB) *world{
		"in memory": newWorld,
		"on disk":   func(t testing.TB) *world { w, _ := onDisk(t); return w },
	} {
		t.Run(name, func(t *testing.T) {
			w := makeWorld(t)
			memory := datum(t, `((brought . 7) (changed . 1))`)
			id, err := w.vault.Put(snapshots.Image{Name: "a", Files: []snapshots.File{{Path: "agent.scm", Data: []byte(code("one"))}}, Memory: memory})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.vault.ResetRef("a/live", id); err != nil {
				t.Fatal(err)
			}
			g := w.open()
			w.want(w.call(g, "(key brought)"), "7")
			w.want(w.call(g, "(put changed 2)"), "ok")
			for range 2 {
				w.dies(g)
				g = w.open()
				w.want(w.call(g, "(key brought)"), "7")
				w.want(w.call(g, "(key changed)"), "2")
			}
		})
	}
}

// The serving process is killed again and again, idle and at work.
func TestKillsLoseNothing(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	sum := 0
	var wg sync.WaitGroup
	var answered atomic.Int64
	stop := make(chan struct{})
	wg.Go(func() { // not twice within a call, which would be the call's fault
		for last := int64(0); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if now := answered.Load(); now >= last+3 && g.Status().Live.PID > 0 {
				_ = syscall.Kill(g.Status().Live.PID, syscall.SIGKILL)
				last = now
			}
		}
	})
	for i := range 400 {
		sum += i
		if got := w.call(g, fmt.Sprintf("(add %d)", i), fmt.Sprint("id", i)); got != fmt.Sprint(sum) {
			t.Fatalf("call %d: got %s, want %d", i, got, sum)
		}
		answered.Add(1)
	}
	close(stop)
	wg.Wait()
	w.want(w.call(g, "(get)"), fmt.Sprint(sum))
	if n := g.Status().Live.Restarts; n == 0 {
		t.Error("no process was killed")
	}
	w.crash(g)
	g = w.open()
	w.want(w.call(g, "(get)"), fmt.Sprint(sum))
}

// A call that kills is tried twice, then its failure is its answer for good.
func TestPoison(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	w.want(w.call(g, "(die)", "bad"), "failed: killed the agent twice")
	w.want(w.call(g, "(get)"), "5")
	restarts := g.state.Totals.Restarts
	w.want(w.call(g, "(die)", "bad"), "failed: killed the agent twice")
	w.want(w.call(g, "(get)"), "5")
	if g.state.Totals.Restarts != restarts {
		t.Error("the repetition killed again")
	}
}

// A process that is frozen while nobody calls is replaced, and nobody notices.
func TestFrozenProcess(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	first := g.Status().Live.Beat
	for deadline := time.Now().Add(30 * time.Second); g.Status().Live.Beat < first+3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the idle process shows no heartbeat")
		}
	}
	pid := g.Status().Live.PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); g.Status().Live.PID == pid; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the frozen process still serves")
		}
	}
	w.want(w.call(g, "(get)"), "5")
}

// favour lets a process go before all others: where
// others want the processor too it would not come to use it up. Only root may.
func favour(pid int) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, -20)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("-20"), 0)
}

// A process that computes while nobody calls is replaced, as is one that has grown over
// the limit.
func TestRestlessAndGrownProcesses(t *testing.T) {
	w := newWorld(t)
	w.cfg.Memory = 24 << 20
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	for request, says := range map[string]string{"(haunt)": "of a processor while nothing was asked", "(grow 3000000)": "bytes of memory, over the limit"} {
		pid := g.Status().Live.PID
		favour(pid)
		w.want(w.call(g, request), "ok")
		for deadline := time.Now().Add(time.Minute); g.Status().Live.PID == pid; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after %s the process still serves: %+v", request, g.Status().Live)
			}
		}
		w.want(w.call(g, "(get)"), "5")
		if said := w.spoken(); !strings.Contains(said, says) {
			t.Errorf("after %s it says\n%s", request, said)
		}
	}
}

func TestHangingCalls(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	hang := func() string {
		return show(g.Call(t.Context(), Request{ID: "h", Datum: datum(t, "(hang)"), Deadline: 300 * time.Millisecond}))
	}
	if got := hang(); !strings.Contains(got, ErrDeadline.Error()) {
		t.Error(got)
	}
	w.want(w.call(g, "(get)"), "5")
	w.want(hang(), "failed: killed the agent twice")
	w.want(hang(), "failed: killed the agent twice")
	w.want(w.call(g, "(get)"), "5")
}

// While one call hangs, as many others wait as may; more are refused at once, and those
// that waited too long are told so.
func TestQueueIsBounded(t *testing.T) {
	w := newWorld(t)
	w.cfg.Queue = 2
	g := w.open()
	call := func(src string, deadline time.Duration) error {
		_, err := g.Call(context.Background(), Request{Datum: datum(t, src), Deadline: deadline})
		return err
	}
	hung := make(chan error, 1)
	go func() { hung <- call("(hang)", 3*time.Second) }()
	for g.ahead.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	const more = 8
	others := make(chan error, more)
	for range more {
		go func() { others <- call("(get)", 500*time.Millisecond) }()
	}
	full, late := 0, 0
	for range more {
		switch err := <-others; {
		case errors.Is(err, ErrQueueFull):
			full++
		case errors.Is(err, ErrDeadline):
			late++
		default:
			t.Errorf("a call behind one that hangs: %v", err)
		}
	}
	// The core may have one in hand besides those in its queue.
	if full == 0 || late == 0 || late > w.cfg.Queue+1 {
		t.Errorf("%d refused, %d late", full, late)
	}
	if err := <-hung; !errors.Is(err, ErrDeadline) {
		t.Errorf("the call that hangs: %v", err)
	}
	got := w.call(g, "(get)")
	for deadline := time.Now().Add(30 * time.Second); strings.Contains(got, ErrQueueFull.Error()) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the calls that were given up may still stand in the queue
		got = w.call(g, "(get)")
	}
	w.want(got, "0")
}

// A journal that fails: nothing is acknowledged that is not there, and nothing
// that is there is lost.
func TestJournalFailure(t *testing.T) {
	for lose := range 2 {
		t.Run(fmt.Sprint("loses ", lose), func(t *testing.T) {
			w := newWorld(t)
			g := w.open()
			w.want(w.call(g, "(add 5)"), "5")
			w.disk.mu.Lock()
			w.disk.failSync, w.disk.lose = syscall.EIO, lose
			w.disk.mu.Unlock()
			got := w.call(g, "(add 2)", "x")
			if lose == 1 {
				if !strings.Contains(got, ErrNotKept.Error()) {
					t.Error(got)
				}
				w.want(w.call(g, "(get)"), "5")
			} else {
				w.want(got, "7")
			}
			w.want(w.call(g, "(add 2)", "x"), "7")
			w.want(w.call(g, "(get)"), "7")
			w.crash(g)
			g = w.open()
			w.want(w.call(g, "(get)"), "7")
		})
	}
}

// A full disk: what changes nothing is served, what would is refused, and once
// there is space all is well.
func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	w.disk.mu.Lock()
	w.disk.failAppend = syscall.ENOSPC
	w.disk.mu.Unlock()
	for range 3 {
		if got := w.call(g, "(add 2)"); !strings.Contains(got, "no space left") || !strings.Contains(got, ErrReadOnly.Error()) {
			t.Error(got)
		}
		w.want(w.call(g, "(get)"), "5")
	}
	w.disk.mu.Lock()
	w.disk.failAppend = nil
	w.disk.mu.Unlock()
	deadline := time.Now().Add(10 * time.Second)
	for w.call(g, "(add 2)", "y") != "7" {
		if time.Now().After(deadline) {
			t.Fatal("it stays read-only")
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.want(w.call(g, "(get)"), "7")
}

func TestCheckpoints(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	for i := range 20 {
		w.want(w.call(g, fmt.Sprintf("(put k%d %d)", i, i)), "ok")
		w.want(w.call(g, "(save)"), "ok")
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := 0; n < 3; {
		if time.Now().After(deadline) {
			t.Fatalf("%d checkpoints", n)
		}
		time.Sleep(10 * time.Millisecond)
		w.want(w.call(g, "(save)"), "ok")
		w.disk.mu.Lock()
		n = len(w.disk.checkpoints)
		w.disk.mu.Unlock()
	}
	w.crash(g)
	if w.disk.first == 1 {
		t.Error("the journal was never shortened")
	}
	g = w.open()
	for i := range 20 {
		w.want(w.call(g, fmt.Sprintf("(key k%d)", i)), fmt.Sprint(i))
	}
	g.Close()
	if last := w.disk.checkpoints[len(w.disk.checkpoints)-1]; !last.Clean || last.LSN != w.disk.first+uint64(len(w.disk.records))-1 {
		t.Errorf("the last checkpoint is %+v", last)
	}
}

// What layers are lost, and what the guard makes of it.
func TestRecovery(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(w *world)
		doubt uint64 // 0: the agent comes back with everything
	}{
		"nothing":                                {func(*world) {}, 0},
		"live ref lost":                          {func(w *world) { w.harmRef("") }, 0},
		"live ref damaged":                       {func(w *world) { w.harmRef("garbage") }, 0},
		"journal lost, clean end":                {func(w *world) { w.clean(); w.disk.records, w.disk.first = nil, 1 }, 0},
		"journal lost":                           {func(w *world) { w.disk.records, w.disk.first = nil, 1 }, 6},
		"journal unreadable":                     {func(w *world) { w.disk.failOpen = errors.New("meta is damaged") }, 6},
		"record before the checkpoint damaged":   {func(w *world) { w.disk.records[0].Data = nil }, 0},
		"record after the checkpoint damaged":    {func(w *world) { w.disk.records[6].Data = nil }, 7},
		"beginning of the journal after a hole":  {func(w *world) { w.disk.records, w.disk.first = w.disk.records[7:], w.disk.first+7 }, 6},
		"end of the journal before a checkpoint": {func(w *world) { w.disk.records = w.disk.records[:3] }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.open() // record 1
			for i := range 4 {
				w.want(w.call(g, fmt.Sprintf("(put k%d %d)", i, i)), "ok") // 2 to 5
			}
			saved := make(chan struct{})
			g.post(func() { g.checkpoint(func() { close(saved) }) })
			<-saved
			for i := range 4 {
				w.want(w.call(g, fmt.Sprintf("(put k%d %d)", i+4, i+4)), "ok") // 6 to 9
			}
			w.crash(g)
			before := len(w.disk.records)
			c.harm(w)
			g, err := Open(context.Background(), w.cfg)
			var doubt *DoubtError
			if c.doubt > 0 {
				if !errors.As(err, &doubt) || doubt.First != c.doubt {
					t.Fatalf("got %v, want doubt from LSN %d", err, c.doubt)
				}
				if w.disk.aside != 0 || len(w.disk.records) > before {
					t.Error("something was changed")
				}
				w.cfg.AcceptLoss = true
				g, err = Open(context.Background(), w.cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			for i := range 8 {
				want := fmt.Sprint(i)
				if c.doubt > 0 && uint64(i+2) >= c.doubt {
					want = "#f"
				}
				w.want(w.call(g, fmt.Sprintf("(key k%d)", i)), want)
			}
			if losses := g.state.Totals.Losses; c.doubt > 0 && (len(losses) != 1 || losses[0].First != c.doubt) {
				t.Errorf("recorded losses: %+v", losses)
			}
			w.want(w.call(g, "(put k9 9)"), "ok")
			w.crash(g)
			w.cfg.AcceptLoss = false
			again := w.open()
			w.want(w.call(again, "(key k9)"), "9")
		})
	}
}
