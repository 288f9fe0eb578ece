package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
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
	return filepath.Join(v.dir, "refs", filepath.FromSlash(name)), nil
}

// Ref reads a ref such as packer/live.
func (v *Vault) Ref(name string) (ID, error) {
	path, err := v.refPath(name)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
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
	path, err := v.refPath(name)
	if err != nil {
		return err
	}
	if _, err := v.manifest(new); err != nil {
		return fmt.Errorf("ref %s: %w", name, err)
	}
	unlock, err := v.lock()
	if err != nil {
		return err
	}
	defer unlock()
	now, err := v.Ref(name)
	if err != nil && !errors.Is(err, ErrNoRef) {
		return err
	}
	if now != old {
		return fmt.Errorf("%w: %s is at %.12s, not at %.12s", ErrRefMoved, name, now, old)
	}
	return write(path, []byte(new+"\n"))
}

// ResetRef points a ref at an image whatever it points at now, even damage. Only
// whoever decides alone on the ref may call it. It is durable on return.
func (v *Vault) ResetRef(name string, to ID) error {
	path, err := v.refPath(name)
	if err != nil {
		return err
	}
	if _, err := v.manifest(to); err != nil {
		return fmt.Errorf("ref %s: %w", name, err)
	}
	unlock, err := v.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return write(path, []byte(to+"\n"))
}

// lock keeps the refs for one process at a time. flock(2) locks belong to the
// open file, so they hold between goroutines too, and end with the process.
func (v *Vault) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(v.dir, "refs", ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the refs: %w", err)
	}
	return func() { f.Close() }, nil
}

// Refs returns all refs by name.
func (v *Vault) Refs() (map[string]ID, error) {
	paths, err := filepath.Glob(filepath.Join(v.dir, "refs", "*", "*"))
	if err != nil {
		return nil, err
	}
	refs := map[string]ID{}
	for _, p := range paths {
		name := filepath.Base(filepath.Dir(p)) + "/" + filepath.Base(p)
		if !refPattern.MatchString(name) {
			continue
		}
		id, err := v.Ref(name)
		if err != nil {
			return nil, err
		}
		refs[name] = id
	}
	return refs, nil
}
