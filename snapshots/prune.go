package snapshots

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Unneeded is what Prune found that nothing needs.
type Unneeded struct {
	Images    []ID
	Chunks    int   // that no other manifest names
	Leftovers int   // temporary files of writes that a crash ended, and indexes of images that go
	Bytes     int64 // of all of these
	Young     int   // images that nothing names but that were put too short a time ago
}

// Prune finds the images that nothing needs, and the chunks that no manifest would name
// without them; with remove it removes both. An image is needed if a ref or a checkpoint
// names it, in quarantine too, or needed says so of it and its agent's name. One that was
// put, or that a ref was moved away from, later than since stays: whoever has just put or
// found it may be about to name it.
//
// All is found out and done while nobody writes to the vault. The manifests are gone
// durably before the first chunk goes, so that a crash leaves at worst chunks that
// nothing names. While a manifest cannot be read nothing is removed but leftovers, and
// the damage is the error. A second copy is left as it is.
func (v *Vault) Prune(needed func(image ID, agent string) bool, since time.Time, remove bool) (Unneeded, error) {
	if err := v.failed(); err != nil {
		return Unneeded{}, err
	}
	unlock, err := v.fs.Lock(v.path("chunks/.lock"), !remove)
	if err != nil {
		return Unneeded{}, err
	}
	defer unlock()
	s := stock{names: map[string][]string{}}
	damage, err := v.manifestChunks(&s)
	if err != nil {
		return Unneeded{}, err
	}
	if err := v.storedChunks(&s); err != nil {
		return Unneeded{}, err
	}
	var u Unneeded
	if !s.unread {
		staying, err := v.findUnneeded(&u, needed, since)
		if err != nil {
			return Unneeded{}, err
		}
		stale, err := v.staleIndexes(staying)
		if err != nil {
			return Unneeded{}, err
		}
		s.leftovers = append(s.leftovers, stale...)
	}
	var manifests []string
	for _, id := range u.Images {
		manifests = append(manifests, "manifests/"+string(id))
	}
	chunks := s.unnamed(manifests)
	u.Chunks, u.Leftovers = len(chunks), len(s.leftovers)
	for _, files := range [][]string{manifests, chunks, s.leftovers} {
		for _, rel := range files {
			info, err := v.fs.Stat(v.path(rel))
			if err != nil {
				return Unneeded{}, err
			}
			u.Bytes += info.Size
		}
	}
	if !remove {
		return u, damage
	}
	return u, errors.Join(damage, v.removeAll(manifests, "manifests", chunks, s.leftovers))
}

// findUnneeded returns the images that stay.
func (v *Vault) findUnneeded(u *Unneeded, needed func(ID, string) bool, since time.Time) (staying map[ID]bool, err error) {
	ids, err := v.IDs()
	if err != nil {
		return nil, err
	}
	staying, err = v.namedImages()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		m, err := getManifest(v, id)
		if err != nil {
			return nil, err
		}
		if staying[id] || needed(id, m.name) {
			staying[id] = true
			continue
		}
		info, err := v.fs.Stat(v.manifestPath(id))
		if err != nil {
			return nil, err
		}
		if staying[id] = info.Modified.After(since); staying[id] {
			u.Young++
		} else {
			u.Images = append(u.Images, id)
		}
	}
	return staying, nil
}

// namedImages are the images that refs and checkpoints of the vault name.
func (v *Vault) namedImages() (map[ID]bool, error) {
	named := map[ID]bool{}
	refs, err := v.Refs()
	if err != nil {
		return nil, err
	}
	for _, id := range refs {
		named[id] = true
	}
	agents, err := v.list("checkpoints")
	if err != nil {
		return nil, err
	}
	folders := []string{"quarantine"}
	for _, agent := range agents {
		folders = append(folders, "checkpoints/"+agent)
	}
	for _, folder := range folders {
		files, err := v.list(folder)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := v.file(path.Join(folder, file))
			var m *checkpointManifest
			if err == nil {
				m, err = decodeCheckpoint(data)
			}
			switch {
			case err == nil:
				named[m.image] = true
			case folder != "quarantine":
				return nil, fmt.Errorf("no image is removed, for it may be named here: %w", err)
			case strings.Contains(file, "Z-manifests-"):
				named[ID(file[len(file)-64:])] = true // its folder has the same image, maybe, whole
			}
		}
	}
	return named, nil
}
