package guard

import (
	"fmt"
	"testing"
	"time"

	"jird/orchestrator/journal"
)

// A wall clock that is set back or forward loses nothing and repeats nothing.
func TestClockJumps(t *testing.T) {
	w := newWorld(t)
	wall := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w.cfg.Now = func() time.Time { return wall }
	sum := 0
	for life, jump := range []time.Duration{0, -365 * 24 * time.Hour, 23 * time.Hour, -time.Minute} {
		wall = wall.Add(jump)
		g := w.open()
		for i := range 5 {
			sum++
			w.want(w.call(g, "(add 1)", fmt.Sprint(life, "-", i)), fmt.Sprint(sum))
			wall = wall.Add(48 * time.Hour) // while the guard runs
			w.want(w.call(g, "(get)", fmt.Sprint("jumped ", life, "-", i)), fmt.Sprint(sum))
			wall = wall.Add(-48 * time.Hour)
			w.want(w.call(g, "(add 1)", fmt.Sprint(life, "-", i)), fmt.Sprint(sum))
		}
		for earlier := range life {
			w.want(w.call(g, "(add 1)", fmt.Sprint(earlier, "-", 0)), fmt.Sprint(5*earlier+1))
		}
		if s := g.Status(); s.Metrics.Uptime < 0 || s.Metrics.Uptime > 1 {
			t.Errorf("uptime is %v", s.Metrics.Uptime)
		}
		w.crash(g)
	}
	last := int64(0)
	for _, e := range w.disk.records {
		r, err := journal.Decode(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := r.(*journal.Call); ok {
			if c.Time < last {
				t.Errorf("record %d is %d ms older than the one before", e.LSN, last-c.Time)
			}
			last = c.Time
		}
	}
}

// Code that dies of every call, and whose guard dies before the first one, is rolled
// back all the same, at the cost of no call.
func TestUnprovenCodeAfterACrash(t *testing.T) {
	w := newWorld(t)
	g := w.open()
	w.want(w.call(g, "(add 5)"), "5")
	fatal := w.put(`(define (agent-handle request) (exit 9))`)
	if a := w.promote(g, fatal, journal.Forced); !a.Live() {
		t.Fatalf("%+v", a)
	}
	w.crash(g)
	g = w.open()
	w.want(w.call(g, "(add 1)", "x"), "6")
	if n := g.Status().Counts.Poisoned; n > 0 {
		t.Errorf("%d calls took the blame", n)
	}
}
