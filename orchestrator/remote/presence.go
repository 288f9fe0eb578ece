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

// lament says that no worker fits, if none does, and what each lacks.
func (q *Queue) lament(n Needs) {
	present := q.Present()
	var others []string
	for name, o := range present {
		if n.fit(o) {
			return
		}
		others = append(others, name+" "+n.lacks(o))
	}
	who := "there is none at all"
	if others != nil {
		slices.Sort(others)
		const most = 5
		if len(others) > most {
			others = append(others[:most], fmt.Sprintf("%d more do not fit either", len(others)-most))
		}
		who = strings.Join(others, "; ")
	}
	q.link.once("nobody "+n.consumer(), "jobs wait for a worker with %s, of this version: %s; start one at %s", n.Runtime, who, q.link.name)
}

// lacks says why a worker that offers o may not do what needs n.
func (n Needs) lacks(o Offer) string {
	switch {
	case n.Protocol != o.Protocol || n.Evaluator != o.Evaluator:
		return "is of another version"
	case n.Runtime != o.Runtime:
		return "has " + o.Runtime
	}
	return "isolates less than is asked for"
}
