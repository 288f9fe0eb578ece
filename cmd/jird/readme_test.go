package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/sandbox"
)

// What README shows of a terminal is typed, line by line, and what it shows as answered
// must come, but for what it leaves out.
func TestReadmeIsATranscript(t *testing.T) {
	newPlace(t) // or it skips
	if r, err := sandbox.FindRuntime(t.Context(), "auto"); err != nil || r.String() != "gambit 4.9.3" {
		t.Skipf("README shows what gambit 4.9.3 does, here is %v (%v)", r, err)
	}
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	jird, err := exec.LookPath("jird")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(jird, filepath.Join(dir, "bin", "jird")); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash")
	screen := &terminal{}
	shell.Dir, shell.Stdout, shell.Stderr = dir, screen, screen
	shell.Env = append(os.Environ(), noSleep)
	keys, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, _ = keys.Write([]byte("kill $(jobs -p); wait\nexit\n"))
		keys.Close()
		_ = shell.Wait()
	}()
	commands := transcript(string(data))
	if len(commands) < 10 {
		t.Fatalf("README has %d commands", len(commands))
	}
	for _, c := range commands {
		screen.clear()
		if _, err := keys.Write([]byte(c.typed + "\necho ENDED $?\n")); err != nil {
			t.Fatal(err)
		}
		if lacks := screen.wait(append(c.answers, regexp.MustCompile("(?m)^ENDED 0$"))); lacks != nil {
			t.Fatalf("$ %s\ndoes not answer %q; it says\n%s", c.typed, lacks, screen.text())
		}
	}
}

// Whatever README tells to make, the Makefile makes.
func TestReadmeTargets(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)").FindAllSubmatch(readme, -1) {
		if !bytes.Contains(makefile, []byte("\n"+string(m[1])+":")) {
			t.Errorf("there is no target %s", m[1])
		}
	}
}

type command struct {
	typed   string
	answers []*regexp.Regexp
}

// transcript are the commands of a page's blocks, with what each answers. "..." stands for
// whatever is left out, and the number of workers is the machine's.
func transcript(page string) (all []command) {
	inside, typing := false, false // a block, and one with commands
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, " \n")
		typed, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside, typing = !inside, false
		case inside && isCommand:
			typing = true
			all = append(all, command{typed: typed})
		case typing && line != "" && line != "...":
			line = strings.TrimRight(line, "┐┤┘│") // a terminal has no room for the last column
			text := strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, ".*")
			text = regexp.MustCompile(`\d+ workers`).ReplaceAllString(text, `\d+ workers`)
			last := &all[len(all)-1]
			last.answers = append(last.answers, regexp.MustCompile("(?m)^"+text))
		}
	}
	return all
}

// terminal is what a shell has shown. Safe for concurrent use.
type terminal struct {
	mu    sync.Mutex
	shown bytes.Buffer
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.Write(p)
}

func (s *terminal) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.Reset()
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// wait waits until all has been shown; it returns what has not, or nil.
func (s *terminal) wait(all []*regexp.Regexp) (lacks *regexp.Regexp) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		lacks = nil
		for _, want := range all {
			if !want.MatchString(s.text()) {
				lacks = want
				break
			}
		}
		if lacks == nil {
			return nil
		}
	}
	return lacks
}
