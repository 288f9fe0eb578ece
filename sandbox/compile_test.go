package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"jird/sandbox/isolation"
)

// What was compiled once is taken from the cache, unless it is damaged: then it is
// compiled again.
func TestCompiledOnce(t *testing.T) {
	t.Parallel()
	o := options(t, "fork", isolation.Full)
	o.Compiler.Cache = filepath.Join(t.TempDir(), "new")
	source := Source{"add.scm", []byte("(define (add a b) (+ a b))")}
	object := func() []byte {
		t.Helper()
		_, object, err := o.Compiler.Object(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	first := object()
	cached, err := filepath.Glob(filepath.Join(o.Compiler.Cache, "*"))
	if err != nil || len(cached) != 1 {
		t.Fatalf("the cache holds %v, %v", cached, err)
	}
	// As if another compiler had been at work, whose object is taken as it is.
	if err := writeCached(cached[0], []byte("other")); err != nil {
		t.Fatal(err)
	}
	if got := object(); string(got) != "other" {
		t.Errorf("%d bytes were compiled again", len(got))
	}
	data, err := os.ReadFile(cached[0])
	if err == nil {
		data[len(data)-1] ^= 1
		err = os.WriteFile(cached[0], data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := object(); !bytes.Equal(got, first) {
		t.Errorf("of a damaged object come %d bytes, not %d", len(got), len(first))
	}
}

// A user's state folders share what is compiled; where there is no folder for it each
// has its own.
func TestCacheFolder(t *testing.T) {
	shared, home := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", shared)
	if got := Cache(home); got != filepath.Join(shared, "jird") {
		t.Errorf("shared: %s", got)
	}
	for _, none := range []string{"relative", filepath.Join(os.Args[0], "below a file")} {
		t.Setenv("XDG_CACHE_HOME", none)
		if got := Cache(home); got != filepath.Join(home, "cache") {
			t.Errorf("with %s: %s", none, got)
		}
	}
}
