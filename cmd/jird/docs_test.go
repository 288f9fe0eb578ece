package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
			typed(t, t.TempDir(), script, "JIRD_HOME="+place.home)
		})
	}
	if ran == 0 {
		t.Error("no page has a block of sh")
	}
}

// typed runs what a person, or a job, types in a folder.
func typed(t *testing.T, dir, script string, env ...string) {
	t.Helper()
	c := exec.Command("bash", "-euc", script)
	c.Dir, c.Env = dir, append(append(os.Environ(), noSleep), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// The steps of the ready job do what they say.
func TestJob(t *testing.T) {
	place := newPlace(t)
	data, err := os.ReadFile("../../experiments/examples/ci/evolve.yml")
	if err != nil {
		t.Fatal(err)
	}
	small(t, filepath.Join(place.dir, "p", "experiment.yaml"))
	dir, summary := filepath.Join(place.dir, "p"), filepath.Join(t.TempDir(), "summary.md")
	for _, name := range []string{"evolve", "report"} {
		script := step(string(data), name)
		if script == "" {
			t.Fatalf("the job has no step %s", name)
		}
		typed(t, dir, script, "JIRD_HOME="+place.home, "BUDGET=10s", "GITHUB_STEP_SUMMARY="+summary)
	}
	for file, want := range map[string]string{
		summary: "| operator |", dir + "/junit.xml": "<testcase", dir + "/report.html": "</html>", dir + "/run.jsonl": `{"table":"run"`, dir + "/agents.jirdpack": "jirdpack",
	} {
		if made, err := os.ReadFile(file); err != nil || !strings.Contains(string(made), want) {
			t.Errorf("%s lacks %q (%v)", file, want, err)
		}
	}
}

// small makes the packer's experiment one of seconds.
func small(t *testing.T, spec string) {
	t.Helper()
	data, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(count|population): *[0-9]+`).ReplaceAllString(string(data), "$1: 10")
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// step is what a job runs under a name.
func step(job, name string) string {
	_, rest, _ := strings.Cut(job, "- name: "+name+"\n")
	rest, _, _ = strings.Cut(rest, "      - ")
	_, script, _ := strings.Cut(rest, "run: |\n")
	return script
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
