package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"jird/experiments/ledger"
)

// CSV writes a row for each generation, with columns for each island.
func (r *Run) CSV(w io.Writer) error {
	islands := 0
	for _, g := range r.Generations {
		islands = max(islands, len(g.Islands))
	}
	head := append([]string{"generation", "evaluations", "genomes", "score_vectors", "steps", "seconds"}, spreadHead("")...)
	for i := range islands {
		head = append(head, spreadHead(fmt.Sprintf("island%d_", i+1))...)
	}
	out := csv.NewWriter(w)
	_ = out.Write(head) // Flush keeps the first error
	for _, g := range r.Generations {
		row := append([]string{strconv.Itoa(g.Number), strconv.Itoa(g.Evaluations), strconv.Itoa(g.Genomes), strconv.Itoa(g.Vectors),
			strconv.FormatInt(g.Steps, 10), exact(g.Seconds)}, spreadCells(g.Spread)...)
		for i := range islands {
			var s ledger.Spread
			if i < len(g.Islands) {
				s = g.Islands[i]
			}
			row = append(row, spreadCells(s)...)
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

func spreadHead(prefix string) (names []string) {
	for _, name := range []string{"best", "quarter", "median", "three_quarters", "members", "failed"} {
		names = append(names, prefix+name)
	}
	return names
}

// spreadCells are empty where nobody has a score: 0 would be a good one.
func spreadCells(s ledger.Spread) []string {
	cells := []string{"", "", "", ""}
	if s.Scored() {
		cells = []string{exact(s.Best), exact(s.Quarter), exact(s.Median), exact(s.Three)}
	}
	return append(cells, strconv.Itoa(s.Members), strconv.Itoa(s.Failed))
}

// CSV writes a row for each standing.
func (t *Tournament) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"side", "rank", "rank_low", "rank_high", "entrant", "mean", "mean_low", "mean_high", "won", "drawn", "lost", "rating", "rating_low", "rating_high", "alpha", "policy"})
	for _, s := range t.Standings.Standings {
		alpha := ""
		if s.Alpha != nil {
			alpha = exact(*s.Alpha)
		}
		_ = out.Write([]string{plain(s.Side), exact(s.Rank), exact(s.Ranks[0]), exact(s.Ranks[1]), plain(s.Name), exact(s.Mean), exact(s.Means[0]), exact(s.Means[1]),
			strconv.Itoa(s.Wins), strconv.Itoa(s.Draws), strconv.Itoa(s.Losses), exact(s.Rating), exact(s.Rating - halfWidth(s.RD)), exact(s.Rating + halfWidth(s.RD)), alpha, plain(s.Expr)})
	}
	out.Flush()
	return out.Error()
}

func exact(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// halfWidth is that of a rating's interval of 95 %.
func halfWidth(rd float64) float64 { return 1.96 * rd }

// plain keeps a spreadsheet from taking text for a formula, by an apostrophe before it
// (owasp.org/www-community/attacks/CSV_Injection).
func plain(text string) string {
	if _, err := strconv.ParseFloat(text, 64); err != nil && text != "" && strings.Contains("=+-@\t\r", text[:1]) {
		return "'" + text
	}
	return text
}
