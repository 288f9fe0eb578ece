package remote

import (
	"fmt"
	"os"

	"github.com/nats-io/nkeys"
)

// NewKey makes a key to log in with: its seed goes into a new file that only its owner
// may read. It returns the public key, which the server is told (Config.Submitters or
// Config.Workers).
func NewKey(file string) (public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s\n", seed)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	return pair.PublicKey()
}

func readKey(file string) (nkeys.KeyPair, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("nkey: %w", err)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return nil, fmt.Errorf("nkey %s: it does not hold the seed of a user's key (SU...): %w", file, err)
	}
	return pair, nil
}
