package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"jird/population"
	"jird/sandbox"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// AgentError says what is wrong with an agent's folder.
type AgentError struct {
	File string
	Err  error
}

func (e *AgentError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }
func (e *AgentError) Unwrap() error { return e.Err }

// Agent is an image as a run sees it: the incumbent policy apart from the rest.
type Agent struct {
	Image     *snapshots.Image
	Evolved   string // path of the evolvable file
	Incumbent *population.Genome
	Evaluator string // SHA-256 of referee and prelude

	others []sexpr.Value // forms of the evolvable file that are not evolved; open code is all of it
}

// refereeFile holds the referee: fitness-cases and fitness-score.
const refereeFile = "fitness.scm"

// ReadAgent takes an image apart.
func ReadAgent(im *snapshots.Image, grammar *population.Grammar, evolved string) (*Agent, error) {
	for _, name := range []string{"agent.scm", refereeFile, evolved} {
		if im.File(name) == nil {
			return nil, &AgentError{name, fmt.Errorf("the agent folder has no such file; it must hold agent.scm, %s and %s", refereeFile, evolved)}
		}
	}
	a, err := readPolicy(im, grammar, evolved)
	if err != nil {
		return nil, err
	}
	a.Evaluator = evaluator(im, refereeFile)
	return a, nil
}

// Policy is the policy that an image's evolvable file holds.
func Policy(im *snapshots.Image, grammar *population.Grammar, evolved string) (*population.Genome, error) {
	a, err := readPolicy(im, grammar, evolved)
	if err != nil {
		return nil, err
	}
	return a.Incumbent, nil
}

// readPolicy takes an image's evolvable file apart.
func readPolicy(im *snapshots.Image, grammar *population.Grammar, evolved string) (*Agent, error) {
	a := &Agent{Image: im, Evolved: evolved}
	if im.File(evolved) == nil {
		return nil, &AgentError{evolved, fmt.Errorf("the agent folder has no such file")}
	}
	forms, err := sexpr.ReadAll(im.File(evolved).Data)
	if err != nil {
		return nil, &AgentError{evolved, err}
	}
	if grammar.Open {
		if a.Incumbent, err = grammar.FromForms(forms); err != nil {
			return nil, &AgentError{evolved, err}
		}
		return a, nil
	}
	var definitions []sexpr.Value
	for _, form := range forms {
		form = unwrapPolicy(form)
		if grammar.Defines(form) >= 0 {
			definitions = append(definitions, form)
		} else {
			a.others = append(a.others, form)
		}
	}
	if a.Incumbent, err = grammar.FromForms(definitions); err != nil {
		return nil, &AgentError{evolved, err}
	}
	return a, nil
}

// evaluator identifies what makes a score: jird's own code in the shadows, and a referee.
func evaluator(im *snapshots.Image, file string) string {
	sum := sha256.New()
	sum.Write(sandbox.Prelude())
	if referee := im.File(file); referee != nil {
		sum.Write(referee.Data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// image is what a zygote loads: the files of the snapshot, the incumbent
// installed as the grammar's policy, and cases.
func (a *Agent) image(grammar *population.Grammar) (sandbox.Image, error) {
	im := sandbox.Image{Memory: a.Image.Memory}
	for i, d := range a.Incumbent.Definitions() {
		im.Definitions = append(im.Definitions, sandbox.Policy{Kind: grammar.Definitions[i].Result.String(), Definition: d})
	}
	if len(a.others) > 0 {
		var text []byte
		for _, form := range a.others {
			b, err := sexpr.Canonical(form)
			if err != nil {
				return im, &AgentError{a.Evolved, err}
			}
			text = append(append(text, b...), '\n')
		}
		im.Files = append(im.Files, sandbox.Source{Name: a.Evolved, Code: text})
	}
	var last []sandbox.Source // agent and referee see everything else
	for _, f := range a.Image.Files {
		if path.Ext(f.Path) != ".scm" || f.Path == a.Evolved || f.Path == "memory.scm" {
			continue
		}
		source := sandbox.Source{Name: f.Path, Code: f.Data}
		if f.Path == "agent.scm" || f.Path == refereeFile {
			last = append(last, source)
		} else {
			im.Files = append(im.Files, source)
		}
	}
	im.Files = append(im.Files, last...)
	return im, nil
}

// LiveImage is what the processes of a live agent load: every Scheme file but the
// referees' and the memory's, agent.scm last. Memory is the caller's to give.
func LiveImage(im *snapshots.Image) (sandbox.Image, error) {
	var live sandbox.Image
	agent := im.File("agent.scm")
	if agent == nil {
		return live, &AgentError{"agent.scm", fmt.Errorf("the agent has no such file")}
	}
	for _, f := range im.Files {
		switch f.Path {
		case "agent.scm", refereeFile, matchFile, "memory.scm":
			continue
		}
		if path.Ext(f.Path) == ".scm" {
			live.Files = append(live.Files, sandbox.Source{Name: f.Path, Code: f.Data})
		}
	}
	live.Files = append(live.Files, sandbox.Source{Name: agent.Path, Code: agent.Data})
	return live, nil
}

// wrapPolicy is (policy! 'KIND 'DEFINITION): the definition with the meaning that it
// was scored by, wherever the file is loaded. A plain definition would be Scheme's
// own arithmetic, in which (/ 1 0) is an error.
func wrapPolicy(kind string, definition sexpr.Value) sexpr.Value {
	quote := func(v sexpr.Value) sexpr.Value { return sexpr.List{sexpr.Symbol("quote"), v} }
	return sexpr.List{sexpr.Symbol("policy!"), quote(sexpr.Symbol(kind)), quote(definition)}
}

// unwrapPolicy gives the definition that wrapPolicy wrapped, and any other form as
// it is.
func unwrapPolicy(form sexpr.Value) sexpr.Value {
	list, _ := form.(sexpr.List)
	if len(list) != 3 || list[0] != sexpr.Symbol("policy!") {
		return form
	}
	quoted, _ := list[2].(sexpr.List)
	if len(quoted) != 2 || quoted[0] != sexpr.Symbol("quote") {
		return form
	}
	return quoted[1]
}

// With returns the image with the winner in place of the incumbent.
func (a *Agent) With(winner *population.Genome, parent snapshots.ID) snapshots.Image {
	im := *a.Image
	im.Parents = []snapshots.ID{parent}
	im.Files = append([]snapshots.File(nil), a.Image.Files...)
	var text strings.Builder
	text.WriteString(";; Written by jird: the evolved definitions are those of a promoted genome.\n\n")
	for _, form := range a.others {
		b, _ := sexpr.Canonical(form) // was read from text
		fmt.Fprintf(&text, "%s\n\n", b)
	}
	for i, definition := range winner.Definitions() {
		if winner.Grammar().Open {
			fmt.Fprintf(&text, "%s\n\n", definition)
			continue
		}
		b, _ := sexpr.Canonical(wrapPolicy(winner.Grammar().Definitions[i].Result.String(), definition))
		fmt.Fprintf(&text, "%s\n", b)
	}
	im.File(a.Evolved).Data = []byte(text.String())
	return im
}
