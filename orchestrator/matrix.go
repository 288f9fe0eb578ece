package orchestrator

// Matrix is who did what against whom. Of one side, rows and columns are the same
// entrants; of two, the rows are the first side's. Held-out entrants are left out.
type Matrix struct {
	Rows    []string `json:"rows"`
	Columns []string `json:"columns"`
	Cells   [][]Cell `json:"cells"`
}

// Cell is what a row's entrant did against a column's, in means; both are 0 without a
// match.
type Cell struct {
	Matches int     `json:"matches"`
	Mean    float64 `json:"mean"` // of what a match counts in the tournament's rank
	WinRate float64 `json:"winrate"`
}

func (c *Cell) add(worth, score float64) {
	c.Matches, c.Mean, c.WinRate = c.Matches+1, c.Mean+worth, c.WinRate+score
}

func (c *Cell) settle() {
	if c.Matches > 0 {
		c.Mean, c.WinRate = c.Mean/float64(c.Matches), c.WinRate/float64(c.Matches)
	}
}

// Matrix sums the matches of a tournament up, each side in the order of its entrants.
func (p TournamentPlan) Matrix(played []PlayedMatch) Matrix {
	rows := p.playing(0)
	columns := rows
	if len(p.Grammars) > 1 {
		columns = p.playing(1)
	}
	var m Matrix
	row, column := map[int]int{}, map[int]int{}
	for i, e := range rows {
		row[e] = i
		m.Rows, m.Cells = append(m.Rows, p.Entrants[e].Name), append(m.Cells, make([]Cell, len(columns)))
	}
	for i, e := range columns {
		column[e] = i
		m.Columns = append(m.Columns, p.Entrants[e].Name)
	}
	add := func(a, b int, worth, score float64) {
		i, inRows := row[a]
		k, inColumns := column[b]
		if inRows && inColumns {
			m.Cells[i][k].add(worth, score)
		}
	}
	for _, played := range played {
		blue, red := p.worth(played.Result)
		add(played.Blue, played.Red, blue, played.Result.Score())
		add(played.Red, played.Blue, red, 1-played.Result.Score())
	}
	for _, cells := range m.Cells {
		for k := range cells {
			cells[k].settle()
		}
	}
	return m
}
