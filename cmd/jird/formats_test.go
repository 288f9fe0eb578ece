package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"jird/docs"
	"jird/experiments/ledger"
	"jird/orchestrator/journal"
	"jird/sandbox"
	"jird/sandbox/wire"
	"jird/snapshots/sexpr"
)

// shown is the first block of text under a heading of the page on formats.
func shown(t *testing.T, heading string) string {
	t.Helper()
	page, ok := docs.Page("formats")
	_, page, found := strings.Cut(page, "\n"+heading+"\n")
	_, page, begun := strings.Cut(page, "\n```text\n")
	block, _, ended := strings.Cut(page, "```\n")
	if !ok || !found || !begun || !ended {
		t.Fatalf("the page has no block under %q", heading)
	}
	return block
}

// forms are the lists of a block by their first item, but for answers.
func forms(t *testing.T, block string) map[string]int {
	t.Helper()
	data, err := sexpr.ReadAll([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	sizes, before := map[string]int{}, sexpr.Symbol("")
	for _, d := range data {
		if list, ok := d.(sexpr.List); ok && before != "->" && before != "or" {
			sizes[fmt.Sprint(list[0])] = len(list)
		}
		before, _ = d.(sexpr.Symbol)
	}
	return sizes
}

// source are the words that a pattern finds in a file of this repository, sorted.
func source(t *testing.T, text []byte, pattern string) (words []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		words = append(words, string(m[1]))
	}
	slices.Sort(words)
	if words = slices.Compact(words); len(words) < 5 {
		t.Fatalf("%s finds %v only", pattern, words)
	}
	return words
}

func keys(sizes map[string]int) (all []string) {
	for name := range sizes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// The page on formats names every kind of record, with as many fields as it has.
func TestFormatsOfRecords(t *testing.T) {
	page := forms(t, shown(t, "### Records"))
	code, err := os.ReadFile("../../orchestrator/journal/record.go")
	if err != nil {
		t.Fatal(err)
	}
	if kinds := source(t, code, `record\("([a-z]+)"`); !slices.Equal(kinds, keys(page)) {
		t.Errorf("the page has records %v, the code %v", keys(page), kinds)
	}
	for _, r := range []journal.Record{
		&journal.Call{Reply: journal.Reply{Status: journal.Raised}}, &journal.Begin{}, &journal.Step{}, &journal.Accept{}, &journal.Done{},
		&journal.Reject{}, &journal.Start{}, &journal.Restart{}, &journal.Verdict{}, &journal.Loss{},
	} {
		b, err := journal.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		for kind, size := range forms(t, string(b)) {
			if page[kind] != size {
				t.Errorf("the page gives %s %d items, the code %d", kind, page[kind], size)
			}
		}
	}
}

// It names the ledger's version, and every table with its columns and their types.
func TestFormatsOfTheLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	page, _ := docs.Page("formats")
	for _, want := range []string{fmt.Sprintf("`user_version` is %d;", version), fmt.Sprintf("`user_version`, %d |", version), fmt.Sprintf("| wire | %d,", wire.Version)} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	rows, err := db.Query("SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var code []string
	for rows.Next() {
		var table, column, kind string
		if err := rows.Scan(&table, &column, &kind); err != nil {
			t.Fatal(err)
		}
		code = append(code, fmt.Sprintln(table, column, kind))
	}
	if err := rows.Err(); err != nil || len(code) < 50 {
		t.Fatalf("%d columns, %v", len(code), err)
	}
	var told []string
	table := ""
	for line := range strings.Lines(shown(t, "## The ledger")) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, " ") {
			table = words[0]
			continue
		}
		told = append(told, fmt.Sprintln(table, words[0], words[1]))
	}
	slices.SortStableFunc(told, func(a, b string) int { return strings.Compare(strings.Fields(a)[0], strings.Fields(b)[0]) })
	if !slices.Equal(told, code) {
		t.Errorf("the page says\n%s\nthe ledger has\n%s", strings.Join(told, ""), strings.Join(code, ""))
	}
}

// It names every request that a process answers.
func TestFormatsOfRequests(t *testing.T) {
	_, answers, _ := strings.Cut(string(sandbox.Prelude()), "(define (jird-answer request)")
	answers, _, _ = strings.Cut(answers, "(define ")
	if requests := source(t, []byte(answers), `\(\(([a-z]+)\)`); !slices.Equal(requests, keys(forms(t, shown(t, "### Requests")))) {
		t.Errorf("a process answers %v", requests)
	}
}
