package guard

import (
	"fmt"

	"jird/orchestrator/journal"
	"jird/snapshots"
	"jird/snapshots/wal"
)

// Named are the images that an agent's promotions name: those that a rollback can go
// back to, and where one that a crash left half-way goes from and to. It reads all
// checkpoints and the journal, which no guard may have open (wal.ErrInUse).
func Named(v *snapshots.Vault, dir, agent string) (map[snapshots.ID]bool, error) {
	named := map[snapshots.ID]bool{}
	note := func(b *journal.Begin) { named[b.From], named[b.To] = true, true }
	for r, err := range wal.Records(dir, 1) {
		if err != nil {
			return nil, err
		}
		record, err := journal.Decode(r.Data)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", r.LSN, err)
		}
		if b, ok := record.(*journal.Begin); ok {
			note(b)
		}
	}
	checkpoints, err := v.Checkpoints(agent)
	if err != nil {
		return nil, err
	}
	for _, info := range checkpoints {
		c, _, err := v.GetCheckpoint(info.Name)
		if err != nil {
			return nil, err
		}
		var parts []journal.Part
		for _, p := range c.Parts {
			parts = append(parts, journal.Part{Name: p.Name, Pieces: p.Pieces})
		}
		state, err := journal.Restore(c.LSN, parts)
		if err != nil {
			return nil, fmt.Errorf("checkpoint %s: %w", info.Name, err)
		}
		for i := range state.Promotions {
			note(&state.Promotions[i].Begin)
		}
	}
	return named, nil
}
