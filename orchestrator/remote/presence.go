package remote

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	announceEvery = time.Second
	goneAfter     = 5 * announceEvery
)

// worker is what a worker says of itself.
type worker struct {
	Name     string // HOST:PID, and a number if a process has several
	Offer    Offer
	Parallel int

	seen time.Time
}

// see takes in what a worker says of itself.
func (q *Queue) see(data []byte) {
	var w worker
	if json.Unmarshal(data, &w) != nil {
		return // of another version
	}
	w.seen = time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.workers[w.Name] = w
}

// Present are the offers of the workers heard of lately, by name.
func (q *Queue) Present() map[string]Offer {
	q.mu.Lock()
	defer q.mu.Unlock()
	present := map[string]Offer{}
	for name, w := range q.workers {
		if time.Since(w.seen) > goneAfter {
			delete(q.workers, name)
			continue
		}
		present[name] = w.Offer
	}
	return present
}

// lament says that no worker fits, if none does.
func (q *Queue) lament(n Needs) {
	present := q.Present()
	var others []string
	for name, o := range present {
		if n.fit(o) {
			return
		}
		others = append(others, fmt.Sprintf("%s offers %s", name, o))
	}
	who := "no worker at all"
	if others != nil {
		slices.Sort(others)
		const most = 5
		if len(others) > most {
			others = append(others[:most], fmt.Sprintf("%d more", len(others)-most))
		}
		who = "only " + strings.Join(others, "; ")
	}
	q.link.once("nobody "+n.consumer(), "jobs wait for a worker with %s; present is %s; start one of this version there", n, who)
}
