// Command jird evolves the code of a Scheme agent in forked, isolated shadows
// and promotes the winner if it is truly better.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator"
	"jird/orchestrator/guard"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/wal"
)

func main() {
	sandbox.Stage()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := app().RunContext(ctx, flagsFirst(os.Args))
	stop()
	if err != nil && err.Error() != "" {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, "jird: "+line)
		}
	}
	os.Exit(exitCode(err))
}

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1 // jird could not do its job
	exitUsage       = 2
	exitInvalid     = 3 // the spec or the agent is at fault
	exitIsolation   = 6 // this machine cannot isolate as asked
	exitDamaged     = 7 // a store is damaged
	exitInterrupted = 130
)

// usageError is a command line that cannot be understood.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

// errInterrupted ends a command whose result has been printed.
var errInterrupted = errors.New("")

func exitCode(err error) int {
	var (
		usage   usageError
		spec    *experiments.SpecError
		agent   *orchestrator.AgentError
		load    *sandbox.LoadError
		referee *orchestrator.RefereeError
		damage  *snapshots.DamageError
		corrupt *wal.CorruptError
		doubt   *guard.DoubtError
	)
	if status, ok := refused(err); ok {
		return status
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &spec), errors.As(err, &agent), errors.As(err, &load), errors.As(err, &referee):
		return exitInvalid
	case errors.Is(err, isolation.ErrUnavailable):
		return exitIsolation
	case errors.As(err, &damage), errors.As(err, &corrupt), errors.As(err, &doubt):
		return exitDamaged
	}
	return exitFailed
}

func app() *cli.App {
	usage := func(_ *cli.Context, err error, _ bool) error {
		return usageError{err.Error() + "; see jird help"}
	}
	a := &cli.App{
		Name: "jird", Usage: "evolve a Scheme agent in isolated shadows, and promote what is truly better",
		Flags: []cli.Flag{&cli.StringFlag{Name: "home", Value: ".jird", EnvVars: []string{"JIRD_HOME"}, Usage: "state folder"}},
		Commands: []*cli.Command{
			initCommand(), runCommand(), resumeCommand(), evaluateCommand(), statusCommand(), reportCommand(), explainCommand(),
			ledgerCommand(), snapshotCommand(), doctorCommand(), versionCommand(),
			serveCommand(), callCommand(), promoteCommand(), rollbackCommand(), walCommand(),
		},
		OnUsageError:   usage,
		ExitErrHandler: func(*cli.Context, error) {}, // only main exits
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Sprintf("there is no command %q; see jird help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
	}
	return a
}

// flagsFirst puts the flags that stand after a command's arguments before them,
// as the flag parser wants it and people do not. All our flags but help take a
// value.
func flagsFirst(args []string) []string {
	var words, flags []string
	at := 1
	for ; at < len(args) && strings.HasPrefix(args[at], "-"); at++ { // the program's own
		if !strings.Contains(args[at], "=") && !isHelp(args[at]) {
			at++
		}
	}
	start := min(at, len(args))
	for ; at < len(args) && args[at] != "--"; at++ {
		if !strings.HasPrefix(args[at], "-") || args[at] == "-" {
			words = append(words, args[at])
			continue
		}
		flags = append(flags, args[at])
		if !strings.Contains(args[at], "=") && !isHelp(args[at]) && at+1 < len(args) {
			at++
			flags = append(flags, args[at])
		}
	}
	depth := 1
	if len(words) > 1 && (words[0] == "ledger" || words[0] == "snapshot" || words[0] == "wal") {
		depth = 2 // the command's name has two words
	}
	depth = min(depth, len(words))
	return slices.Concat(args[:start], words[:depth], flags, words[depth:], args[min(at, len(args)):])
}

func isHelp(arg string) bool { return arg == "-h" || arg == "--help" }

func wantArgs(c *cli.Context, names ...string) error {
	if c.NArg() == len(names) {
		return nil
	}
	return usageError{fmt.Sprintf("%s takes %s; see jird %s --help", c.Command.FullName(), strings.Join(append(names, ""), " "), c.Command.FullName())}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "jird: "+format+"\n", args...)
}

// withLab runs f with the state folder open.
func withLab(c *cli.Context, f func(*experiments.Lab) error) error {
	lab, err := experiments.OpenLab(c.String("home"), say)
	if err != nil {
		return err
	}
	return errors.Join(f(lab), lab.Close())
}
