package experiments

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"jird/orchestrator/guard"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// settled is how long an image stays that was put or was live a moment ago. Between a
// put and the ref or row of the ledger that names it lie milliseconds; an hour is for a
// process that was stopped in between.
const settled = time.Hour

// Prune finds the images and chunks that no ref, checkpoint, run, tournament, decision
// or guard needs, and with remove it removes them.
func (l *Lab) Prune(remove bool) (snapshots.Unneeded, error) {
	named := map[snapshots.ID]bool{}
	images, err := l.Ledger.Images("")
	if err != nil {
		return snapshots.Unneeded{}, err
	}
	for _, id := range images {
		named[snapshots.ID(id)] = true
	}
	whole, err := l.guardsNeed(named)
	if err != nil {
		return snapshots.Unneeded{}, err
	}
	needed := func(id snapshots.ID, agent string) bool { return named[id] || whole[agent] }
	return l.Vault.Prune(needed, time.Now().Add(-settled), remove)
}

// guardsNeed adds what the journals of served agents name. Of an agent whose guard is
// at work, or whose journal cannot be read, all images stay.
func (l *Lab) guardsNeed(named map[snapshots.ID]bool) (whole map[string]bool, err error) {
	agents, err := os.ReadDir(filepath.Join(l.Home, "agents"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole = map[string]bool{}
	for _, a := range agents {
		served, err := l.served(a.Name())
		if err != nil {
			return nil, err
		}
		if !served {
			continue
		}
		ids, err := guard.Named(l.Vault, l.journalDir(a.Name()), a.Name())
		for id := range ids {
			named[id] = true
		}
		if err != nil {
			whole[a.Name()] = true
			l.Say("all images of %s stay: %v", a.Name(), whyWhole(err))
		}
	}
	return whole, nil
}

func whyWhole(err error) error {
	if errors.Is(err, wal.ErrInUse) {
		return errors.New("its guard is at work")
	}
	return err
}
