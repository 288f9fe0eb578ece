package snapshots

import "io"

// Imported is what an archive holds.
type Imported struct {
	Images []ID
	New    int           // images that were not in the vault
	Refs   map[string]ID // nothing was pointed: that is for who decides on refs
}

// Import takes the images of an archive. It reads all of it twice: once to see that it
// is whole, which touches nothing, and once to store it; no image can be seen before
// every byte has been verified both times. Importing again changes nothing. What is
// wrong with the archive is an *ArchiveError or wraps ErrNoArchive.
func (v *Vault) Import(r io.ReadSeeker) (*Imported, error) {
	if _, err := v.readArchive(r, func([]byte) error { return nil }); err != nil {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	imported, err := v.store(r)
	if err == nil {
		v.mirror()
	}
	return imported, err
}

func (v *Vault) store(r io.Reader) (*Imported, error) {
	end, err := v.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	there, err := v.IDs()
	if err != nil {
		return nil, err
	}
	known := map[ID]bool{}
	for _, id := range there {
		known[id] = true
	}
	b := v.newBatch()
	defer b.close()
	a, err := v.readArchive(r, func(plain []byte) error { _, err := b.put(plain); return err })
	if err != nil {
		return nil, err
	}
	imported := &Imported{Images: a.ids, Refs: a.refs}
	for i, m := range a.manifests {
		data, err := m.encode()
		if err != nil {
			return nil, err
		}
		if err := b.seal(v.manifestPath(a.ids[i]), data); err != nil {
			return nil, err
		}
		if !known[a.ids[i]] {
			imported.New++
		}
	}
	return imported, nil
}
