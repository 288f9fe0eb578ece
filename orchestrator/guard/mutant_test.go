package guard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/orchestrator/journal"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// machine is a store whose power can fail: what was not synced is then gone, and
// whoever still has it open can do nothing more.
type machine struct {
	disk
	life    int // counts the failures
	off     bool
	durable int // records
}

var errOff = errors.New("the power is off")

func (m *machine) OpenJournal(bool) (Opened, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return nil, errOff
	}
	m.first = 1
	return &volatile{log{d: &m.disk}, m, m.life}, nil
}

func (m *machine) Salvage(uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { yield(Entry{}, errOff) }
}

func (m *machine) PutCheckpoint(s Saved) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return 0, errOff
	}
	m.checkpoints = append(m.checkpoints, s)
	return 0, nil // the journal keeps everything
}

func (m *machine) fails() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	m.life++
	m.records = m.records[:m.durable]
}

// volatile is the journal of one life of a machine.
type volatile struct {
	log
	m    *machine
	life int
}

func (v *volatile) Append(b []byte) (uint64, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if v.m.life != v.life {
		return 0, errOff
	}
	lsn := uint64(len(v.m.records)) + 1
	v.m.records = append(v.m.records, Entry{lsn, b})
	return lsn, nil
}

// Sync takes the time of a slow disk, so that a failure finds something to lose.
func (v *volatile) Sync(_ context.Context, lsn uint64) error {
	v.m.mu.Lock()
	n := len(v.m.records)
	done := v.m.durable >= int(lsn)
	v.m.mu.Unlock()
	if !done {
		time.Sleep(3 * time.Millisecond)
	}
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if v.m.life != v.life {
		return errOff
	}
	v.m.durable = max(v.m.durable, n)
	return nil
}

func (v *volatile) Wait(ctx context.Context, lsn uint64) error { return v.Sync(ctx, lsn) }

// The workload and the oracle must fail for each mutant, and hold for the guard as
// it is.
func TestMutantsAreCaught(t *testing.T) {
	for name, m := range map[string]int{"none": 0, "skips the fsync": tellsUnsynced, "answers before the journal": tellsFirst, "leaves out the swap": swapsNothing} {
		t.Run(name, func(t *testing.T) {
			mutant = m
			defer func() { mutant = 0 }()
			w := newWorldAlone(t) // all guards are mutants
			found := w.powerFailures(6)
			t.Log(found)
			if caught := found != nil; caught != (m != 0) {
				t.Errorf("the oracle says: %v", found)
			}
		})
	}
}

// powerFailures has clients add while the power fails and versions change, and
// returns the first breach of a promise.
func (w *world) powerFailures(times int) error {
	m := &machine{}
	w.cfg.Store = m
	versions := map[string]snapshots.ID{"one": mustRef(w.t, w.vault), "two": w.version("two")}
	promised := versions["one"]
	acknowledged, unknown := 0, 0
	for life := range times {
		m.off = false
		g, err := Open(w.t.Context(), w.cfg)
		if err != nil {
			return fmt.Errorf("it does not open: %w", err)
		}
		defer g.Close()
		if err := w.holds(g, acknowledged, unknown, promised, versions); err != nil {
			return err
		}
		promised = versions[[]string{"two", "one"}[life%2]]
		a, err := g.Promote(w.t.Context(), Promote{To: promised, Kind: journal.Forced})
		if err != nil || !a.Live() {
			return fmt.Errorf("the promotion: %+v %w", a, err)
		}
		kept, maybe := addUntil(g, life, datum(w.t, "(add 1)"), func() {
			time.Sleep(time.Duration(20+rand.IntN(30)) * time.Millisecond)
			m.fails()
		})
		acknowledged, unknown = acknowledged+kept, unknown+maybe
		_ = g.Close() // its last words reach nothing
	}
	return nil
}

// addUntil adds one, again and again, from several clients, while during runs.
func addUntil(g *Guard, life int, one sexpr.Value, during func()) (kept int, maybe int) {
	var mu sync.Mutex
	var clients sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	for client := range 4 {
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := g.Call(context.Background(), Request{ID: fmt.Sprintf("%d-%d-%d", life, client, n), Datum: one})
				mu.Lock()
				if err == nil {
					kept++
				} else if !errors.Is(err, ErrReadOnly) {
					maybe++
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	during()
	stop()
	clients.Wait()
	return kept, maybe
}

// holds compares a guard that has just recovered with what was promised.
func (w *world) holds(g *Guard, acknowledged, unknown int, promised snapshots.ID, versions map[string]snapshots.ID) error {
	var count int
	got := w.call(g, "(get)")
	if _, err := fmt.Sscan(got, &count); err != nil || count < acknowledged || count > acknowledged+unknown {
		return fmt.Errorf("%s are there; %d were acknowledged, %d are unknown", got, acknowledged, unknown)
	}
	live := mustRef(w.t, w.vault)
	if live != promised {
		return fmt.Errorf("%.12s was made live, but %.12s is", promised, live)
	}
	if says := w.call(g, "(version)"); versions[strings.TrimSpace(says)] != live {
		return fmt.Errorf("%.12s is live, but %s answers", live, says)
	}
	return nil
}
