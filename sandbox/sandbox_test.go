package sandbox

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jird/sandbox/isolation"
	"jird/snapshots/sexpr"
)

// cacheDir holds compiled objects for all tests of the package.
var cacheDir string

func TestMain(m *testing.M) {
	Stage()
	dir, err := os.MkdirTemp("", "jird-objects-")
	if err != nil {
		panic(err)
	}
	cacheDir = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
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
	o := Options{Runtime: r, Policy: isolation.Policy{Level: level}, Wall: 20 * time.Second}
	o.Compiler = &Compiler{Runtime: r, Cache: cacheDir, Level: level}
	return o
}

func TestTry(t *testing.T) {
	o := options(t, "fork", isolation.Level(cmp.Or(os.Getenv("LV"), "full")))
	z, err := OpenZygote(t.Context(), o, packer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	t.Log(z.Cases())
	begin := time.Now()
	var all []*Shadow
	for range 50 {
		s, err := z.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	t.Log("50 shadows", time.Since(begin))
	for _, s := range all[:3] {
		begin := time.Now()
		v, err := s.Ask(t.Context(), read(t, "(score 10000000 0 10 ((real (define (priority item remaining) (- item remaining)))))"))
		t.Log(time.Since(begin), err, show(v))
		v, err = s.Ask(t.Context(), read(t, "(call (place 42))"))
		t.Log(err, show(v))
		v, err = s.Ask(t.Context(), read(t, `(eval (open-input-file "/etc/passwd"))`))
		t.Log(err, show(v))
	}
	begin = time.Now()
	for _, s := range all {
		t.Log(s.Close())
		break
	}
	for _, s := range all {
		s.Close()
	}
	t.Log("closed", time.Since(begin))
}
