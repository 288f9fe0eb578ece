package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

func TestMain(m *testing.M) {
	Stage()
	os.Exit(m.Run())
}

func read(t testing.TB, text string) sexpr.Value {
	t.Helper()
	v, err := sexpr.Read([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func show(v sexpr.Value) string {
	b, err := sexpr.Canonical(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func packer(t testing.TB) Image {
	t.Helper()
	var im Image
	for _, name := range []string{"agent.scm", "fitness.scm"} {
		code, err := os.ReadFile(filepath.Join("../experiments/examples/packer/agent", name))
		if err != nil {
			t.Fatal(err)
		}
		im.Files = append(im.Files, Source{name, code})
	}
	im.Definitions = []Policy{{"real", read(t, "(define (priority item remaining) (- item remaining))")}}
	im.Recipe = &Recipe{Seed: 1, Count: 10, Data: read(t, `((class . "u") (capacity . 150) (low . 20) (high . 100) (items . 500))`)}
	return im
}

func options(t testing.TB, kind string, level isolation.Level) Options {
	t.Helper()
	r, err := FindRuntime(context.Background(), "auto")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	if level == isolation.Full {
		if _, err := isolation.Decide(isolation.Policy{Level: level}, isolation.Probe()); err != nil {
			t.Skipf("skipped: %v", err)
		}
	}
	o := Options{Runtime: r, Policy: isolation.Policy{Level: level, Workspace: 4 << 20}, Wall: 20 * time.Second, Output: 4 << 10, Slots: 8}
	o.Compiler = &Compiler{Runtime: r, Cache: Cache(t.TempDir()), Level: level}
	return o
}

// engine opens an image as the kind says.
func engine(t testing.TB, kind string, o Options, im Image) Engine {
	t.Helper()
	var e Engine
	var err error
	if kind == "fork" {
		e, err = OpenZygote(context.Background(), o, im)
	} else {
		e, err = OpenSpawner(context.Background(), o, im)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func shadow(t testing.TB, e Engine) *Shadow {
	t.Helper()
	s, err := e.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eval has a shadow evaluate an expression that answers.
func eval(t testing.TB, s *Shadow, text string) string {
	t.Helper()
	v, err := s.Ask(context.Background(), sexpr.List{symbol("eval"), read(t, text)})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return show(v)
}
