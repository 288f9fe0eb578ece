package experiments

import (
	"slices"

	"jird/orchestrator"
	"jird/snapshots"
)

// liveName is what the live policy is called in a gauntlet.
const liveName = "live"

// resolved is a spec whose entrants all have a source, so that its JSON says everything:
// a gauntlet's live policy comes from the agent's image.
func (l *Lab) resolved(s *TournamentSpec, image *snapshots.Image) (*TournamentSpec, error) {
	whole := *s
	whole.Sides = slices.Clone(s.Sides)
	if s.Mode != "gauntlet" {
		return &whole, nil
	}
	first := &whole.Sides[0]
	grammar, err := grammarFrom(first.Evolve, first.Grammar)
	if err != nil {
		return nil, err
	}
	live, err := orchestrator.Policy(image, grammar, first.Evolve.File)
	if err != nil {
		return nil, err
	}
	first.Entrants = append(slices.Clone(first.Entrants), EntrantSpec{liveName, live.Source()})
	return &whole, nil
}
