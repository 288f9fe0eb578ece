package snapshots

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoImage is wrapped when a person's word for an image names none.
var ErrNoImage = errors.New("there is no snapshot")

// ErrManyImages is wrapped when it fits several.
var ErrManyImages = errors.New("there are several snapshots")

// Find returns the image that a person means: by its identity, the beginning of
// it that no other image has, or a ref.
func (v *Vault) Find(word string) (ID, error) {
	if refPattern.MatchString(word) {
		return v.Ref(word)
	}
	ids, err := v.IDs()
	if err != nil {
		return "", err
	}
	var found []ID
	for _, id := range ids {
		if word != "" && strings.HasPrefix(string(id), word) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w %q; `jird snapshot list` shows them, a ref such as NAME/live will do too", ErrNoImage, word)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w %q: %d begin so; give more digits", ErrManyImages, word, len(found))
}

// Name returns the name of an image's agent.
func (v *Vault) Name(id ID) (string, error) {
	m, err := getManifest(v, id)
	if err != nil {
		return "", err
	}
	return m.name, nil
}
