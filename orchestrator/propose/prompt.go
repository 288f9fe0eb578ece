package propose

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// The prompts that are used where the user gives none: Go templates of a Request.
var (
	//go:embed prompts/system.tmpl
	systemPrompt string
	//go:embed prompts/user.tmpl
	userPrompt string
)

// functions are what a template may call beside text/template's own.
var functions = template.FuncMap{"number": number, "worst": worst}

// number writes a fitness.
func number(f *float64) string {
	if f == nil {
		return "none (it failed)"
	}
	return fmt.Sprintf("%.6g", *f)
}

// worst are the n highest scores, the highest first.
func worst(n int, scores []Score) []Score {
	sorted := slices.Clone(scores)
	slices.SortStableFunc(sorted, func(a, b Score) int { return cmp.Compare(b.Score, a.Score) })
	return sorted[:min(max(n, 0), len(sorted))]
}

// readPrompt parses a template and sees that it can be filled in.
func readPrompt(name, text string) (*template.Template, error) {
	t, err := template.New(name).Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	for _, r := range []Request{{Language: Language{Definitions: []Definition{{}}}}, full()} {
		if _, err := fill(t, r); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// full is a request that has everything.
func full() Request {
	f := 1.0
	return Request{
		Version: Version, Task: "task", Better: "lower", File: "file",
		Language:     Language{About: "about", Definitions: []Definition{{Name: "f", Args: []Arg{{"x", "real"}}, Returns: "list", Items: &Items{}}}, Functions: []string{"+"}, Constants: []Range{{}}, MaxSize: 1, MaxDepth: 1, Names: []string{"g"}},
		Parent:       Parent{Source: "(define (f x) x)", Fitness: &f, Status: "ok", Scores: []Score{{"case", 1}}, Failures: "failures"},
		Inspirations: []Example{{"(define (f x) x)", &f}},
		Refused:      &Refused{"answer", "reason"},
	}
}

func fill(t *template.Template, r Request) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, r)
	return b.String(), err
}
