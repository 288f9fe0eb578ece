package experiments

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The page for authors of agents shows every key of a spec, and keys that are optional
// with their defaults.
func TestPageShowsEveryKey(t *testing.T) {
	specs := yamlOf(t, "../docs/agents.md")
	if len(specs) != 2 {
		t.Fatalf("%d specs", len(specs))
	}
	experiment, tournament := specs[0], specs[1]
	s, err := Load(specFile(t, experiment), "")
	if err != nil {
		t.Fatal(err)
	}
	d := defaults()
	d.Search.Generations, d.Search.Budget, d.Search.Evaluations = s.Search.Generations, s.Search.Budget, s.Search.Evaluations // what ends a search has none
	d.Search.Steps, d.Search.Stagnation, d.Search.Target = s.Search.Steps, s.Search.Stagnation, s.Search.Target
	d.Search.Archive, d.Search.Cascade = s.Search.Archive, s.Search.Cascade
	for name, pair := range map[string][2]any{
		"search": {s.Search, d.Search}, "limits": {s.Limits, d.Limits}, "promotion": {[3]float64{s.Alpha, s.Effect, s.Power}, [3]float64{d.Alpha, d.Effect, d.Power}},
		"max-depth, max-size": {[2]int{s.Grammar.MaxDepth, s.Grammar.MaxSize}, [2]int{d.Grammar.MaxDepth, d.Grammar.MaxSize}},
		"others":              {[]any{s.Runtime, s.Seed, s.Shadows, s.Matrix.Seeds}, []any{d.Runtime, d.Seed, d.Shadows, d.Matrix.Seeds}},
		"items":               {s.Evolve.Definitions[1].Items, &Items{High: 1, Of: 1, Min: 1, Max: 40}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: the page says %+v, the defaults are %+v", name, pair[0], pair[1])
		}
	}
	sparse := regexp.MustCompile(`(?m)^ +(timeout|parallel|retries|max-tokens|price-in|price-out):.*\n`).ReplaceAllString(experiment, "")
	bare, err := Load(specFile(t, sparse), "")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(bare.Proposers, s.Proposers) {
		t.Errorf("proposers with their defaults\n%+v\nand without\n%+v", s.Proposers, bare.Proposers)
	}
	everyKey(t, experiment, "", func(path string) error { _, err := Load(path, ""); return err })

	full, err := LoadTournament(specFile(t, tournament))
	if err != nil {
		t.Fatal(err)
	}
	short := regexp.MustCompile(`(?m)^( +(seeds|pairing|trust|opponents|archive|finalists|control|alpha|effect|power|cases):|(runtime|seed|shadows|rank|matches):).*\n`).ReplaceAllString(tournament, "")
	short = strings.Replace(short, "promotion:", "promotion: {}", 1)
	brief, err := LoadTournament(specFile(t, short))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := full.JSON()
	if b, _ := brief.JSON(); a != b {
		t.Errorf("the tournament with its defaults\n%s\nand without\n%s", a, b)
	}
	everyKey(t, tournament, experiment, func(path string) error { _, err := LoadTournament(path); return err })
}

// opens is a line that begins a mapping, or a list of them, on the next.
var opens = regexp.MustCompile(`(?m)^ *[\w-]+:(?: +#.*)?\n( +)(- )?\w`)

// everyKey puts a key that does not exist into each mapping of a spec in turn: the fault
// names all that do. Mappings of one kind, such as two definitions, show them together;
// one in braces may leave it to any other.
func everyKey(t *testing.T, spec, others string, load func(path string) error) {
	t.Helper()
	const wrong = "no-such-key-at-all: 1"
	known, shows := map[string]string{}, map[string]string{} // by kind
	ask := func(spec, shown string) {
		err := load(specFile(t, spec))
		var faults *SpecError
		if !errors.As(err, &faults) {
			return // a mapping in which any key may stand
		}
		for _, f := range faults.Faults {
			what, keys, found := strings.Cut(f.Msg, ` has no key "no-such-key-at-all"; use `)
			if found {
				kind, _, _ := strings.Cut(what, " ")
				known[kind], shows[kind] = keys, shows[kind]+shown
			}
		}
	}
	ask(wrong+"\n"+spec, ofIndent(spec, ""))
	for from := 0; ; {
		at := opens.FindStringSubmatchIndex(spec[from:])
		if at == nil {
			break
		}
		before, indent, rest := spec[:from+at[2]], spec[from+at[2]:from+at[3]], spec[from+at[3]:]
		from += at[2] // the line found may begin another
		if at[4] >= 0 {
			before, indent, rest = before+indent+"- "+wrong+"\n", indent+"  ", rest[len("- "):]
		} else {
			before += indent + wrong + "\n"
		}
		ask(before+indent+rest, ofIndent(indent+rest, indent))
	}
	for i := range spec {
		if spec[i] == '{' {
			ask(spec[:i+1]+wrong+", "+spec[i+1:], spec+others)
		}
	}
	if len(known) < 8 {
		t.Errorf("only %d kinds of mappings told their keys", len(known))
	}
	for kind, keys := range known {
		for key := range strings.SplitSeq(keys, ", ") {
			if !regexp.MustCompile(`(?m)(^|[ {])` + regexp.QuoteMeta(key) + `:`).MatchString(shows[kind]) {
				t.Errorf("%s: the page does not show %s", kind, key)
			}
		}
	}
}

// ofIndent are the lines that begin at an indent, up to the first that begins before it.
func ofIndent(text, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		rest, deep := strings.CutPrefix(line, indent)
		if !deep && strings.TrimSpace(line) != "" {
			break
		}
		if deep && !strings.HasPrefix(rest, " ") {
			b.WriteString(rest)
		}
	}
	return b.String()
}

// yamlOf are the blocks of YAML of a page.
func yamlOf(t *testing.T, page string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "```yaml\n")
	for _, part := range parts[1:] {
		text, _, _ := strings.Cut(part, "```\n")
		all = append(all, text)
	}
	return all
}

func specFile(t *testing.T, spec string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "spec.yaml")
	for name, text := range map[string]string{"spec.yaml": spec, "propose.awk": "", "system.tmpl": "Write.", "user.tmpl": "{{.Task}}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
