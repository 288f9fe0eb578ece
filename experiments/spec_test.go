package experiments

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jird/sandbox"
	"jird/snapshots/sexpr"
)

const example = "examples/packer/experiment.yaml"

func TestExampleLoads(t *testing.T) {
	for _, variant := range []string{"", "or", "weibull"} {
		s, err := Load(example, variant)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if s.Variant == "" || p.Stops.Budget != 90*time.Second || p.Search.Islands != 4 || p.Train.Count == 0 || p.Effect != 0.05 || p.Power != 0.8 {
			t.Errorf("variant %q: %+v", variant, s)
		}
		text, hash := s.JSON()
		back, err := FromJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, same := back.JSON(); again != text || same != hash {
			t.Errorf("the recorded spec comes back otherwise:\n%s\n%s", text, again)
		}
	}
	if old, err := FromJSON(`{"alpha": 0.02}`); err != nil || old.Alpha != 0.02 || old.Effect != 0.05 || old.Power != 0.8 {
		t.Errorf("a spec from before effect and power: %+v, %v", old, err)
	}
	if _, err := Load(example, "weibul"); err == nil || !strings.Contains(err.Error(), `did you mean "weibull"?`) {
		t.Error(err)
	}
}

// A spec with fifty errors gets fifty messages, each with its line.
func TestFiftyErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: x\nagent: a\nevolve: {file: p.scm, definitions: {f: {args: {x: real}}}}\n")
	b.WriteString("grammar: {leaves: [x]}\ncases: {train: {count: 1, recipe: {a: 1}}, holdout: {count: 1, recipe: {a: 1}}}\n")
	b.WriteString("search:\n  generations: 1\n")
	const head = 7
	for i := range 50 {
		fmt.Fprintf(&b, "  wrong-%02d: 1\n", i)
	}
	path := filepath.Join(t.TempDir(), "e.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, "")
	var spec *SpecError
	if !errors.As(err, &spec) || len(spec.Faults) != 50 {
		t.Fatalf("%v", err)
	}
	for i, f := range spec.Faults {
		if f.Line != head+1+i || f.File != path || f.Column != 3 {
			t.Errorf("fault %d is at %s", i, f)
		}
	}
}

func TestFaultsNameTheCure(t *testing.T) {
	base, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"islands: 4", "islands: 0", "islands must be a whole number from 1 to 1000, not 0"},
		{"islands: 4", "islands: 4\n  islands: 5", ":27:3: islands stands twice"},
		{"budget: 90s", "budget: soon", "duration such as 90s"},
		{"budget: 90s", "stagnation: 0", "nothing would end the search"},
		{"heap: 64MiB", "heap: 64", "size such as 64MiB"},
		{"heap: 64MiB", "heap: none", "heap must be a size such as 64MiB, not none"},
		{"heap: 64MiB", "workspace: some", "workspace must be a size such as 64MiB, or none, not some"},
		{"kind: tournament", "kind: lottery", "one of tournament, lexicase, epsilon-lexicase"},
		{"functions: [+, ", "functions: [expt, ", "expt"},
		{"(- remaining item)", "(- remaining items)", "leaf (- remaining items)"},
		{"high: 10,", "high: 5000,", "high must be a number from -1000 to 1000"},
		{"effect: 0.05", "effect: 5", "effect must be a number from 0.001 to 1"},
		{"power: 0.8", "power: 1", "power must be a number from 0.5 to 0.999"},
		{"power: 0.8", "powers: 0.8", `did you mean "power"?`},
		{"elites: 2", "elites: 200", ":32:3: elites 200"},
		{"seed: 1", "seed: &s 1", ":9:7: seed must be a whole number from 0 to 9223372036854775807, not &s 1 (anchors, aliases and tags are not read"},
		{"seed: 1", "seed:", "not nothing"},
		{"name: packer", "name: |\n  packer\n  two", "name must be a text, not | ..."},
		{"variants:", "---\nvariants:", "a second document begins here"},
		{"search:", "search:\n\tstagnation: 1", "e.yaml:26:"},
		{"  weibull:\n", "  weibull: 5\n  other:\n", "variant weibull must be a mapping"},
		{"name: packer", "name: [a]", "name must be a text"},
		{"agent: agent", "agents: agent", `did you mean "agent"?`},
		{"name: packer", "name: pa/cker", "letters, digits"},
		{"search:", "search: [", "not YAML"},
		{"search:", "search: " + strings.Repeat("[", 200), "nested deeper than 100"},
		{"search:", "search:" + strings.Repeat(" ", 1<<20), "is over 1048576 bytes"},
	} {
		text := strings.Replace(string(base), c.old, c.new, 1)
		if text == string(base) {
			t.Fatalf("the example does not contain %q", c.old)
		}
		path := filepath.Join(t.TempDir(), "e.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", c.new, err, c.want)
		}
	}
}

func TestReadCases(t *testing.T) {
	read := func(text string) ([]sandbox.Case, error) {
		path := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return ReadCases(path)
	}
	cases, err := read(`{"b": {"capacity": 150, "items": [20, 3.5]}, "a": {"x": true}}`)
	if err != nil || len(cases) != 2 || cases[0].Name != "b" {
		t.Fatal(cases, err)
	}
	if text, _ := sexpr.Canonical(cases[0].Data); string(text) != "((capacity . 150) (items . #(20 3.5)))" {
		t.Errorf("%s", text)
	}
	for text, want := range map[string]string{
		`[]`: "an object of cases", `{}`: "no case", `{"a": {}, "a": {}}`: "twice", `{"a": null}`: "null", `{"a": {}} x`: "follows",
		"{\n\"a\":\n ": "c.json:2:5: case \"a\": unexpected EOF", `{"a": 5}`: "not an object", `{"a": [1]}`: "not an object", `{"": {}}`: "empty",
		`{"a": {"b": 1, "b": 2}}`: `"b" stands twice`, `{"a": {"b": {"": 2}}}`: "empty", "": "an object of cases", "\x00\xff": "an object of cases",
		`{"a": {"b": 1e400}}`: "1e400", `{"a": {"x": ` + strings.Repeat("[", 1e6): "nested deeper",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
