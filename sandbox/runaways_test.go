package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"jird/sandbox/isolation"
)

// failure has a shadow evaluate what it must not answer.
func failure(t *testing.T, s *Shadow, text string) *Failure {
	t.Helper()
	v, err := s.Ask(t.Context(), read(t, "(eval "+text+")"))
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("%s: got %s and %v, want a failure", text, show(v), err)
	}
	return f
}

// TestRunaways shows that what a candidate may do to itself works within
// bounds, is ended beyond them, and told apart.
func TestRunaways(t *testing.T) {
	for _, kind := range []string{"fork", "spawn"} {
		roomy := options(t, kind, isolation.None)
		roomy.Policy.Heap = 256 << 20
		o := options(t, kind, isolation.Full)
		o.Policy.Heap = 32 << 20
		o.Wall = 3 * time.Second
		open, closed := engine(t, kind, roomy, probes(t)), engine(t, kind, o, probes(t))
		works := func(t *testing.T, text, want string) {
			t.Helper()
			if got := eval(t, shadow(t, open), text); got != want {
				t.Fatalf("with room, %s gives %s", text, got)
			}
		}
		t.Run(kind+"/loop for ever", func(t *testing.T) {
			works(t, "(probe-spin 1000)", "(value 0)")
			if f := failure(t, shadow(t, closed), "(probe-spin -1)"); f.Cause != TimedOut || f.CPU < 100*time.Millisecond {
				t.Error(f)
			}
		})
		t.Run(kind+"/sleep past the deadline", func(t *testing.T) {
			works(t, "(probe-sleep 0)", "(value 0)")
			if f := failure(t, shadow(t, closed), "(probe-sleep 60)"); f.Cause != TimedOut || f.CPU > f.Wall/2 {
				t.Error(f)
			}
		})
		// The runtime's own limit raises where the backstop would kill: the shadow
		// survives, and says what happened.
		for name, probe := range map[string]string{"recurse": "(probe-recurse %d)", "allocate": "(probe-allocate %d)"} {
			t.Run(kind+"/"+name+" without end", func(t *testing.T) {
				const enough = 6000 // vectors of 8 kB: over the limit, and within the roomy one
				n := enough
				if name == "recurse" {
					n = 2_000_000
				}
				if got := eval(t, shadow(t, open), fmt.Sprintf(probe, n)); strings.HasPrefix(got, "(raised") {
					t.Fatalf("with room it gives %s", got)
				}
				for _, n := range []int{n, -1} {
					s := shadow(t, closed)
					got := eval(t, s, fmt.Sprintf(probe, n))
					if !strings.HasPrefix(got, "(raised") || !strings.Contains(got, "overflow") {
						t.Errorf("%d: %s", n, got)
					}
					if got := eval(t, s, "(+ 1 2)"); got != "(value 3)" {
						t.Errorf("afterwards the shadow answers %s", got)
					}
				}
			})
		}
		t.Run(kind+"/flood stdout", func(t *testing.T) {
			for n, truncated := range map[int]bool{10: false, 20000: true} {
				s := shadow(t, closed)
				eval(t, s, fmt.Sprintf("(begin (probe-flood %d) 0)", n))
				exit := s.Close()
				if want := min(19*n, o.Output); len(exit.Stdout) != want || exit.Truncated != truncated {
					t.Errorf("of %d bytes, %d were kept (truncated %v), want %d", 19*n, len(exit.Stdout), exit.Truncated, want)
				}
			}
		})
		t.Run(kind+"/garbage in the channel", func(t *testing.T) {
			works(t, `(probe-say 1 "garbage")`, "(value 0)") // stdout takes it
			for name, bytes := range map[string]string{
				"length":  `\xff;\xff;\xff;\xff;garbage`,
				"no data": `\x0;\x0;\x0;`,
			} {
				f := failure(t, shadow(t, closed), fmt.Sprintf(`(begin (for-each (lambda (c) (write-u8 (char->integer c) jird-port)) (string->list "%s")) (force-output jird-port) (probe-sleep 60))`, bytes))
				if want := map[string]Cause{"length": Garbled, "no data": TimedOut}[name]; f.Cause != want {
					t.Errorf("%s: %v", name, f)
				}
			}
		})
		t.Run(kind+"/exit silently", func(t *testing.T) {
			for _, e := range []Engine{open, closed} {
				if f := failure(t, shadow(t, e), "(probe-exit 7)"); f.Cause != Ended || f.Exit.Code != 7 || f.Exit.Signal != 0 {
					t.Error(f)
				}
			}
		})
		t.Run(kind+"/jird goes on", func(t *testing.T) {
			if got := eval(t, shadow(t, closed), "(* 6 7)"); got != "(value 42)" {
				t.Error(got)
			}
		})
	}
}

// TestDiskSeenFromOutside: however a shadow tries, its workspace never holds
// more than its limit, and the next shadow finds it empty.
func TestDiskSeenFromOutside(t *testing.T) {
	o := options(t, "fork", isolation.Full)
	o.Slots = 1
	z := engine(t, "fork", o, probes(t)).(*Zygote)
	held := func() (bytes int64, files int) {
		err := filepath.WalkDir(z.Workspace(0), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			files++
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return bytes, files - 1
	}
	for _, try := range []string{
		`(let loop ((i 0)) (if (< i 8) (begin (probe-fill (number->string i) 1) (loop (+ i 1)))))`,
		`(probe-fill "big" 64)`,
		"(probe-create 2000)",
		"(probe-nest 2000 511)", // 0777
		"(begin (probe-nest 20 511) (probe-fill \"deep\" 64))",
	} {
		s := shadow(t, z)
		if got := eval(t, s, `(length (directory-files "."))`); got != "(value 0)" {
			t.Errorf("before %s the workspace holds %s", try, got)
		}
		s.Ask(t.Context(), read(t, "(eval "+try+")"))
		if bytes, files := held(); files == 0 || bytes > o.Policy.Workspace || files > 1024 {
			t.Errorf("%s: the workspace holds %d bytes in %d files", try, bytes, files)
		}
		s.Close()
		if _, files := held(); files != 0 {
			t.Errorf("%s: %d files are left", try, files)
		}
	}
	// A folder that its owner could not empty any more.
	if got := errno(t, eval(t, shadow(t, z), "(probe-nest 1 0)")); got != syscall.EPERM {
		t.Errorf("a folder of mode 0: %v", got)
	}
}
