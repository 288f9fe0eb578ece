package snapshots

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// PutCheckpoint stores a checkpoint and returns its name. It is durable on
// return: chunks first, then the manifest. An agent's checkpoints are put by one
// goroutine at a time; anything else may go on beside it. The image must be in the
// vault.
//
// A piece that is stored already is read back and verified, so that a new
// checkpoint never leans on a chunk that has rotted since.
func (v *Vault) PutCheckpoint(c Checkpoint) (name string, err error) {
	if name, err = v.putCheckpoint(c); err != nil {
		return "", fmt.Errorf("checkpoint of %s at LSN %d: %w", c.Agent, c.LSN, err)
	}
	v.mirror()
	return name, nil
}

func (v *Vault) putCheckpoint(c Checkpoint) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	if _, err := getManifest(v.either(v.sayStep), c.Image); err != nil {
		return "", fmt.Errorf("its image: %w", err)
	}
	end, err := v.begin()
	if err != nil {
		return "", err
	}
	defer end()
	m := checkpointManifest{agent: c.Agent, lsn: c.LSN, clean: c.Clean, image: c.Image, time: c.Time}
	if m.generation, err = v.nextGeneration(c.Agent); err != nil {
		return "", err
	}
	b := v.newBatch()
	defer b.close()
	for _, p := range c.Parts {
		part := checkpointPart{name: p.Name}
		for _, piece := range p.Pieces {
			hash, err := b.put(piece)
			if err != nil {
				return "", fmt.Errorf("part %s: %w", p.Name, err)
			}
			part.chunks = append(part.chunks, hash)
		}
		m.parts = append(m.parts, part)
	}
	return b.sealCheckpoint(&m)
}

func (b *batch) sealCheckpoint(m *checkpointManifest) (string, error) {
	data, err := m.encode()
	if err != nil {
		return "", err
	}
	if _, err := decodeCheckpoint(data); err != nil {
		return "", err
	}
	if err := b.vault.makeDir(b.vault.path("checkpoints", m.agent)); err != nil {
		return "", err
	}
	name := checkpointName{m.agent, m.lsn, m.generation, hashOf(data)}
	return name.String(), b.seal(b.vault.path(name.rel()), data)
}

func (c *Checkpoint) check() error {
	if !agentPattern.MatchString(c.Agent) {
		return fmt.Errorf("%q is not the name of an agent: letters, digits, . _ -, at most 64", c.Agent)
	}
	seen := map[string]bool{}
	for _, p := range c.Parts {
		if seen[p.Name] {
			return fmt.Errorf("there are two parts %q", p.Name)
		}
		seen[p.Name] = true
		for i, piece := range p.Pieces {
			if len(piece) > chunkSize {
				return fmt.Errorf("piece %d of part %s has %d bytes, more than %d: cut it", i+1, p.Name, len(piece), chunkSize)
			}
		}
	}
	return nil
}

// nextGeneration counts on from the copy too, which may be all that is left.
func (v *Vault) nextGeneration(agent string) (uint64, error) {
	names, err := v.either(v.sayStep).names(agent)
	highest := uint64(0)
	for _, n := range names {
		highest = max(highest, n.generation)
	}
	return highest + 1, err
}

// names lists the checkpoints of an agent, newest first.
func (v *Vault) names(agent string) ([]checkpointName, error) {
	files, err := v.list("checkpoints/" + agent)
	var names []checkpointName
	for _, file := range files {
		if n, err := parseCheckpointName(agent + "/" + file); err == nil {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, newestFirst)
	return names, err
}

func newestFirst(a, b checkpointName) int {
	return cmp.Or(cmp.Compare(b.lsn, a.lsn), cmp.Compare(b.generation, a.generation), cmp.Compare(b.hash, a.hash))
}

// list returns the names of the complete files in a folder of the vault, none if
// there is no such folder.
func (v *Vault) list(rel string) ([]string, error) {
	names, err := v.fs.ReadDir(v.path(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return name[0] == '.' }), err
}
