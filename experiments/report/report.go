// Package report puts what the ledger says of a run or of a tournament into the forms
// that people and other programs read: a page, a summary, a list of tests, a table.
//
// It is pure: data in, bytes out, the same for the same. It trusts nothing that it is
// given: names, sources and reasons are text that somebody else wrote, and come out as
// text in every form. A page asks for nothing, neither a file nor an address, and says so
// to the browser; it holds no script.
package report

import (
	"fmt"
	"strings"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

// Run is what the report of a run is made from.
type Run struct {
	*ledger.Report
	Decision *ledger.Explanation // nil before anything was declared
	Images   []Image
	Jird     string // the jird that reports
}

// Tournament is what the report of a tournament is made from.
type Tournament struct {
	*orchestrator.Standings
	Status   string
	Origin   ledger.Origin
	Matrix   orchestrator.Matrix
	Sides    []string
	Reigns   []ledger.Reign      // of a coevolution
	Decision *ledger.Explanation // nil if nothing was declared
	Images   []Image
	Jird     string
}

// Image is a snapshot that the report names.
type Image struct {
	What, ID string
	Here     string // what the vault has of it
}

// Answer is how the run ended and why, in a sentence.
func (r *Run) Answer() string {
	switch {
	case r.Promoted == nil && r.Status == orchestrator.RunDone:
		return "Nothing was decided."
	case r.Promoted == nil:
		return fmt.Sprintf("Not decided yet: the run is %s after generation %d.", r.Status, r.Info.Generations)
	}
	return decided(*r.Promoted, "the winner", r.Reason)
}

// Answer is how the tournament ended and why, in a sentence.
func (t *Tournament) Answer() string {
	best := fmt.Sprintf("%s is champion by %s, with a mean of %.3f in %d rounds", t.Champion.Name, t.Rank, t.Champion.Mean, t.Rounds)
	switch {
	case t.Status != orchestrator.RunDone:
		return fmt.Sprintf("Not over yet: the tournament is %s. So far %s.", t.Status, best)
	case t.Promoted != nil:
		return decided(*t.Promoted, t.Judged, t.Reason)
	}
	return fmt.Sprintf("%s; nobody was to be promoted.", best)
}

func decided(promoted bool, who, reason string) string {
	if promoted {
		return fmt.Sprintf("Promoted %s: %s.", who, strings.TrimPrefix(reason, "better: "))
	}
	return fmt.Sprintf("Kept the incumbent, not %s: %s.", who, reason)
}
