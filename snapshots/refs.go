package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrNoRef is wrapped when a ref does not exist, ErrRefMoved when it is not what
// a swap expected.
var (
	ErrNoRef    = errors.New("no such ref")
	ErrRefMoved = errors.New("the ref has moved")
)

var refPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/(live|previous|candidate)$`)

func (v *Vault) refPath(name string) (string, error) {
	if !refPattern.MatchString(name) {
		return "", fmt.Errorf("%q is not a ref: NAME/live, NAME/previous or NAME/candidate", name)
	}
	return v.path("refs", name), nil
}

// Ref reads a ref such as packer/live.
func (v *Vault) Ref(name string) (ID, error) {
	path, err := v.refPath(name)
	if err != nil {
		return "", err
	}
	data, err := v.fs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNoRef, name)
	}
	if err != nil {
		return "", err
	}
	id := ID(strings.TrimSuffix(string(data), "\n"))
	if !hashPattern.MatchString(string(id)) {
		return "", &DamageError{path, "ref does not hold an identity"}
	}
	return id, nil
}

// SwapRef points a ref at new if it points at old now; an old of "" means that it
// must not exist. The manifest of new must verify. It is durable on return.
func (v *Vault) SwapRef(name string, old, new ID) error {
	return v.pointRef(name, new, func() error {
		now, err := v.Ref(name)
		if err != nil && !errors.Is(err, ErrNoRef) {
			return err
		}
		if now != old {
			return fmt.Errorf("%w: %s is at %.12s, not at %.12s", ErrRefMoved, name, now, old)
		}
		return nil
	})
}

// ResetRef points a ref at an image whatever it points at now, even damage. Only
// whoever decides alone on the ref may call it. It is durable on return.
func (v *Vault) ResetRef(name string, to ID) error {
	return v.pointRef(name, to, func() error { return nil })
}

// pointRef writes a ref, in both copies, if allowed says so while nobody else may
// write one.
func (v *Vault) pointRef(name string, to ID, allowed func() error) error {
	path, err := v.refPath(name)
	if err != nil {
		return err
	}
	if err := v.pointAlone(path, name, to, allowed); err != nil {
		return err
	}
	v.mirror()
	return nil
}

func (v *Vault) pointAlone(path, name string, to ID, allowed func() error) (err error) {
	end, err := v.begin() // no image is pruned meanwhile
	if err != nil {
		return err
	}
	defer end()
	if _, err := getManifest(v, to); err != nil {
		return fmt.Errorf("ref %s: %w", name, err)
	}
	unlock, err := v.fs.Lock(v.path("refs/.lock"), false)
	if err != nil {
		return err
	}
	if err = allowed(); err == nil {
		err = v.freshen(name)
	}
	if err == nil {
		err = v.writeRef(path, to)
	}
	return errors.Join(err, unlock())
}

// freshen makes the image that a ref is about to leave as young as one that was just
// put: whoever has read the ref may be about to name it elsewhere (see Prune).
func (v *Vault) freshen(ref string) error {
	var damage *DamageError
	id, err := v.Ref(ref)
	if errors.Is(err, ErrNoRef) || errors.As(err, &damage) {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := v.file("manifests/" + string(id))
	if errors.As(err, &damage) {
		return nil
	}
	if err != nil {
		return err
	}
	return v.write(v.manifestPath(id), data)
}

func (v *Vault) writeRef(path string, id ID) error {
	if err := v.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return v.write(path, []byte(id+"\n"))
}

// Refs returns all refs by name.
func (v *Vault) Refs() (map[string]ID, error) {
	agents, err := v.fs.ReadDir(v.path("refs"))
	if err != nil {
		return nil, err
	}
	refs := map[string]ID{}
	for _, agent := range agents {
		for _, kind := range []string{"live", "previous", "candidate"} {
			name := agent + "/" + kind
			if !refPattern.MatchString(name) {
				continue
			}
			id, err := v.Ref(name)
			if errors.Is(err, ErrNoRef) {
				continue
			}
			if err != nil {
				return nil, err
			}
			refs[name] = id
		}
	}
	return refs, nil
}
