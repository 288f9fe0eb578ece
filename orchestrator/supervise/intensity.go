// Package supervise keeps the processes of one version of an agent running: the
// zygote, the process that serves, and a standby that holds the same memory and
// takes over when that one dies.
//
// It decides nothing about code or traffic, and it does not know the journal: the
// guard tells it what was committed, in order.
package supervise

import (
	"math/rand/v2"
	"time"
)

// Intensity decides how to restart, from the deaths so far. As with Erlang/OTP's
// supervisors too many deaths in a period are not answered by one more restart;
// unlike there only a process that died without having answered counts, since one
// that served well was killed by something else. Not safe for concurrent use.
type Intensity struct {
	Deaths int           // how many within Period exhaust it; 0: 5
	Period time.Duration // 0: 10 s
	Base   time.Duration // pause before the second restart, doubled for each further; 0: 10 ms
	Most   time.Duration // longest pause; 0: 2 s

	barren []time.Time // deaths without an answer, oldest first
}

func (i *Intensity) withDefaults() Intensity {
	d := *i
	if d.Deaths == 0 {
		d.Deaths = 5
	}
	if d.Period == 0 {
		d.Period = 10 * time.Second
	}
	if d.Base == 0 {
		d.Base = 10 * time.Millisecond
	}
	if d.Most == 0 {
		d.Most = 2 * time.Second
	}
	return d
}

// Died takes a death in. It returns the pause before the next process may start,
// with jitter so that agents which died together do not start together, and
// whether restarting has become hopeless.
func (i *Intensity) Died(now time.Time, answered bool) (pause time.Duration, exhausted bool) {
	d := i.withDefaults()
	if answered {
		i.barren = nil
		return 0, false
	}
	kept := i.barren[:0]
	for _, t := range i.barren {
		if now.Sub(t) < d.Period {
			kept = append(kept, t)
		}
	}
	i.barren = append(kept, now)
	n := len(i.barren)
	if n >= d.Deaths {
		return d.Most, true
	}
	if n == 1 {
		return 0, false
	}
	pause = min(d.Base<<(n-2), d.Most)
	return pause/2 + rand.N(pause/2+1), false
}

// Reset forgets all deaths: another code runs now.
func (i *Intensity) Reset() { i.barren = nil }
