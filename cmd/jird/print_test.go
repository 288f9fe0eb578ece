package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What agents and archives give cannot steer the terminal that it is shown on.
func TestControlCharactersAreVisible(t *testing.T) {
	var b bytes.Buffer
	before := messages
	messages = &b
	say("%s", "a\x1b[2Jb\u009bc\r\nd\te")
	messages = before
	if got, want := b.String(), "jird: a\\x1b;[2Jb\\x9b;c\\xd;\njird: d\te\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	p := newPlace(t)
	dir := filepath.Join(p.dir, "a")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "\x1b]0;x\a.scm"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.ok("snapshot", "create", "a", "a")
	if shown := p.ok("snapshot", "show", "a/live"); !strings.Contains(shown, `\x1b;]0;x\x7;.scm`) || strings.Contains(shown, "\x1b") {
		t.Errorf("shown is %q", shown)
	}
}
