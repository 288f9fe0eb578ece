package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"jird/experiments"
	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/orchestrator/propose"
	"jird/snapshots/sexpr"
)

func outputFlags() []cli.Flag {
	return []cli.Flag{outFlag(), &cli.StringFlag{Name: "output", Value: "table", Usage: "table or json", Action: func(_ *cli.Context, v string) error {
		if v != "table" && v != "json" {
			return usageError{fmt.Sprintf("--output must be table or json, not %q", v)}
		}
		return nil
	}}}
}

// outFlag is checked before a run begins: its result should not be lost at the
// end.
func outFlag() cli.Flag {
	return &cli.StringFlag{Name: "out", Usage: "write the result to a `FILE`, whole or not at all", Action: func(_ *cli.Context, path string) error {
		f, err := beside(path)
		if err != nil {
			return usageError{fmt.Sprintf("--out %s: %v", path, err)}
		}
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}}
}

func beside(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is there and is not a plain file")
	}
	return os.CreateTemp(filepath.Dir(path), ".jird-*")
}

// deliver writes a result to stdout, or to the file of --out.
func deliver(c *cli.Context, write func(io.Writer) error) error {
	path := c.String("out")
	if path == "" {
		return write(os.Stdout)
	}
	f, err := beside(path)
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

type table struct {
	header []string
	rows   [][]string
}

// emit prints a result as JSON, or as tables and the lines that follow them.
func emit(c *cli.Context, v any, tables []table, lines ...string) error {
	return emitUnder(c, v, "", tables, lines...)
}

// emitUnder is emit with a text above the tables.
func emitUnder(c *cli.Context, v any, above string, tables []table, lines ...string) error {
	var b bytes.Buffer
	if c.String("output") == "json" {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		width := 0
		if c.String("out") == "" {
			width = columns(os.Stdout)
		}
		if above != "" {
			fmt.Fprintln(&b, above)
		}
		for _, t := range tables {
			if err := t.print(&b, width); err != nil {
				return err
			}
		}
		for _, line := range lines {
			fmt.Fprintln(&b, line)
		}
	}
	text := b.String()
	if c.String("output") != "json" { // which escapes them by itself
		text = visible(text)
	}
	return deliver(c, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// visible writes control characters as a string has them, \xHH;, but for tabs and ends of
// lines: agents and archives give texts and names of files, and a terminal would obey.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, `\x%x;`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// columns is a terminal's width; 0 for anything else, which gets whole lines.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// leastLast is the width below which a column of expressions cannot be read.
const leastLast = 24

// print draws a table. Where it is wider than the terminal the last column, of
// expressions and reasons, is broken between words, or follows the table.
func (t table) print(w io.Writer, width int) error {
	last := len(t.header) - 1
	left := width - t.taken()
	if width == 0 || last == 0 {
		return draw(w, t.header, t.rows)
	}
	if left >= leastLast {
		for _, row := range t.rows {
			row[last] = wrap(row[last], left)
		}
		return draw(w, t.header, t.rows)
	}
	narrow := t.without(last)
	if err := draw(w, narrow.header, narrow.rows); err != nil {
		return err
	}
	for _, row := range t.rows {
		if _, err := fmt.Fprintln(w, wrap(row[t.key()]+": "+row[last], width)); err != nil {
			return err
		}
	}
	return nil
}

// without is the table less one column.
func (t table) without(column int) table {
	less := table{header: slices.Delete(slices.Clone(t.header), column, column+1)}
	for _, row := range t.rows {
		less.rows = append(less.rows, slices.Delete(slices.Clone(row), column, column+1))
	}
	return less
}

// key is the column that a row is known by: the first in which no two are alike.
func (t table) key() int {
	for i := range t.header {
		seen := map[string]bool{}
		for _, row := range t.rows {
			seen[row[i]] = true
		}
		if len(seen) == len(t.rows) {
			return i
		}
	}
	return 0
}

// taken is the width of all but the last column's text.
func (t table) taken() int {
	taken := 4 // the borders and padding of the last column
	for i, name := range t.header[:len(t.header)-1] {
		widest := utf8.RuneCountInString(name)
		for _, row := range t.rows {
			widest = max(widest, utf8.RuneCountInString(row[i]))
		}
		taken += widest + 3
	}
	return taken
}

func draw(w io.Writer, header []string, rows [][]string) error {
	tw := tablewriter.NewWriter(w)
	tw.Header(header)
	return errors.Join(tw.Bulk(rows), tw.Render())
}

// wrap breaks a text between words, and a word that is longer than a line
// anywhere.
func wrap(text string, width int) string {
	var lines []string
	line := []rune{}
	for word := range strings.FieldsSeq(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > width {
			lines, line = append(lines, string(line)), nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = append(line, w...)
		for len(line) > width {
			lines, line = append(lines, string(line[:width])), line[width:]
		}
	}
	return strings.Join(append(lines, string(line)), "\n")
}

// score is in the referee's unit: nothing is known of it.
func score(f float64) string { return fmt.Sprintf("%.4g", f) }

func sides(incumbent, winner ledger.Policy) table {
	return table{[]string{"", "train", "holdout", "policy"}, [][]string{
		{"incumbent", score(incumbent.Train), score(incumbent.Holdout), sexpr.Layout(incumbent.Expr)},
		{"winner", score(winner.Train), score(winner.Holdout), sexpr.Layout(winner.Expr)},
	}}
}

func printResult(c *cli.Context, r *orchestrator.Result) error {
	if c.String("output") != "json" && r.Interrupted {
		say("%s", r.Reason)
		return nil
	}
	verdict := "kept the incumbent: "
	if r.Promoted {
		verdict = "promoted: "
	}
	scored := "scored by workers"
	if r.ShadowsPeak > 0 {
		scored = fmt.Sprintf("%d shadows scored at once", r.ShadowsPeak)
	}
	return emit(c, r, append([]table{sides(ledger.Policy(r.Incumbent), ledger.Policy(r.Winner))}, proposers(r.Proposers)...),
		r.Run+": "+verdict+r.Reason,
		fmt.Sprintf("%d evaluations, generation %d, stopped by %s; %s (%s, isolation %s, %s)",
			r.Evaluations, r.Generations, r.Stop, scored, r.Engine, r.Isolation, r.Runtime))
}

// proposers is what each was asked for and used, if there are any.
func proposers(all []propose.Usage) []table {
	if len(all) == 0 {
		return nil
	}
	t := table{header: []string{"proposer", "asked", "accepted", "refused", "failed", "no room", "calls", "replayed", "tokens", "cost"}}
	for _, u := range all {
		t.rows = append(t.rows, []string{
			u.Proposer, fmt.Sprint(u.Asked), fmt.Sprint(u.Accepted), fmt.Sprint(u.AllRefused()), fmt.Sprint(u.Failed), fmt.Sprint(u.NoRoom),
			fmt.Sprint(u.Calls), fmt.Sprint(u.Replayed), fmt.Sprint(u.TokensIn + u.TokensOut), fmt.Sprintf("%.4f", u.Money()),
		})
	}
	return []table{t}
}

func printEvaluation(c *cli.Context, e *experiments.Evaluation) error {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(e.Scores)) {
		rows = append(rows, []string{score(e.Scores[name]), name})
	}
	rows = append(rows, []string{score(e.Mean), "(all together)"})
	return emit(c, e, []table{{[]string{"score", "case"}, rows}}, e.Genome)
}
