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
	"tournament": "beecbada23cdaaac", "lexicase": "aa0836c2619a4741", "epsilon-lexicase": "3c5a59e38a9ae015",
	"random": "d3a5e47f67dacf13", "best-of-n": "dc594f64d34fed26", "moving": "83fcd2049ad06b2d",
}

func TestRunsWithoutSourcesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, want := range golden {
		cfg := config(t)
		seed, err := cfg.Grammar.Parse([]byte("(* x (+ x 1))"))
		if err != nil {
			t.Fatal(err)
		}
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
