package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"jird/population"
)

// Operator is what an operator's children came to.
type Operator struct {
	Name   string `json:"operator"`
	Made   int    `json:"made"`   // were measured
	Better int    `json:"better"` // scored better than each of their parents
	Paid   int    `json:"paid"`   // were the best so far
}

// pedigree is what a report needs of every genome of a run, in measuring order. It holds
// no source: of 100,000 genomes it takes 20 MB.
type pedigree struct {
	all       []bred
	at        map[string]int // by hash
	operators []Operator
	outcomes  map[string]int
	steps     map[int]int64 // by generation
}

type bred struct {
	hash       string
	generation int
	operator   int
	parents    []int // those that were measured, the mother first
	fitness    float64
	vector     uint64 // equal for equal scores and for equal failures
}

func (l *Ledger) pedigree(run string) (*pedigree, error) {
	rows, err := l.db.Query("SELECT hash, generation, operator, parents, status, steps, scores FROM genome WHERE run = ? ORDER BY sequence", run)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	p := &pedigree{at: map[string]int{}, outcomes: map[string]int{}, steps: map[int]int64{}}
	seed, best := maphash.MakeSeed(), population.WorstFitness
	for rows.Next() {
		var b bred
		var operator, parents, scores string
		var o population.Outcome
		if err := rows.Scan(&b.hash, &b.generation, &operator, &parents, &o.Status, &o.Steps, &scores); err != nil {
			return nil, l.fault(err)
		}
		var from []string
		var bad error
		if o.Scores, bad = readScores(scores); bad == nil {
			bad = json.Unmarshal([]byte(parents), &from)
		}
		if bad != nil {
			return nil, l.damage("genome %s of run %s: %w", b.hash, run, bad)
		}
		b.fitness, b.vector = o.Fitness(), maphash.String(seed, string(o.Status)+scores)
		p.outcomes[string(o.Status)]++
		p.steps[b.generation] += o.Steps
		best = p.add(b, operator, from, best)
	}
	return p, l.fault(rows.Err())
}

// readScores reads what text(population.Pairs(scores)) wrote, and nothing else: five times as fast as
// JSON in general, which took most of the time of a report.
func readScores(text string) (scores []population.Score, err error) {
	if text == "[]" {
		return nil, nil
	}
	inner, opened := strings.CutPrefix(text, "[[")
	inner, closed := strings.CutSuffix(inner, "]]")
	if !opened || !closed {
		return nil, fmt.Errorf("%.40q are no scores", text)
	}
	for pair := range strings.SplitSeq(inner, "],[") {
		num, den, _ := strings.Cut(pair, ",")
		var s population.Score
		if s.Num, err = strconv.ParseFloat(num, 64); err == nil {
			s.Den, err = strconv.ParseFloat(den, 64)
		}
		if err != nil {
			return nil, err
		}
		scores = append(scores, s)
	}
	return scores, nil
}

// add counts a genome, and returns the best fitness so far.
func (p *pedigree) add(b bred, operator string, from []string, best float64) float64 {
	b.operator = slices.IndexFunc(p.operators, func(o Operator) bool { return o.Name == operator })
	if b.operator < 0 {
		b.operator = len(p.operators)
		p.operators = append(p.operators, Operator{Name: operator})
	}
	of := &p.operators[b.operator]
	of.Made++
	for _, hash := range from {
		if at, ok := p.at[hash]; ok {
			b.parents = append(b.parents, at)
		}
	}
	if len(b.parents) > 0 && !slices.ContainsFunc(b.parents, func(at int) bool { return p.all[at].fitness <= b.fitness }) {
		of.Better++
	}
	if b.fitness < best {
		best = b.fitness
		of.Paid++
	}
	p.at[b.hash] = len(p.all)
	p.all = append(p.all, b)
	return best
}

// tell puts the counts into a report.
func (p *pedigree) tell(r *Report) {
	r.Operators, r.Outcomes = append(r.Operators, p.operators...), p.outcomes
	for _, steps := range p.steps {
		r.Steps += steps
	}
}

func (p *pedigree) find(m member) (at int, err error) {
	if len(m) == 0 {
		return 0, errors.New("a member has no hash")
	}
	at, ok := p.at[m[0]]
	if !ok {
		return 0, fmt.Errorf("genome %s is not there", m[0])
	}
	return at, nil
}
