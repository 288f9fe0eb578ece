package ledger

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"jird/population"
)

// ExportCSV writes what a spreadsheet is asked about: of a run its genomes with the mean
// of their scores, which is empty for what failed; of a tournament its matches. For all
// that is known see Export.
func (l *Ledger) ExportCSV(w io.Writer, run string) error {
	kind, err := l.kind(run)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if kind == "tournament" {
		err = l.matchesCSV(out, run)
	} else {
		err = l.genomesCSV(out, run)
	}
	if err != nil {
		return fmt.Errorf("exporting %s %s: %w", kind, run, err)
	}
	out.Flush()
	return out.Error()
}

func (l *Ledger) genomesCSV(out *csv.Writer, run string) error {
	if err := out.Write(strings.Split("run,sequence,generation,hash,operator,parents,status,steps,score,source", ",")); err != nil {
		return err
	}
	rows, err := l.db.Query("SELECT sequence, generation, hash, operator, parents, status, steps, scores, source FROM genome WHERE run = ? ORDER BY sequence", run)
	if err != nil {
		return l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var sequence, generation, hash, operator, parents, steps, scores, source string
		var o population.Outcome
		if err := rows.Scan(&sequence, &generation, &hash, &operator, &parents, &o.Status, &steps, &scores, &source); err != nil {
			return l.fault(err)
		}
		var from []string
		var all [][2]float64
		if json.Unmarshal([]byte(parents), &from) != nil || json.Unmarshal([]byte(scores), &all) != nil {
			return l.damage("genome %s of run %s", hash, run)
		}
		score := ""
		if o.Scores = population.FromPairs(all); o.Status == population.OK {
			score = strconv.FormatFloat(o.Fitness(), 'g', -1, 64)
		}
		if err := out.Write([]string{run, sequence, generation, hash, operator, strings.Join(from, " "), string(o.Status), steps, score, source}); err != nil {
			return err
		}
	}
	return l.fault(rows.Err())
}

func (l *Ledger) matchesCSV(out *csv.Writer, tournament string) error {
	header := strings.Split("tournament,number,round,blue,red,seed,verdict,blue_points,red_points,blue_steps,red_steps,detail", ",")
	if err := out.Write(header); err != nil {
		return err
	}
	rows, err := l.db.Query(`SELECT match.tournament, match.number, round, blue.name, red.name, seed, verdict, blue_points, red_points, blue_steps, red_steps, detail FROM match
		JOIN entrant blue ON blue.tournament = match.tournament AND blue.number = match.blue
		JOIN entrant red ON red.tournament = match.tournament AND red.number = match.red WHERE match.tournament = ? ORDER BY match.number`, tournament)
	if err != nil {
		return l.fault(err)
	}
	defer rows.Close()
	record := make([]string, len(header))
	to := make([]any, len(record))
	for i := range record {
		to[i] = &record[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return l.fault(err)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	return l.fault(rows.Err())
}
