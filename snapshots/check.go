package snapshots

import (
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Checked is what a vault was found to hold.
type Checked struct {
	Images int
	Damage []error
	Unused int // chunks that no image names: what an interrupted Put leaves
}

// Check reads every image and ref back and returns every damage that it finds.
func (v *Vault) Check() Checked {
	var c Checked
	ids, err := v.IDs()
	if err != nil {
		return Checked{Damage: []error{err}}
	}
	c.Images = len(ids)
	used := map[string]bool{}
	for _, id := range ids {
		m, err := v.manifest(id)
		if err == nil {
			m.mark(used)
			_, err = v.Get(id)
		}
		if err != nil {
			c.Damage = append(c.Damage, err)
		}
	}
	c.checkRefs(v)
	chunks, err := fs.Glob(os.DirFS(v.dir), "chunks/??/*")
	if err != nil {
		c.Damage = append(c.Damage, err)
	}
	for _, p := range chunks {
		if !used[path.Base(p)] {
			c.Unused++
		}
	}
	return c
}

func (c *Checked) checkRefs(v *Vault) {
	refs, err := v.Refs()
	if err != nil {
		c.Damage = append(c.Damage, err)
	}
	for name, id := range refs {
		if _, err := v.manifest(id); err != nil {
			c.Damage = append(c.Damage, fmt.Errorf("ref %s: %w", name, err))
		}
	}
}

func (m *manifest) mark(used map[string]bool) {
	for _, hash := range m.memory {
		used[hash] = true
	}
	for _, e := range m.files {
		for _, hash := range e.chunks {
			used[hash] = true
		}
	}
}
