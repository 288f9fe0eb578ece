package snapshots

import "fmt"

// Checked is what a vault was found to hold.
type Checked struct {
	Images int
	Damage []error
	Unused int // chunks that nothing names: what an interrupted Put leaves
}

// Check reads every image, checkpoint and ref back and returns every damage that it
// finds, also in the second copy. It counts the images and chunks of the first.
func (v *Vault) Check() Checked {
	c := v.check()
	if second := v.second.Load(); second != nil {
		c.Damage = append(c.Damage, second.check().Damage...)
	}
	return c
}

func (v *Vault) check() (c Checked) {
	ids, err := v.IDs()
	if err != nil {
		return Checked{Damage: []error{err}}
	}
	c.Images = len(ids)
	for _, id := range ids {
		if _, err := getImage(v, id); err != nil {
			c.Damage = append(c.Damage, err)
		}
	}
	c.Damage = append(c.Damage, v.checkCheckpoints()...)
	c.checkRefs(v)
	c.countUnused(v)
	return c
}

func (c *Checked) checkRefs(v *Vault) {
	refs, err := v.Refs()
	if err != nil {
		c.Damage = append(c.Damage, err)
	}
	for name, id := range refs {
		if _, err := getManifest(v, id); err != nil {
			c.Damage = append(c.Damage, fmt.Errorf("ref %s: %w", name, err))
		}
	}
}

func (c *Checked) countUnused(v *Vault) {
	s := stock{names: map[string][]string{}}
	_, err := v.manifestChunks(&s) // damage is known by now
	if err == nil {
		err = v.storedChunks(&s)
	}
	if err != nil {
		c.Damage = append(c.Damage, err)
	}
	c.Unused = len(s.plan(MinGenerations).Chunks)
}
