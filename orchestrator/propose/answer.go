package propose

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"jird/population"
)

// Answer is what a proposer says: a Definition, or Edits of the parent's source.
type Answer struct {
	Definition string `json:"definition,omitempty"` // whole definitions; what it does not define anew is the parent's
	Edits      []Edit `json:"edits,omitempty"`      // applied one after the other
	Note       string `json:"note,omitempty"`       // for people, who are shown its first 1,000 bytes
}

// Edit replaces the one place where Search stands in the source.
type Edit struct {
	Search  string `json:"search"`
	Replace string `json:"replace"`
}

// Bounds on an answer.
const (
	maxAnswer = 1 << 20 // bytes of it, and of what its edits make
	maxEdits  = 100
	maxNote   = 1000
)

var errNoAnswer = errors.New(`there is no proposal in it: answer with one JSON object, {"definition": "(define ...)"} or {"edits": [{"search": "...", "replace": "..."}]}, or with the whole definitions in Scheme`)

var thinking = regexp.MustCompile(`(?s)^\s*<think>.*?</think>`)

// ReadAnswer finds the proposal in what a proposer wrote. What a model thought aloud first,
// between <think> and </think>, is passed over. Then it is the whole text, if it begins with
// { or as Scheme does, with ( ' or ;, or else the first fenced block without a language or
// of json, scheme, lisp or scm. What begins with { is an Answer in JSON, with one of
// definition and edits and whatever other fields; anything else is Scheme. The error is for
// the proposer.
func ReadAnswer(text []byte) (Answer, error) {
	if len(text) > maxAnswer {
		return Answer{}, fmt.Errorf("the answer has %d bytes, at most %d are read", len(text), maxAnswer)
	}
	said := strings.TrimSpace(thinking.ReplaceAllString(string(text), ""))
	if said == "" {
		return Answer{}, errors.New("the answer is empty (it may have been cut before it began)")
	}
	if !strings.Contains("{(';", said[:1]) {
		block, ok := fenced(said)
		if !ok {
			return Answer{}, errNoAnswer
		}
		said = strings.TrimSpace(block)
	}
	if !strings.HasPrefix(said, "{") {
		return checked(Answer{Definition: said})
	}
	var a Answer
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return Answer{}, fmt.Errorf("the answer is no JSON object as it was asked for: %s", line(err.Error()))
	}
	return checked(a)
}

// fenced is the first fenced block that may hold a proposal.
func fenced(text string) (block string, ok bool) {
	open, wanted := false, false
	for l := range strings.Lines(text) {
		language, fence := strings.CutPrefix(strings.TrimSpace(l), "```")
		switch {
		case open && fence && language == "":
			if wanted {
				return block, true
			}
			open = false
		case open:
			block += l
		case fence:
			open, block = true, ""
			wanted = slices.Contains([]string{"", "json", "scheme", "lisp", "scm"}, strings.TrimSpace(language))
		}
	}
	return "", false
}

func checked(a Answer) (Answer, error) {
	a.Note = Visible(a.Note, maxNote)
	a.Definition = strings.TrimSpace(a.Definition)
	given := a.Definition != ""
	switch {
	case !given && len(a.Edits) == 0:
		return Answer{}, errNoAnswer
	case given && len(a.Edits) > 0:
		return Answer{}, errors.New("the answer has both definition and edits: give one of them")
	case len(a.Edits) > maxEdits:
		return Answer{}, fmt.Errorf("the answer has %d edits: give at most %d, or the whole definition", len(a.Edits), maxEdits)
	}
	return a, nil
}

// genome is what the answer makes of a parent, whose source the request had as it is shown.
// Where the answer does not fit, the refusal says so.
func (a Answer) genome(parent *population.Genome, shown string) (*population.Genome, *refusal) {
	if a.Definition != "" {
		g, err := parent.Amend([]byte(a.Definition))
		if err != nil {
			return nil, refuse(Invalid, "%v", err)
		}
		return g, nil
	}
	for i, e := range a.Edits {
		switch n := strings.Count(shown, e.Search); {
		case e.Search == "":
			return nil, refuse(Misplaced, "edit %d has no search text", i+1)
		case n != 1:
			return nil, refuse(Misplaced, "edit %d: its search text occurs %d times in the source, it must occur exactly once", i+1, n)
		}
		shown = strings.Replace(shown, e.Search, e.Replace, 1)
		if len(shown) > maxAnswer {
			return nil, refuse(Misplaced, "edit %d makes the source longer than %d bytes", i+1, maxAnswer)
		}
	}
	g, err := parent.Grammar().Parse([]byte(shown))
	if err != nil {
		return nil, refuse(Invalid, "%v", err)
	}
	return g, nil
}
