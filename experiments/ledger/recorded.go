package ledger

import (
	"fmt"

	"jird/population"
)

// Recorded is what a run measured of one genome.
type Recorded struct {
	Hash, Source string
	// Outcomes are by purpose: "train" of the search, "validate" of the choice of the
	// nominee, "simplify" of what it was shortened to, on the validation cases too.
	Outcomes map[string]population.Outcome
	// Among says of how many genomes that were measured at once it was one, by purpose.
	Among map[string]int
}

// Recorded returns what a run measured of the genome whose hash begins with prefix. It is
// an error if there is none, or if the prefix fits several.
func (l *Ledger) Recorded(run, prefix string) (*Recorded, error) {
	if err := l.want(run); err != nil {
		return nil, err
	}
	rows, err := l.db.Query(`SELECT 'train', (SELECT count(*) FROM genome o WHERE o.run = g.run AND o.generation = g.generation), hash, source, status, detail, steps, scores
			FROM genome g WHERE run = ?1 AND substr(hash, 1, length(?2)) = ?2
		UNION ALL SELECT purpose, iif(purpose = 'validate', (SELECT count(*) FROM measurement o WHERE o.run = m.run AND o.purpose = m.purpose), 1), hash, source, status, detail, steps, scores
			FROM measurement m WHERE run = ?1 AND substr(hash, 1, length(?2)) = ?2`, run, prefix)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	r := &Recorded{Outcomes: map[string]population.Outcome{}, Among: map[string]int{}}
	for rows.Next() {
		var purpose, hash, scores string
		var o population.Outcome
		var among int
		if err := rows.Scan(&purpose, &among, &hash, &r.Source, &o.Status, &o.Detail, &o.Steps, &scores); err != nil {
			return nil, l.fault(err)
		}
		if r.Hash != "" && r.Hash != hash {
			return nil, fmt.Errorf("several genomes of run %s begin with %s; give more digits", run, prefix)
		}
		r.Hash = hash
		if o.Scores, err = readScores(scores); err != nil {
			return nil, l.damage("genome %s of run %s: %w", hash, run, err)
		}
		r.Outcomes[purpose], r.Among[purpose] = o, among
	}
	if err := rows.Err(); err != nil {
		return nil, l.fault(err)
	}
	if r.Hash == "" {
		return nil, fmt.Errorf("%w %s in run %s; `jird ledger export %s --output csv` lists its genomes", ErrNoGenome, prefix, run, run)
	}
	return r, nil
}
