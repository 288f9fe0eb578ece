package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"jird/sandbox"
)

// Somebody who is not root runs an experiment, as isolated as root's.
func TestRunWithoutRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: every other test of this package shows it")
	}
	t.Parallel()
	if _, err := sandbox.FindRuntime(t.Context(), "auto"); err != nil {
		t.Skipf("skipped: %v", err)
	}
	if n, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err != nil || string(n) == "0\n" {
		t.Skip("skipped: this kernel gives no user namespaces to others than root")
	}
	dir, err := os.MkdirTemp("", "jird-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	program, cache := filepath.Join(dir, "jird"), filepath.Join(dir, "cache")
	copyFile(t, os.Args[0], program)
	shareCompiled(t, filepath.Join(cache, "jird"))
	jird := func(args ...string) []byte {
		t.Helper()
		c := exec.Command(program, args...)
		c.Dir, c.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + cache, asJird + "=1", noSleep}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		out, err := c.Output()
		if err != nil {
			var said []byte
			if exit, ok := err.(*exec.ExitError); ok {
				said = exit.Stderr
			}
			t.Fatalf("jird %v: %v\n%s", args, err, said)
		}
		return out
	}
	jird("init", "p")
	small(t, filepath.Join(dir, "p", "experiment.yaml"))
	agent := filepath.Join(dir, "p", "agent", "agent.scm")
	code, err := os.ReadFile(agent)
	if err == nil { // nobody has compiled this yet
		err = os.WriteFile(agent, fmt.Appendf(code, ";; %v\n", time.Now()), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Evaluations int
		Isolation   string
	}
	out := jird("run", "p/experiment.yaml", "--generations", "1", "--shadows", "4", "--output", "json")
	if err := json.Unmarshal(out, &r); err != nil || r.Evaluations < 20 || r.Isolation != "full" {
		t.Errorf("%+v, %v", r, err)
	}
}

// shareCompiled puts what this user has compiled into a cache that anybody may write.
func shareCompiled(t *testing.T, cache string) {
	t.Helper()
	err := os.MkdirAll(cache, 0o777)
	if err == nil {
		err = os.Chmod(cache, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(sandbox.Cache(t.TempDir()), "*.o1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		copyFile(t, object, filepath.Join(cache, filepath.Base(object)))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
