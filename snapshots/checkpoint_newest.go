package snapshots

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// ErrNoCheckpoint is wrapped when an agent has no checkpoint, damaged or not.
var ErrNoCheckpoint = errors.New("no checkpoint")

// CheckpointInfo is what the manifest of a checkpoint says.
type CheckpointInfo struct {
	Name       string // AGENT/LSN-GENERATION-HASH, for GetCheckpoint
	Agent      string
	LSN        uint64
	Generation uint64 // counts an agent's checkpoints, from 1
	// These three are zero if no copy of the manifest verifies.
	Clean bool
	Image ID
	Time  time.Time
	// Copied says that the second copy holds the manifest whole.
	Copied bool
	// Damage names each copy of the manifest that is missing or damaged; nil: none.
	Damage []error
}

// Checkpoints lists the checkpoints of an agent, newest first: the highest LSN,
// then the highest generation. It reads the manifests and no chunk; damaged ones
// are in the list.
func (v *Vault) Checkpoints(agent string) ([]CheckpointInfo, error) {
	names, err := v.either(v.sayStep).names(agent)
	var all []CheckpointInfo
	for _, name := range names {
		info := CheckpointInfo{Name: name.String(), Agent: name.agent, LSN: name.lsn, Generation: name.generation}
		for _, w := range v.copies() {
			m, err := readCheckpoint(w, name)
			if err != nil {
				info.Damage = append(info.Damage, err)
				continue
			}
			info.Clean, info.Image, info.Time = m.clean, m.image, m.time
			info.Copied = w != v
		}
		all = append(all, info)
	}
	return all, err
}

// readCheckpoint reads a manifest that must be what its name says.
func readCheckpoint(from source, name checkpointName) (*checkpointManifest, error) {
	data, err := from.file(name.rel())
	if err != nil {
		return nil, err
	}
	m, err := decodeCheckpoint(data)
	if err == nil && (m.agent != name.agent || m.lsn != name.lsn || m.generation != name.generation) {
		err = fmt.Errorf("it is the manifest of generation %d of %s at LSN %d", m.generation, m.agent, m.lsn)
	}
	if errors.Is(err, errNewer) {
		return nil, fmt.Errorf("%s: %w", name.rel(), err)
	}
	if err != nil {
		return nil, &DamageError{name.rel(), err.Error()}
	}
	return m, nil
}

// StepBack is something that was passed over when a checkpoint or an image was
// read.
type StepBack struct {
	Checkpoint string // its name; empty for an image by itself, or a folder
	File       string // that is missing or damaged; empty if Damage names none
	Damage     error
	// FromCopy says that the second copy gave what was damaged here. If not, this
	// copy of the checkpoint was given up.
	FromCopy bool
}

func (s StepBack) Error() string {
	what := "passed over"
	if s.FromCopy {
		what = "read from the second copy instead"
	}
	if s.Checkpoint == "" {
		return fmt.Sprintf("%v: %s", s.Damage, what)
	}
	return fmt.Sprintf("checkpoint %s: %v: %s", s.Checkpoint, s.Damage, what)
}

// Unwrap returns the damage.
func (s StepBack) Unwrap() error { return s.Damage }

func stepBack(checkpoint string, err error, fromCopy bool) StepBack {
	s := StepBack{Checkpoint: checkpoint, Damage: err, FromCopy: fromCopy}
	var damage *DamageError
	if errors.As(err, &damage) {
		s.File = damage.File
	}
	return s
}

func (v *Vault) sayStep(s StepBack) {
	if v.say != nil {
		v.say(s)
	}
}

// either reads from the first copy, and what that has not whole from the second.
type either struct {
	vault      *Vault
	checkpoint string
	told       func(StepBack)
}

func (v *Vault) either(told func(StepBack)) either { return either{vault: v, told: told} }

// copies are the vaults that hold the same, the first first.
func (v *Vault) copies() []*Vault {
	if second := v.second.Load(); second != nil {
		return []*Vault{v, second}
	}
	return []*Vault{v}
}

func (e either) read(read func(*Vault) ([]byte, error)) ([]byte, error) {
	data, err := read(e.vault)
	second := e.vault.second.Load()
	if err == nil || second == nil {
		return data, err
	}
	data, worse := read(second)
	if worse != nil {
		e.told(stepBack(e.checkpoint, worse, false))
		return nil, err
	}
	e.told(stepBack(e.checkpoint, err, true))
	return data, nil
}

func (e either) chunk(hash string) ([]byte, error) {
	return e.read(func(v *Vault) ([]byte, error) { return v.chunk(hash) })
}

func (e either) file(rel string) ([]byte, error) {
	return e.read(func(v *Vault) ([]byte, error) { return v.file(rel) })
}

// names lists what either copy lists. One folder that cannot be read is passed
// over.
func (e either) names(agent string) (all []checkpointName, err error) {
	copies := e.vault.copies()
	var failed []error
	for _, v := range copies {
		names, err := v.names(agent)
		if err != nil && v != e.vault {
			err = &CopyError{v.dir, err}
		}
		if err != nil {
			failed = append(failed, err)
		}
		all = append(all, names...)
	}
	if len(failed) == len(copies) {
		return nil, errors.Join(failed...)
	}
	for _, err := range failed {
		e.told(stepBack("", err, false))
	}
	slices.SortFunc(all, newestFirst)
	return slices.Compact(all), nil
}

// GetCheckpoint reads a checkpoint back, every byte verified. What one copy lacks
// or has damaged comes from the other, and is in steps.
func (v *Vault) GetCheckpoint(name string) (c *Checkpoint, steps []StepBack, err error) {
	parsed, err := parseCheckpointName(name)
	if err != nil {
		return nil, nil, err
	}
	c, err = getCheckpoint(either{v, name, func(s StepBack) { steps = append(steps, s) }}, parsed)
	return c, steps, err
}

func getCheckpoint(from source, name checkpointName) (*Checkpoint, error) {
	m, err := readCheckpoint(from, name)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Agent: m.agent, LSN: m.lsn, Clean: m.clean, Image: m.image, Time: m.time}
	for _, p := range m.parts {
		part := Part{Name: p.name}
		for i, hash := range p.chunks {
			piece, err := from.chunk(hash)
			if err != nil {
				return nil, fmt.Errorf("piece %d of part %s: %w", i+1, p.name, err)
			}
			part.Pieces = append(part.Pieces, piece)
		}
		c.Parts = append(c.Parts, part)
	}
	return c, nil
}

// Newest returns the newest checkpoint of an agent that verifies in every byte,
// with the image that it names, from either copy. Everything that was passed over
// on the way is in steps, also when there is an error. It changes nothing: see
// Quarantine.
func (v *Vault) Newest(agent string) (c *Checkpoint, steps []StepBack, err error) {
	told := func(s StepBack) { steps = append(steps, s) }
	names, err := v.either(told).names(agent)
	if err != nil {
		return nil, steps, err
	}
	if len(names) == 0 {
		return nil, steps, fmt.Errorf("%w of %s", ErrNoCheckpoint, agent)
	}
	for _, name := range names {
		from := either{v, name.String(), told}
		c, err := getCheckpoint(from, name)
		if err == nil {
			if _, err = getImage(from, c.Image); err == nil {
				return c, steps, nil
			}
		}
		told(stepBack(name.String(), err, false))
	}
	return nil, steps, &DamageError{v.path("checkpoints", agent), fmt.Sprintf("none of %d checkpoints verifies", len(names))}
}

// Quarantine moves what was passed over out of the way, for a person to look at:
// each damaged file, and all manifests of a checkpoint that was given up. Nothing
// is deleted, and what merely could not be read stays. It returns the new paths.
func (v *Vault) Quarantine(steps []StepBack) (moved []string, err error) {
	for _, s := range steps {
		if s.File == "" {
			continue
		}
		for _, w := range v.copies() {
			if rel, far := filepath.Rel(w.dir, s.File); far == nil && filepath.IsLocal(rel) {
				to, failed := w.quarantine(s.File)
				moved, err = append(moved, to), errors.Join(err, failed)
			}
			if name, bad := parseCheckpointName(s.Checkpoint); bad == nil && !s.FromCopy {
				to, failed := w.quarantine(w.path(name.rel()))
				moved, err = append(moved, to), errors.Join(err, failed)
			}
		}
	}
	return slices.DeleteFunc(moved, func(to string) bool { return to == "" }), err
}

// checkCheckpoints returns every damage of this copy's checkpoints. A chunk is
// read once.
func (v *Vault) checkCheckpoints() (damage []error) {
	agents, err := v.list("checkpoints")
	if err != nil {
		return []error{err}
	}
	whole := v.wholeChunks()
	for _, agent := range agents {
		files, err := v.list("checkpoints/" + agent)
		if err != nil {
			damage = append(damage, err)
		}
		for _, file := range files {
			name, err := parseCheckpointName(agent + "/" + file)
			if err == nil {
				err = v.verify(name, whole)
			}
			if err != nil {
				damage = append(damage, err)
			}
		}
	}
	return damage
}

// wholeChunks reads each chunk once.
func (v *Vault) wholeChunks() func(hash string) error {
	seen := map[string]error{}
	return func(hash string) error {
		err, known := seen[hash]
		if !known {
			_, err = v.chunk(hash)
			seen[hash] = err
		}
		return err
	}
}

func (v *Vault) verify(name checkpointName, whole func(hash string) error) error {
	m, err := readCheckpoint(v, name)
	if err != nil {
		return err
	}
	for _, hash := range m.chunks() {
		if err := whole(hash); err != nil {
			return fmt.Errorf("checkpoint %s: %w", name, err)
		}
	}
	if _, err := getManifest(v, m.image); err != nil {
		return fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return nil
}
