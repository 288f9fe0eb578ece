package experiments

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"jird/orchestrator"
	"jird/orchestrator/propose"
	"jird/population/ga"
)

// sources are the ways in which a run makes children.
func (s *Spec) sources() (all []ga.Source) {
	for _, p := range s.Proposers {
		all = append(all, ga.Source{Name: p.Name, Share: p.Share, Bandit: p.Share == 0})
	}
	return all
}

// asking makes what a run asks of its spec. What commands are made of is put into a folder,
// until clean is called.
func (s *Spec) asking() (a orchestrator.Asking, clean func(), err error) {
	a.Task, clean = s.Task, func() {}
	if c := s.Ceilings; c != nil {
		a.Ceilings = propose.Ceilings{Calls: c.Calls, Tokens: int64(c.Tokens), Micros: int64(math.Round(c.Money * 1e6))}
	}
	for _, p := range s.Proposers {
		switch {
		case p.Chat != nil:
			a.Proposers = append(a.Proposers, p.Chat.source(p.calling()))
		case p.Command != nil:
			dir, err := os.MkdirTemp("", "jird-proposer-")
			if err != nil {
				clean()
				return a, nil, fmt.Errorf("making a folder for proposer %s: %w", p.Name, err)
			}
			before := clean
			clean = func() { os.RemoveAll(dir); before() }
			if err := p.unpack(dir); err != nil {
				clean()
				return a, nil, fmt.Errorf("proposer %s: %w", p.Name, err)
			}
			a.Proposers = append(a.Proposers, propose.Command{Calling: p.calling(), Argv: p.Command, Dir: dir, Files: slices.Sorted(maps.Keys(p.Files)), Env: p.Env})
		}
	}
	return a, clean, nil
}

func (p Proposer) unpack(dir string) error {
	for name, text := range p.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}
