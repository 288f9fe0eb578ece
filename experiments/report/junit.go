package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

// Check is a thing that can fail.
type Check struct {
	Name    string
	Failure string // why it failed, or ""
	Skipped string // why there is nothing to say yet, or ""
	Kind    string // of the failure
}

type suites struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []suite  `xml:"testsuite"`
}

type suite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"`
	Cases    []testcase `xml:"testcase"`
}

type testcase struct {
	Name    string  `xml:"name,attr"`
	Class   string  `xml:"classname,attr"`
	Failure *reason `xml:"failure"`
	Skipped *reason `xml:"skipped"`
}

type reason struct {
	Message string `xml:"message,attr"`
	Kind    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// Checks are whether the run is over, and whether its winner was promoted.
func (r *Run) Checks() []Check { return checks(r.Status, r.Info.Run, r.Decision, true) }

// Checks are whether the tournament is over and, if somebody was to be promoted, whether
// he was.
func (t *Tournament) Checks() []Check {
	return checks(t.Status, t.Standings.Run, t.Decision, t.Judged != "")
}

func checks(status, id string, e *ledger.Explanation, judged bool) []Check {
	over := Check{Name: "is over"}
	if status != orchestrator.RunDone {
		over.Failure, over.Kind = fmt.Sprintf("it is %s; if nobody carries it out: jird resume %s", status, id), status
	}
	if !judged {
		return []Check{over}
	}
	decision := Check{Name: "the winner is promoted"}
	switch {
	case e == nil || e.Decided == nil:
		decision.Skipped = "not decided yet"
	case !e.Decided.Promoted:
		decision.Failure, decision.Kind = e.Decided.Reason, string(e.Decided.Stop)
	}
	return []Check{over, decision}
}

// JUnit writes checks in the form that CI systems read.
func JUnit(w io.Writer, id string, seconds float64, checks []Check) error {
	s := suite{Name: "jird " + id, Tests: len(checks), Time: fmt.Sprintf("%.3f", seconds)}
	for _, c := range checks {
		t := testcase{Name: c.Name, Class: "jird." + id}
		switch {
		case c.Skipped != "":
			s.Skipped++
			t.Skipped = &reason{Message: c.Skipped}
		case c.Failure != "":
			s.Failures++
			t.Failure = &reason{c.Failure, c.Kind, c.Failure}
		}
		s.Cases = append(s.Cases, t)
	}
	text, err := xml.MarshalIndent(suites{Suites: []suite{s}}, "", "  ")
	if err != nil {
		return fmt.Errorf("making the list of tests: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}
