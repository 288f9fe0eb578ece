package guard

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A zygote that is killed is replaced while the processes that it made serve on; where they
// are killed with it all are started anew. Nothing is lost either way.
func TestZygoteIsReplaced(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	if g.Status().Live.Zygote == 0 {
		t.Skip("nothing is forked here: without a compiler processes are spawned")
	}
	w.want(w.call(g, "(put a 1)"), "ok")
	first := g.Status().Live
	kill := func(pids ...int) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // a status is a moment old
		}
	}
	renewed := func(old int) (now LiveStatus) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if now = g.Status().Live; now.Zygote != old && now.Zygote != 0 && now.PID != 0 {
				return now
			}
			if time.Now().After(deadline) {
				t.Fatalf("no new zygote: %+v", now)
			}
		}
	}
	kill(first.Zygote)
	w.want(w.call(g, "(put b 2)"), "ok")
	second := renewed(first.Zygote)
	if second.PID != first.PID {
		t.Errorf("the process that served was replaced with its zygote")
	}
	// From the new zygote processes come as from the old one, with all that was written.
	for i := range 3 {
		kill(g.Status().Live.PID)
		w.want(w.call(g, fmt.Sprintf("(put c%d %d)", i, i)), "ok")
		w.want(w.call(g, "(key b)"), "2")
	}
	second = renewed(first.Zygote)
	kill(second.Zygote, second.PID)
	w.want(w.call(g, "(put d 4)"), "ok")
	kill(g.Status().Live.PID)
	for key, want := range map[string]string{"a": "1", "b": "2", "c2": "2", "d": "4"} {
		w.want(w.call(g, "(key "+key+")"), want)
	}
	renewed(second.Zygote)
	if back := g.Status().Counts.Rollbacks; back > 0 {
		t.Errorf("%d rollbacks", back)
	}
}
