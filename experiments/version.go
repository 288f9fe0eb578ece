package experiments

import (
	"fmt"
	"regexp"
	"strings"

	"jird/orchestrator"
	"jird/snapshots"
)

var prefixPattern = regexp.MustCompile(`^[0-9a-f]{6,64}$`)

// Version finds what is to become live: the snapshot, or the live version with the
// genome of the ledger, whose hash begins with prefix (at least six digits).
func (l *Lab) Version(prefix string) (agent string, id snapshots.ID, err error) {
	if !prefixPattern.MatchString(prefix) {
		return "", "", fmt.Errorf("%q is not the hash of a snapshot or genome: at least 6 hexadecimal digits; see `jird snapshot list` and `jird report RUN`", prefix)
	}
	ids, err := l.Vault.IDs()
	if err != nil {
		return "", "", err
	}
	var found []snapshots.ID
	for _, id := range ids {
		if strings.HasPrefix(string(id), prefix) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		image, err := l.Vault.Get(found[0])
		if err != nil {
			return "", "", err
		}
		return image.Name, found[0], nil
	case 0:
		return l.genomeVersion(prefix)
	}
	return "", "", fmt.Errorf("%d snapshots begin with %s; give more digits", len(found), prefix)
}

// genomeVersion stores the live version of a genome's agent with that genome in it.
func (l *Lab) genomeVersion(prefix string) (agent string, id snapshots.ID, err error) {
	found, err := l.Ledger.FindGenome(prefix)
	if err != nil {
		return "", "", fmt.Errorf("no snapshot begins with %s, and %w", prefix, err)
	}
	stored, err := l.Ledger.Load(found.Run)
	if err != nil {
		return "", "", err
	}
	s, err := FromJSON(stored.Run.Spec)
	if err != nil {
		return "", "", err
	}
	grammar, err := s.population()
	if err != nil {
		return "", "", err
	}
	genome, err := grammar.Parse([]byte(found.Source))
	if err != nil {
		return "", "", err
	}
	live, err := l.Vault.Ref(s.Name + "/live")
	if err != nil {
		return "", "", err
	}
	image, err := l.Vault.Get(live)
	if err != nil {
		return "", "", err
	}
	a, err := orchestrator.ReadAgent(image, grammar, s.Evolve.File)
	if err != nil {
		return "", "", err
	}
	id, err = l.Vault.Put(a.With(genome, live))
	return s.Name, id, err
}
