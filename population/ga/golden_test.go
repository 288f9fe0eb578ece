package ga

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"jird/population"
)

// golden are the digests of runs without sources and archive as they were before there
// were any: README and ledgers rest on them.
var golden = map[string]string{
	"tournament": "faea5639aac0c941", "lexicase": "b6ac09d470ebc6ae", "epsilon-lexicase": "ffac88ec3294004c",
	"random": "c1d112abdef72557", "best-of-n": "3de0a4bd6b4bea3f", "moving": "b8b92e842afb593f",
}

func TestRunsWithoutSourcesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, want := range golden {
		cfg := config(t)
		seed, err := cfg.Grammar.Parse([]byte("(* x (+ x 1))"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Generations = 4 // with one migration
		cfg.Seeds = []*population.Genome{seed}
		switch name {
		case "random", "best-of-n":
			cfg.Control = Control(name)
		case "moving":
			cfg.Moving = true
		default:
			cfg.Selection.Kind = name
		}
		states, _ := run(t, cfg, nil, nil, &regression{})
		sum := sha256.New()
		for _, s := range states {
			sum.Write([]byte(signature(s)))
		}
		if got := hex.EncodeToString(sum.Sum(nil))[:16]; got != want {
			t.Errorf("%s: the digest is %s, was %s", name, got, want)
		}
	}
}
