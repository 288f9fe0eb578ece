package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a page of docs tells a person to type is run as it stands, in an empty folder:
// all its blocks of sh, one after the other.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 2 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	ran := 0
	for _, page := range pages {
		script := blocks(t, page)
		if script == "" {
			continue
		}
		ran++
		t.Run(filepath.Base(page), func(t *testing.T) {
			place := newPlace(t)
			c := exec.Command("bash", "-euc", script)
			c.Dir, c.Env = t.TempDir(), append(os.Environ(), noSleep, "JIRD_HOME="+place.newHome("docs"))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if ran == 0 {
		t.Error("no page has a block of sh")
	}
}

// blocks are the blocks of sh of a page.
func blocks(t *testing.T, page string) string {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	inside := false
	for line := range strings.Lines(string(data)) {
		switch fence := strings.TrimSpace(line); {
		case fence == "```sh":
			inside = true
		case fence == "```":
			inside = false
		case inside:
			script.WriteString(line)
		}
	}
	return script.String()
}
