package propose

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"jird/population"
)

func TestReadAnswer(t *testing.T) {
	edit := Answer{Edits: []Edit{{"a", "b"}}}
	for text, want := range map[string]Answer{
		`{"definition": " (f) ", "note": "n", "more": 1}`:                                      {Definition: "(f)", Note: "n"},
		`{"edits": [{"search": "a", "replace": "b"}]}`:                                         edit,
		"\n (define (f) 1) ; so\n":                                                             {Definition: "(define (f) 1) ; so"},
		"So:\n```json\n{\"edits\": [{\"search\": \"a\", \"replace\": \"b\"}]}\n```\nGood luck": edit,
		"So:\n  ```scheme\r\n(f)\r\n  ```\r\n":                                                 {Definition: "(f)"},
		"; a policy\n(f)":                                                                      {Definition: "; a policy\n(f)"},
		"'(1 2)":                                                                               {Definition: "'(1 2)"},
		"```\n; a policy\n(f)\n```":                                                            {Definition: "; a policy\n(f)"},
		"```python\nprint()\n```\n```lisp\n(f)\n```":                                           {Definition: "(f)"},
		"```scm\n(f)\n```\n```scm\n(g)\n```":                                                   {Definition: "(f)"},
		"<think>\n```scheme\n(wrong)\n```\n</think>\n\n(f)":                                    {Definition: "(f)"},
		"{\"definition\": \"(f)\", \"note\": \"\\u001b[2J\"}":                                  {Definition: "(f)", Note: `\x1b;[2J`},
	} {
		if got, err := ReadAnswer([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                     "empty",
		"<think>hm</think>":    "empty",
		"<think>hm (f)":        "no proposal in it",
		"Use (f).":             "no proposal in it",
		"```\n```":             "no proposal in it",
		"{}":                   "no proposal in it",
		`{"defintion": "(f)"}`: "no proposal in it",
		`{"definition": 1}`:    "no JSON object as it was asked for",
		`{"definition": "(f)"`: "no JSON object as it was asked for",
		`{"definition": "(f)", "edits": [{"search": "a", "replace": "b"}]}`:              "both",
		`{"edits": [` + strings.Repeat(`{"search": "a", "replace": "b"},`, 100) + `{}]}`: "101 edits",
		"(" + strings.Repeat("x", maxAnswer):                                             "1048577 bytes",
	} {
		if got, err := ReadAnswer([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q is read as %+v, %v; want %q", text, got, err, want)
		}
	}
}

func TestEdits(t *testing.T) {
	const source = "(define (f x) (+ x 1.))"
	parent := parse(t, &population.Grammar{Open: true, Definitions: []population.Definition{{Name: "f"}}}, source)
	for _, c := range []struct{ search, replace, want string }{
		{"(+ x 1.)", "(* x 2.)", "(define (f x) (* x 2.))"},
		{"+ ", "$1 0 ", "(define (f x) ($1 0 x 1.))"}, // nothing is special
		{"x", "y", "! edit 1: its search text occurs 2 times"},
		{"y", "x", "! edit 1: its search text occurs 0 times"},
		{"", "x", "! edit 1 has no search text"},
		{"+ ", strings.Repeat(" ", maxAnswer), "! edit 1 makes the source longer"},
	} {
		var got string
		g, why := Answer{Edits: []Edit{{c.search, c.replace}}}.genome(parent, source)
		if why != nil {
			got = "! " + why.reason
		} else {
			got = g.Source()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%.20q by %.20q makes %.80s", c.search, c.replace, got)
		}
	}
}

// Whatever is answered, it is read or refused, within bounds, and judged without a panic.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		"", "{", "(", "```", "```scheme\n(+ item 1)\n```", `{"definition": "(define (priority item remaining) (- item 1))", "note": "\u202e"}`,
		`{"edits": [{"search": "item remaining))", "replace": "(* 2 item) remaining))"}]}`, "<think></think>(max item #t)", "(define)", "(define (f . g) . h)", "(quote)",
		"(define (priority item remaining) 'x)", "((define))", "{\"definition\": \"\xff\"}", "(let ((x)) (let x))", "(do)", "(define (a) (define b))", "'()", "#(a b) \"c\"",
	} {
		f.Add(text)
	}
	g := policies()
	parent := parse(f, g, "(- item remaining)")
	f.Fuzz(func(t *testing.T, text string) {
		a := &asked{
			parent:   parent,
			request:  Request{Parent: Parent{Source: parent.Source(), Hash: parent.Hash()}, Language: Task{Grammar: g}.language(parent)},
			source:   &opened{usage: Usage{Refused: map[string]int{}}},
			exchange: &Exchange{Answer: []byte(text)},
		}
		p := &Proposers{task: Task{Grammar: g}}
		j := p.judge(round(t, "", 1))
		why := j.take(a)
		switch {
		case why != nil && j.genomes[0] != nil, why == nil && j.genomes[0] == nil:
			t.Errorf("%q: refused %v, made %v", text, why, j.genomes)
		case why != nil && (why.reason == "" || Visible(why.reason, maxNote+10) != why.reason || !utf8.ValidString(why.reason)):
			t.Errorf("%q: the reason is %q", text, why.reason)
		case why == nil && (j.genomes[0].Hash() == parent.Hash() || j.take(a) == nil):
			t.Errorf("%q was taken twice", text)
		}
		if answer, err := ReadAnswer([]byte(text)); err == nil {
			if (answer.Definition == "") == (len(answer.Edits) == 0) || len(answer.Note) > maxNote+20 {
				t.Errorf("%q is read as %+v", text, answer)
			}
		}
		sketch(text) // of any text: open genomes have all of Scheme
	})
}
