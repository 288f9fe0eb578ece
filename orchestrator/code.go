package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"jird/population"
	"jird/snapshots/sexpr"
)

// Code is what a side of a match plays by: a *population.Genome, whose definitions are
// total and run beside the referee, or a *Scheme, which may do anything and gets a
// process of its own.
type Code interface {
	Hash() string   // hexadecimal SHA-256 of the canonical definitions
	Source() string // the canonical definitions, one on a line
	Expr() string   // for tables
}

var (
	_ Code = (*population.Genome)(nil)
	_ Code = (*Scheme)(nil)
)

// ReadCode reads the source of a side: a genome of its grammar, or for none open code.
func ReadCode(grammar *population.Grammar, source []byte) (Code, error) {
	if grammar == nil {
		return ReadScheme(source)
	}
	return grammar.Parse(source)
}

// Scheme is open code: any top-level definitions.
type Scheme struct {
	source string
	hash   string
	load   sexpr.Value // (load FORM ...), as a process gets it
}

// maxSource bounds the code of an open side. All of it is sent to a fresh process for
// each match, so it is far below what a frame holds.
const maxSource = 1 << 20

// ReadScheme reads open code. What cannot be read gives a *sexpr.SyntaxError, which says
// where.
func ReadScheme(text []byte) (*Scheme, error) {
	if len(text) > maxSource {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(text), maxSource)
	}
	forms, err := sexpr.ReadAll(text)
	if err != nil {
		return nil, err
	}
	if !defining(forms) {
		return nil, errors.New("there is no top-level (define ...) among it, so the referee could ask for nothing")
	}
	var lines []string
	load := sexpr.List{sexpr.Symbol("load")}
	for _, form := range forms {
		line, err := sexpr.TextOf(form)
		if err != nil {
			return nil, err
		}
		lines, load = append(lines, string(line)), append(load, line)
	}
	s := &Scheme{source: strings.Join(lines, "\n"), load: load}
	sum := sha256.Sum256([]byte(s.source + "\n"))
	s.hash = hex.EncodeToString(sum[:])
	return s, nil
}

func defining(forms []sexpr.Value) bool {
	for _, form := range forms {
		if list, _ := form.(sexpr.List); len(list) > 2 && list[0] == sexpr.Symbol("define") {
			return true
		}
	}
	return false
}

// Hash implements Code.
func (s *Scheme) Hash() string { return s.hash }

// Source implements Code. ReadScheme reads it back.
func (s *Scheme) Source() string { return s.source }

// Expr implements Code.
func (s *Scheme) Expr() string { return "open " + s.hash[:12] }
