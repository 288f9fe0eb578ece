// Command jird evolves the code of a Scheme agent in forked, isolated shadows
// and promotes the winner if it is truly better.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/sandbox"
)

func main() {
	sandbox.Stage()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second signal ends the program at once
	err := app().RunContext(ctx, flagsFirst(os.Args))
	code := exitCode(err)
	if code == exitFailed && ctx.Err() != nil { // what failed was cut short
		err, code = errors.New("interrupted"), exitInterrupted
	}
	if err != nil && err.Error() != "" {
		say("%v", err)
	}
	os.Exit(code)
}

func app() *cli.App {
	a := &cli.App{
		Name: "jird", Usage: "evolve a Scheme agent in isolated shadows, and promote what is truly better",
		Flags: []cli.Flag{&cli.StringFlag{Name: "home", Value: ".jird", EnvVars: []string{"JIRD_HOME"}, Usage: "state folder"}},
		Commands: []*cli.Command{
			initCommand(), runCommand(), resumeCommand(), compareCommand(), evaluateCommand(), tournamentCommand(), replayCommand(), statusCommand(), reportCommand(), explainCommand(),
			ledgerCommand(), snapshotCommand(), doctorCommand(), versionCommand(),
			serveCommand(), callCommand(), promoteCommand(), rollbackCommand(), walCommand(), workerCommand(), keyCommand(), completionCommand(), helpCommand(),
		},
		OnUsageError:   misused,
		ExitErrHandler: func(*cli.Context, error) {}, // only main exits
		Action:         group,

		EnableBashCompletion: true, HideHelpCommand: true, // ours knows topics too
	}
	withCompletion(a.Commands)
	for _, c := range a.Commands {
		c.OnUsageError, c.HideHelpCommand = misused, true
		if c.Subcommands != nil {
			c.Action = group
		}
		for _, sub := range c.Subcommands {
			sub.OnUsageError, sub.HideHelpCommand = misused, true
		}
	}
	return a
}

// group is the action of a command that only has commands.
func group(c *cli.Context) error {
	commands := c.App.Commands
	if !c.Command.HasName("jird") {
		commands = c.Command.Subcommands
	}
	if !c.Args().Present() {
		if c.Command.HasName("jird") {
			return cli.ShowAppHelp(c)
		}
		return cli.ShowSubcommandHelp(c)
	}
	var names []string
	for _, known := range commands {
		names = append(names, known.Name)
	}
	return usageError{fmt.Sprintf("%s has no command %q; %s", c.Command.HelpName, c.Args().First(), experiments.Suggest(c.Args().First(), names))}
}

var flagFault = regexp.MustCompile(`^(flag provided but not defined: |flag needs an argument: |invalid value "(.*)" for flag )-+([^:]*)`)

// misused says what is wrong with a flag in our words.
func misused(c *cli.Context, err error, _ bool) error {
	m := flagFault.FindStringSubmatch(err.Error())
	if m == nil {
		return usageError{err.Error()}
	}
	var names []string
	for _, f := range append(c.Command.Flags, c.App.Flags...) {
		if f.Names()[0] != m[3] {
			names = append(names, "--"+f.Names()[0])
			continue
		}
		wanted := "value"
		switch f.(type) {
		case *cli.IntFlag, *cli.Uint64Flag:
			wanted = "whole number"
		case *cli.DurationFlag:
			wanted = "duration such as 90s or 10m"
		}
		if strings.HasPrefix(m[1], "invalid") {
			return usageError{fmt.Sprintf("--%s must be a %s, not %q", m[3], wanted, m[2])}
		}
		if strings.HasPrefix(m[1], "flag provided") {
			return usageError{fmt.Sprintf("--%s stands before the command: jird --%s %s %s ...", m[3], m[3], strings.ToUpper(m[3]), c.Command.Name)}
		}
		return usageError{fmt.Sprintf("--%s needs a %s", m[3], wanted)}
	}
	return usageError{fmt.Sprintf("%s has no flag --%s; %s", c.Command.HelpName, m[3], experiments.Suggest("--"+m[3], slices.Compact(slices.Sorted(slices.Values(names)))))}
}

// flagsFirst puts the flags that stand after a command's arguments before them,
// as the flag parser wants it and people do not.
func flagsFirst(args []string) []string {
	if completing(args) { // what the shell asks about is the last word
		return args
	}
	var words, flags []string
	dangling := false // the last flag has no value
	at := 1
	for ; at < len(args) && strings.HasPrefix(args[at], "-"); at++ { // the program's own
		if !strings.Contains(args[at], "=") && !alone(args[at]) {
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
		if strings.Contains(args[at], "=") || alone(args[at]) {
			continue
		}
		if dangling = at+1 == len(args); !dangling {
			at++
			flags = append(flags, args[at])
		}
	}
	depth := 1
	if len(words) > 1 && (words[0] == "ledger" || words[0] == "snapshot" || words[0] == "wal") {
		depth = 2 // the command's name has two words
	}
	depth = min(depth, len(words))
	if dangling { // so that it does not take a word for its value
		words = words[:depth]
	}
	return slices.Concat(args[:start], words[:depth], flags, words[depth:], args[min(at, len(args)):])
}

// alone says whether a flag takes no value.
func alone(arg string) bool {
	return slices.Contains([]string{"-h", "--help", "--force", "--accept-loss", "--matrix", "--yes", "--verify", "--watch", "--quiet"}, arg)
}

func wantArgs(c *cli.Context, names ...string) error {
	if c.NArg() == len(names) {
		return nil
	}
	wanted := strings.Join(names, " ")
	if wanted == "" {
		wanted = "no arguments"
	}
	return usageError{fmt.Sprintf("%s takes %s; see %s --help", c.Command.HelpName, wanted, c.Command.HelpName)}
}

// messages is where people are spoken to. A progress bar takes it over.
var messages io.Writer = os.Stderr

func say(format string, args ...any) {
	text := visible(strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	fmt.Fprintf(messages, "jird: %s\n", strings.ReplaceAll(text, "\n", "\njird: "))
}

// withLab runs f with the state folder open.
func withLab(c *cli.Context, f func(*experiments.Lab) error) error {
	lab, err := experiments.OpenLab(c.String("home"), say)
	if err != nil {
		return err
	}
	lab.Ledger.Jird = thisJird()
	return errors.Join(f(lab), lab.Close())
}
