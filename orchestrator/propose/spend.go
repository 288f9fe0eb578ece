package propose

import (
	"fmt"
	"math"
)

// Ceilings are the most that the proposers of a run may use together; 0 is no ceiling.
type Ceilings struct {
	Calls  int   // attempts
	Tokens int64 // of prompts and answers
	Micros int64 // millionths of the currency that prices are given in
}

// cost is what attempts use.
type cost struct {
	calls   int
	in, out int64 // tokens
	micros  int64
}

func (c cost) plus(d cost) cost {
	return cost{c.calls + d.calls, c.in + d.in, c.out + d.out, c.micros + d.micros}
}

func (c cost) times(n int) cost {
	return cost{c.calls * n, c.in * int64(n), c.out * int64(n), c.micros * int64(n)}
}

// account holds what was used against the ceilings.
type account struct {
	ceilings   Ceilings
	used, held cost
}

// room is for how many attempts, at most n, the ceilings leave room.
func (a *account) room(one cost, n int) int {
	gone := a.used.plus(a.held)
	fits := func(ceiling, gone, one int64) {
		if ceiling > 0 && one > 0 {
			n = int(min(int64(n), max(0, ceiling-gone)/one))
		}
	}
	fits(int64(a.ceilings.Calls), int64(gone.calls), int64(one.calls))
	fits(a.ceilings.Tokens, gone.in+gone.out, one.in+one.out)
	fits(a.ceilings.Micros, gone.micros, one.micros)
	return n
}

// Usage is what one proposer was asked, what came of it and what it cost. Exchanges that
// were replayed count as they did when they were made.
type Usage struct {
	Proposer  string         `json:"proposer"`
	Asked     int            `json:"asked"`    // children wanted of it
	Accepted  int            `json:"accepted"` // genomes that were worth a measurement
	Refused   map[string]int `json:"refused"`  // answers by what was wrong with them: Unreadable, Misplaced, ...
	GivenUp   int            `json:"given_up"` // children that it was asked for twice, in vain
	Failed    int            `json:"failed"`   // requests without an answer after all attempts
	NoRoom    int            `json:"no_room"`  // requests that a ceiling left no room for
	Replayed  int            `json:"replayed"` // requests whose exchange was recorded
	Calls     int            `json:"calls"`    // attempts
	TokensIn  int64          `json:"tokens_in"`
	TokensOut int64          `json:"tokens_out"`
	Micros    int64          `json:"micros"` // millionths of the currency that prices are given in
}

func (u Usage) cost() cost { return cost{u.Calls, u.TokensIn, u.TokensOut, u.Micros} }

func (u *Usage) add(c cost) {
	u.Calls += c.calls
	u.TokensIn += c.in
	u.TokensOut += c.out
	u.Micros += c.micros
}

// AllRefused is how many answers were refused.
func (u Usage) AllRefused() (n int) {
	for _, of := range u.Refused {
		n += of
	}
	return n
}

// Money is what it cost, in the currency that prices are given in.
func (u Usage) Money() float64 { return float64(u.Micros) / 1e6 }

// Spent is what each proposer used, in the order that New was given.
func (p *Proposers) Spent() []Usage {
	var all []Usage
	for _, name := range p.order {
		all = append(all, p.sources[name].usage.clone())
	}
	return all
}

func (u Usage) clone() Usage {
	refused := map[string]int{}
	for class, n := range u.Refused {
		refused[class] = n
	}
	u.Refused = refused
	return u
}

// Restore goes on from what Spent told when the run was interrupted. It comes before the
// first Propose.
func (p *Proposers) Restore(spent []Usage) error {
	for _, u := range spent {
		s := p.sources[u.Proposer]
		if s == nil {
			return fmt.Errorf("propose: there is no proposer %q any more, and the run used it: resume with those that it began with", u.Proposer)
		}
		s.usage = u.clone()
		p.account.used = p.account.used.plus(u.cost())
	}
	return nil
}

// Exhausted says whether the ceilings left none of the proposers room for an ask, as of the
// last round.
func (p *Proposers) Exhausted() bool {
	if p.account.room(cost{calls: 1}, 1) == 0 {
		return true
	}
	for _, s := range p.sources {
		if !s.tight {
			return false
		}
	}
	return len(p.sources) > 0
}

// price is what tokens cost, in millionths: a price per million of them is one per token.
func price(in, out int64, perIn, perOut float64) int64 {
	return int64(math.Ceil(float64(in)*perIn + float64(out)*perOut))
}
