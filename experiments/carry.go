package experiments

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"jird/snapshots"
)

// Cargo is what an archive is to hold.
type Cargo struct {
	Images []snapshots.ID
	Refs   map[string]snapshots.ID
}

// Cargo finds what a person wants carried: images by word, of which a ref is carried
// too, and all images of runs and tournaments.
func (l *Lab) Cargo(words, runs []string) (*Cargo, error) {
	c := &Cargo{Refs: map[string]snapshots.ID{}}
	for _, word := range words {
		id, err := l.Vault.Find(word)
		if err != nil {
			return nil, err
		}
		c.Images = append(c.Images, id)
		if strings.Contains(word, "/") { // of what Find finds only a ref has one
			c.Refs[word] = id
		}
	}
	for _, run := range runs {
		images, err := l.Ledger.Images(run)
		if err != nil {
			return nil, err
		}
		for _, id := range images {
			c.Images = append(c.Images, snapshots.ID(id))
		}
	}
	slices.Sort(c.Images)
	c.Images = slices.Compact(c.Images)
	return c, nil
}

// What became of a ref of an archive.
const (
	RefSet     = "set"     // there was none of that name
	RefSame    = "same"    // it is at that image already
	RefKept    = "kept"    // it is at another image, and stays there
	RefMoved   = "moved"   // it was at another image
	RefGuarded = "guarded" // only the agent's guard moves it
)

// ArrivedRef is a ref of an archive and what became of it.
type ArrivedRef struct {
	Ref  string       `json:"ref"`
	Was  snapshots.ID `json:"was"` // empty: there was none
	To   snapshots.ID `json:"to"`
	Done string       `json:"done"`
}

// Arrival is what an archive brought.
type Arrival struct {
	Images []snapshots.ID `json:"snapshots"`
	New    int            `json:"new"`
	Refs   []ArrivedRef   `json:"refs"`
}

// Import takes the images of an archive, and its refs where there are none of the name.
// With move, refs that are elsewhere are moved after all of that has been said. The
// refs of an agent that was ever served are its guard's: they stay.
func (l *Lab) Import(r io.ReadSeeker, move bool) (*Arrival, error) {
	in, err := l.Vault.Import(r)
	if err != nil {
		return nil, err
	}
	a := &Arrival{Images: in.Images, New: in.New, Refs: []ArrivedRef{}}
	for _, name := range slices.Sorted(maps.Keys(in.Refs)) {
		ref, err := l.planRef(name, in.Refs[name], move)
		if err != nil {
			return nil, err
		}
		a.Refs = append(a.Refs, ref)
	}
	for _, ref := range a.Refs {
		l.sayRef(ref)
	}
	for i := range a.Refs {
		if err := l.pointRef(&a.Refs[i]); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (l *Lab) planRef(name string, to snapshots.ID, move bool) (ArrivedRef, error) {
	ref := ArrivedRef{Ref: name, To: to}
	agent, _, _ := strings.Cut(name, "/")
	served, err := l.served(agent)
	if err != nil {
		return ref, err
	}
	ref.Was, err = l.Vault.Ref(name)
	switch {
	case err != nil && !errors.Is(err, snapshots.ErrNoRef):
		return ref, err
	case ref.Was == to:
		ref.Done = RefSame
	case served:
		ref.Done = RefGuarded
	case ref.Was == "":
		ref.Done = RefSet
	case move:
		ref.Done = RefMoved
	default:
		ref.Done = RefKept
	}
	return ref, nil
}

func (l *Lab) sayRef(r ArrivedRef) {
	switch r.Done {
	case RefKept:
		l.Say("%s stays at %.12s, in the archive it is at %.12s; --force moves it", r.Ref, r.Was, r.To)
	case RefMoved:
		l.Say("%s moves from %.12s to %.12s", r.Ref, r.Was, r.To)
	case RefGuarded:
		l.Say("%s is its guard's and stays; have %.12s judged with `jird promote %.12s`", r.Ref, r.To, r.To)
	}
}

// pointRef carries out what was planned, if the ref is still where it was and nobody
// else decides on it.
func (l *Lab) pointRef(r *ArrivedRef) error {
	if r.Done != RefSet && r.Done != RefMoved {
		return nil
	}
	agent, _, _ := strings.Cut(r.Ref, "/")
	release, err := l.lock(agent, "")
	var held *HeldError
	if errors.As(err, &held) {
		r.Done = RefGuarded
		l.Say("%s stays: %v", r.Ref, err)
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	if served, err := l.served(agent); err != nil || served {
		return errors.Join(err, fmt.Errorf("%s has been served since this began; import again", agent))
	}
	return l.Vault.SwapRef(r.Ref, r.Was, r.To)
}
