package orchestrator

import (
	"testing"

	"jird/snapshots"
)

// A promoted genome is written so that it means the same where its file is merely
// loaded, and it is read back as the next incumbent.
func TestPromotedImageIsReadBack(t *testing.T) {
	g := grammar(t)
	im := &snapshots.Image{Name: "a", Files: []snapshots.File{
		{Path: "agent.scm"}, {Path: "fitness.scm"}, {Path: "policy.scm", Data: []byte("(define limit 3)\n(define (f x) (+ x 1))")},
	}}
	a, err := ReadAgent(im, g, "policy.scm")
	if err != nil {
		t.Fatal(err)
	}
	winner := genomes(t, "(* x 2.5)")[0]
	next := a.With(winner, "parent")
	again, err := ReadAgent(&next, g, "policy.scm")
	if err != nil {
		t.Fatal(err)
	}
	if again.Incumbent.Hash() != winner.Hash() || len(again.others) != 1 || len(next.Parents) != 1 {
		t.Errorf("%s came back as %s", next.File("policy.scm").Data, again.Incumbent.Expr())
	}
	if string(im.File("policy.scm").Data) == string(next.File("policy.scm").Data) {
		t.Error("the incumbent's image was changed")
	}
}
