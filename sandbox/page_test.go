package sandbox

import (
	"testing"
	"time"

	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// A live process shows by itself that it runs and what it has done; frozen, it
// shows that it does not.
func TestCounters(t *testing.T) {
	o := options(t, "fork", isolation.Full)
	o.Counters = true
	e := engine(t, "fork", o, Image{Files: []Source{{"agent.scm", []byte("(define (agent-handle r) (memory-set! 'n r) r)")}}})
	s := shadow(t, e)
	for i := range uint64(3) {
		if _, err := s.Live(t.Context(), i, true, nil, sexpr.NewInt(7)); err != nil {
			t.Fatal(err)
		}
	}
	c, ok := s.Counters()
	if !ok || c.Begun != 3 || c.Done != 3 || c.Sets != 3 {
		t.Errorf("%+v, %v", c, ok)
	}
	beats := func() uint64 { c, _ := s.Counters(); return c.Beat }
	for deadline, first := time.Now().Add(20*time.Second), beats(); beats() < first+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an idle process does not beat")
		}
	}
	s.Kill()
	if _, ok := s.Counters(); ok {
		t.Error("the page of a dead process is read")
	}
	without := shadow(t, engine(t, "fork", options(t, "fork", isolation.Full), Image{}))
	if _, ok := without.Counters(); ok {
		t.Error("a shadow that nobody asked to count has a page")
	}
}
