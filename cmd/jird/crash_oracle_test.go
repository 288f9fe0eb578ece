package main

import (
	"fmt"
	"maps"
	"sync"

	"jird/snapshots"
)

// write is one call of a client that changes the register.
type write struct {
	client int
	id     string
	add    int64 // to the sum that all clients share
	put    int64 // into the client's own key, ever greater; 0: it is an add
	lsn    uint64
}

func (w *write) datum() string {
	if w.put > 0 {
		return fmt.Sprintf("(put k%d %d)", w.client, w.put)
	}
	return fmt.Sprintf("(add total %d)", w.add)
}

// oracle is the clients' own log: what was acknowledged, and what may have been
// carried out or not. It knows nothing from the guard.
type oracle struct {
	mu      sync.Mutex
	sum     int64         // of what was acknowledged and survived a crash
	last    map[int]int64 // the same of each client's own key
	acked   []*write      // since the last crash
	unknown map[string]*write
	lost    int // acknowledged, in batch mode
	allowed map[snapshots.ID]bool
}

func newOracle(live snapshots.ID) *oracle {
	return &oracle{last: map[int]int64{}, unknown: map[string]*write{}, allowed: map[snapshots.ID]bool{live: true}}
}

func (o *oracle) sent(w *write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unknown[w.id] = w
}

func (o *oracle) answered(w *write, kept bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.unknown, w.id)
	if kept {
		o.acked = append(o.acked, w)
	}
}

// promoting says that one of these may become live at any moment from now on.
func (o *oracle) promoting(to map[snapshots.ID]bool) (before map[snapshots.ID]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before = o.allowed
	after := maps.Clone(before)
	maps.Copy(after, to)
	o.allowed = after
	return before
}

// promoted says that one of these is live for sure.
func (o *oracle) promoted(which map[snapshots.ID]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.allowed = which
}

// crashed takes in how far the journal reaches after a crash: what was acknowledged
// beyond may be lost only in batch mode, and at most 100 of it (ADR-001).
func (o *oracle) crashed(last uint64, batch bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	lost := 0
	for _, w := range o.acked {
		switch {
		case w.lsn > last:
			lost++
		case w.put > 0:
			o.last[w.client] = max(o.last[w.client], w.put)
		default:
			o.sum += w.add
		}
	}
	o.acked = nil
	o.lost += lost
	if lost > 100 || (lost > 0 && !batch) {
		return fmt.Errorf("%d acknowledged writes are beyond the journal's last record %d", lost, last)
	}
	return nil
}

// total says whether a sum is that of the acknowledged adds and of some of those of
// which nobody knows.
func (o *oracle) total(got int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	possible := map[int64]bool{o.sum: true}
	for _, w := range o.unknown {
		for sum := range maps.Clone(possible) {
			possible[sum+w.add] = true // a put adds nothing
		}
	}
	if !possible[got] {
		return fmt.Errorf("the sum is %d; acknowledged is %d, and %d calls are unknown: a call was lost, or carried out twice", got, o.sum, len(o.unknown))
	}
	return nil
}

// key says whether the two places of a client's key hold what they may.
func (o *oracle) key(client int, first, second int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if first != second {
		return fmt.Errorf("k%d was written by half: %d and %d", client, first, second)
	}
	if first == o.last[client] {
		return nil
	}
	for _, w := range o.unknown {
		if w.client == client && w.put > 0 && w.put == first {
			return nil
		}
	}
	return fmt.Errorf("k%d is %d, but %d was acknowledged", client, first, o.last[client])
}

func (o *oracle) version(id snapshots.ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.allowed[id] {
		return fmt.Errorf("%.12s is live; it may be one of %v", id, o.allowed)
	}
	o.allowed = map[snapshots.ID]bool{id: true}
	return nil
}
