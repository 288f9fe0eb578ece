package propose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"jird/sandbox"
)

// Command is any program: one request on stdin, one answer on stdout. It is the user's own
// and runs with the user's rights.
type Command struct {
	Calling
	Argv  []string // no shell reads it
	Dir   string   // that it runs in
	Files []string // there, that it needs beside those that Argv names
	Env   []string // names of variables that it gets, beside a plain PATH, HOME, TMPDIR and LANG
}

type command struct {
	Command
	files map[string]string // hash of each file
}

func (c Command) open() (source, error) {
	faults := c.check()
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		faults = append(faults, fmt.Errorf("proposer %q: it has no command: name a program and its arguments", c.Name))
	}
	made := &command{Command: c, files: map[string]string{}}
	for i, word := range slices.Concat(c.Argv, c.Files) {
		if i == 0 && !strings.Contains(word, "/") {
			continue // found in PATH: a version of the system's
		}
		path := word
		if !filepath.IsAbs(path) {
			path = filepath.Join(c.Dir, path)
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // not a file, or said when it is started
		}
		data, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("proposer %q: %w", c.Name, err))
		}
		sum := sha256.Sum256(data)
		made.files[word] = hex.EncodeToString(sum[:])
	}
	return made, errors.Join(faults...)
}

func (c *command) calling() Calling { return c.Calling }

func (c *command) identity() ([]byte, error) {
	return encode(struct {
		Kind  string            `json:"kind"`
		Argv  []string          `json:"argv"`
		Files map[string]string `json:"files"`
		Env   []string          `json:"env"`
	}{"command", c.Argv, c.files, c.Env})
}

func (c *command) prepare(_ Request, encoded []byte) ([]byte, cost, error) {
	return append(encoded[:len(encoded):len(encoded)], '\n'), cost{calls: 1}, nil
}

func (c *command) attempt(ctx context.Context, body []byte) ([]byte, cost, error) {
	var env []string
	var secrets []key
	for _, name := range c.Env {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
			secrets = append(secrets, newKey(value))
		}
	}
	out, said, err := sandbox.RunProgram(ctx, sandbox.Program{Argv: c.Argv, Dir: c.Dir, Env: env, Stdin: body, MaxOutput: maxAnswer})
	text := string(out)
	for _, k := range secrets {
		text, said = k.scrub(text), k.scrub(said)
	}
	var start *sandbox.StartError
	var failed *failure
	switch {
	case err == nil:
		return []byte(text), cost{calls: 1}, nil
	case errors.As(err, &start):
		if errors.Is(err, fs.ErrNotExist) {
			return nil, cost{}, fmt.Errorf("%w: name a program that is there, by a path from %s or one in PATH", err, c.Dir)
		}
		return nil, cost{}, err
	case errors.As(err, &failed): // its deadline
		return nil, cost{calls: 1}, failed
	case errors.Is(err, sandbox.ErrOutput):
		return nil, cost{calls: 1}, &failure{text: fmt.Sprintf("it wrote more than %d bytes", maxAnswer)}
	}
	return nil, cost{calls: 1}, &failure{text: line(fmt.Sprintf("it ended with %v: %s", err, said)), again: true}
}
