package snapshots

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"jird/snapshots/disk"
)

// MinGenerations is the fewest checkpoints of an agent that are kept.
const MinGenerations = 3

// Pruned is what KeepCheckpoints removed, as paths in the vault.
type Pruned struct {
	// Oldest is the LSN of the oldest generation that counts: with its journal from
	// there on, any one of the generations is enough. 0 while there are fewer than
	// the generations asked for.
	Oldest      uint64
	Checkpoints []string
	Chunks      []string // that nothing names any longer
	Leftovers   []string // temporary files of writes that a crash ended
}

// KeepCheckpoints removes the checkpoints of an agent that are older than the
// newest so many that verify in every byte, and then all chunks that no manifest
// names: of an image, of a checkpoint of any agent, or in quarantine. Damaged
// checkpoints do not count and are not removed. While a manifest outside of the
// quarantine cannot be read, its chunks are not known, so none is removed and
// the damage is the error.
//
// Other writers, of other processes too, wait until it is done; it waits for
// theirs. A reader may find a generation gone that it had listed.
func (v *Vault) KeepCheckpoints(agent string, generations int) (Pruned, error) {
	if generations < MinGenerations || !agentPattern.MatchString(agent) {
		return Pruned{}, fmt.Errorf("keeping %d checkpoints of %q: at least %d are kept of an agent", generations, agent, MinGenerations)
	}
	pruned, err := v.keep(agent, generations)
	if second := v.second.Load(); second != nil {
		v.mirroring.Lock()
		defer v.mirroring.Unlock()
		if _, err := second.keep(agent, generations); err != nil {
			v.say(&CopyError{second.dir, err})
		}
	}
	return pruned, err
}

func (v *Vault) keep(agent string, generations int) (Pruned, error) {
	if err := v.failed(); err != nil {
		return Pruned{}, err
	}
	unlock, err := v.fs.Lock(v.path("chunks/.lock"), false)
	if err != nil {
		return Pruned{}, err
	}
	defer unlock()
	stock, damage, err := v.takeStock(agent)
	if err != nil {
		return Pruned{}, err
	}
	plan := stock.plan(generations)
	return plan, errors.Join(damage, v.removeAll(plan.Checkpoints, "checkpoints/"+agent, plan.Chunks, plan.Leftovers))
}

// stock is all that a plan depends on.
type stock struct {
	generations []generation        // of the agent, newest first
	names       map[string][]string // path of a manifest: the chunks that it names
	unread      bool                // there is a manifest that is not in names
	chunks      []string            // hashes
	leftovers   []string            // paths
}

type generation struct {
	name  checkpointName
	whole bool
}

// plan decides what is removed.
func (s stock) plan(keep int) Pruned {
	var p Pruned
	whole := 0
	for _, g := range s.generations {
		if !g.whole {
			continue
		}
		if whole++; whole == keep {
			p.Oldest = g.name.lsn
		}
		if whole > keep {
			p.Checkpoints = append(p.Checkpoints, g.name.rel())
		}
	}
	p.Leftovers = s.leftovers
	p.Chunks = s.unnamed(p.Checkpoints)
	return p
}

// unnamed are the paths of the chunks that no manifest names but the given ones. While
// a manifest cannot be read, that is known of none.
func (s stock) unnamed(but []string) (paths []string) {
	if s.unread {
		return nil
	}
	going := map[string]bool{}
	for _, manifest := range but {
		going[manifest] = true
	}
	needed := map[string]bool{}
	for manifest, chunks := range s.names {
		for _, hash := range chunks {
			needed[hash] = needed[hash] || !going[manifest]
		}
	}
	for _, hash := range s.chunks {
		if !needed[hash] {
			paths = append(paths, "chunks/"+hash[:2]+"/"+hash)
		}
	}
	return paths
}

// removeAll removes manifests of one folder, then chunks. That the manifests are gone is
// durable before a chunk goes, so that no crash leaves a manifest without its chunks.
func (v *Vault) removeAll(manifests []string, folder string, chunks, leftovers []string) error {
	if err := v.remove(manifests); err != nil {
		return err
	}
	if len(manifests) > 0 {
		if err := v.syncDir(v.path(folder)); err != nil {
			return err
		}
	}
	return errors.Join(v.remove(chunks), v.remove(leftovers))
}

func (v *Vault) remove(files []string) error {
	for _, rel := range files {
		if err := v.fs.Remove(v.path(rel)); err != nil {
			return fmt.Errorf("removing what is no longer needed: %w", err)
		}
	}
	return nil
}

// takeStock reads all manifests, and the chunks of the agent's.
func (v *Vault) takeStock(agent string) (s stock, damage, err error) {
	s.names = map[string][]string{}
	damage, err = v.manifestChunks(&s)
	if err != nil {
		return s, nil, err
	}
	names, err := v.names(agent)
	if err != nil {
		return s, nil, err
	}
	whole := v.wholeChunks()
	for _, name := range names {
		err := v.verify(name, whole)
		var damaged *DamageError
		if err != nil && !errors.As(err, &damaged) && !errors.Is(err, errNewer) {
			return s, nil, err
		}
		s.generations = append(s.generations, generation{name, err == nil})
	}
	return s, damage, v.storedChunks(&s)
}

// manifestChunks reads what the manifests name; damage is of those it cannot
// read.
func (v *Vault) manifestChunks(s *stock) (damage, err error) {
	agents, err := v.list("checkpoints")
	if err != nil {
		return nil, err
	}
	folders := []string{"manifests", "quarantine"}
	for _, agent := range agents {
		folders = append(folders, "checkpoints/"+agent)
	}
	for _, folder := range folders {
		files, err := v.fs.ReadDir(v.path(folder))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			rel := folder + "/" + file
			if strings.HasPrefix(file, disk.TempPrefix) {
				s.leftovers = append(s.leftovers, rel)
				continue
			}
			chunks, err := v.namedBy(folder, rel)
			if err != nil && folder != "quarantine" {
				s.unread = true
				damage = errors.Join(damage, fmt.Errorf("no chunk is removed, for it may be named here: %w", err))
			}
			s.names[rel] = chunks
		}
	}
	return damage, nil
}

func (v *Vault) namedBy(folder, rel string) ([]string, error) {
	data, err := v.file(rel)
	if err != nil {
		return nil, err
	}
	if folder == "manifests" || folder == "quarantine" && strings.Contains(rel, "Z-manifests-") {
		return imageChunks(data)
	}
	return checkpointChunks(data)
}

func (v *Vault) storedChunks(s *stock) error {
	dirs, err := v.list("chunks")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		files, err := v.fs.ReadDir(v.path("chunks", dir))
		if err != nil {
			return err
		}
		for _, file := range files {
			switch {
			case strings.HasPrefix(file, disk.TempPrefix):
				s.leftovers = append(s.leftovers, filepath.Join("chunks", dir, file))
			case hashPattern.MatchString(file) && file[:2] == dir:
				s.chunks = append(s.chunks, file)
			}
		}
	}
	return nil
}
