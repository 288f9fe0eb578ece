package promote

import (
	"fmt"

	"jird/population"
)

// Observation is one case under both policies, as it was measured: each outcome
// is of that case alone.
type Observation struct {
	Case              string
	Incumbent, Winner population.Outcome
}

// Pairs are the observations that can be compared: both policies were scored.
func Pairs(all []Observation) []Pair {
	var pairs []Pair
	for _, o := range all {
		if o.Incumbent.Status == population.OK && o.Winner.Status == population.OK {
			pairs = append(pairs, Pair{o.Incumbent.Scores[0], o.Winner.Scores[0]})
		}
	}
	return pairs
}

// Guardrail is a rule that no gain in the score outweighs. Breach is pure: it
// names what breaks the rule in all observations so far, or returns "".
type Guardrail struct {
	Name   string
	Rule   string // for people and the record, with its numbers
	Breach func([]Observation) string
}

// Veto returns the first breach of any guardrail, or "".
func Veto(rails []Guardrail, all []Observation) string {
	for _, g := range rails {
		if breach := g.Breach(all); breach != "" {
			return g.Name + ": " + breach
		}
	}
	return ""
}

// Failures vetoes a winner that fails where the incumbent does not.
func Failures() Guardrail {
	return Guardrail{
		Name: "failures", Rule: "the winner is scored on every case that the incumbent is scored on",
		Breach: func(all []Observation) string {
			for _, o := range all {
				if o.Incumbent.Status == population.OK && o.Winner.Status != population.OK {
					return fmt.Sprintf("on case %s the winner ended with %s (%s)", o.Case, o.Winner.Status, o.Winner.Detail)
				}
			}
			return ""
		},
	}
}

// stepsFactor is above what size alone makes: a packer policy of the largest
// size allowed takes 15 times the steps of best fit.
const stepsFactor = 20

// Steps vetoes a winner that takes, on any case, both many times the incumbent's
// steps and more than a hundredth of the fuel of a case: what costs next to
// nothing may cost many times nothing.
func Steps(fuel int64) Guardrail {
	return Guardrail{
		Name: "steps", Rule: fmt.Sprintf("on no case over %d times the incumbent's steps and over %d", stepsFactor, fuel/100),
		Breach: func(all []Observation) string {
			for _, o := range all {
				if o.Winner.Steps > fuel/100 && o.Winner.Steps/stepsFactor > o.Incumbent.Steps && o.Incumbent.Status == population.OK {
					return fmt.Sprintf("on case %s the winner took %d steps, the incumbent %d", o.Case, o.Winner.Steps, o.Incumbent.Steps)
				}
			}
			return ""
		},
	}
}
