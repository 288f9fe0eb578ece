package ledger

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"jird/population"
)

// Spread is how the scores of some members of a cohort lie: means, lower is better, and
// all 0 where nobody has a score.
type Spread struct {
	Members int     `json:"members"`
	Failed  int     `json:"failed"` // members without a score
	Best    float64 `json:"best"`
	Quarter float64 `json:"quarter"` // a quarter of those scored are as good
	Median  float64 `json:"median"`
	Three   float64 `json:"three_quarters"`
}

// Scored says whether anybody has a score.
func (s Spread) Scored() bool { return s.Failed < s.Members }

// Generation is one row of a report.
type Generation struct {
	Number      int `json:"generation"`
	Evaluations int `json:"evaluations"`
	Spread
	Genomes int      `json:"genomes"`       // distinct ones
	Vectors int      `json:"score_vectors"` // distinct ones: who scores the same on every case is the same to the search
	Steps   int64    `json:"steps"`         // of those that were first measured in it
	Seconds float64  `json:"seconds"`       // of the run so far
	Islands []Spread `json:"islands"`
}

// course reads a run's generations, one at a time.
func (l *Ledger) course(run string, bred *pedigree) ([]Generation, error) {
	rows, err := l.db.Query(`SELECT number, evaluations, islands, coalesce(elapsed, 0) FROM generation g
		LEFT JOIN timing t ON t.run = g.run AND t.generation = g.number WHERE g.run = ? ORDER BY number`, run)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	all := []Generation{}
	for rows.Next() {
		var g Generation
		var islands string
		var elapsed int64
		if err := rows.Scan(&g.Number, &g.Evaluations, &islands, &elapsed); err != nil {
			return nil, l.fault(err)
		}
		g.Steps, g.Seconds = bred.steps[g.Number], time.Duration(elapsed).Seconds()
		var cohorts [][]member
		if err := json.Unmarshal([]byte(islands), &cohorts); err != nil {
			return nil, l.damage("run %s, generation %d: %w", run, g.Number, err)
		}
		if err := g.summarise(cohorts, bred); err != nil {
			return nil, l.damage("run %s, generation %d: %w", run, g.Number, err)
		}
		all = append(all, g)
	}
	return all, l.fault(rows.Err())
}

func (g *Generation) summarise(cohorts [][]member, bred *pedigree) error {
	genomes, vectors := map[int]bool{}, map[uint64]bool{}
	var all []float64
	for _, cohort := range cohorts {
		var island []float64
		for _, m := range cohort {
			at, err := bred.find(m)
			if err != nil {
				return err
			}
			b := bred.all[at]
			genomes[at], vectors[b.vector] = true, true
			island = append(island, b.fitness)
		}
		g.Islands = append(g.Islands, spread(island))
		all = append(all, island...)
	}
	g.Spread, g.Genomes, g.Vectors = spread(all), len(genomes), len(vectors)
	return nil
}

func spread(fitness []float64) Spread {
	s := Spread{Members: len(fitness)}
	slices.Sort(fitness)
	scored, _ := slices.BinarySearch(fitness, population.WorstFitness)
	if s.Failed = len(fitness) - scored; scored > 0 {
		at := func(share float64) float64 { return fitness[min(scored-1, int(math.Floor(share*float64(scored))))] }
		s.Best, s.Quarter, s.Median, s.Three = fitness[0], at(0.25), at(0.5), at(0.75)
	}
	return s
}
