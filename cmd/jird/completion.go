package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/experiments/examples"
)

// completeFlag is the word that the cli library takes for a question of the shell.
const completeFlag = "--generate-bash-completion"

// The shell asks jird itself what may come next, so it knows the runs that there are.
// Where jird knows nothing it is a file's name.
const bashCompletion = `_jird() {
	local cur="${COMP_WORDS[COMP_CWORD]}" words
	words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	case "$cur" in -*) words+=("$cur") ;; esac
	COMPREPLY=($(compgen -W "$("${words[@]}" ` + completeFlag + ` 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _jird jird
`

// zsh runs what is written for bash.
const zshCompletion = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion

func completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cli.Command{
		Name: "completion", Usage: "print what lets a shell complete jird's commands, flags and runs", ArgsUsage: "bash|zsh|fish",
		Description:  "source <(jird completion bash)        # in ~/.bashrc; zsh the same in ~/.zshrc\njird completion fish > ~/.config/fish/completions/jird.fish",
		BashComplete: func(*cli.Context) { fmt.Println(strings.Join(shells, "\n")) },
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "SHELL"); err != nil {
				return err
			}
			text, err := completion(c)
			if err == nil {
				fmt.Print(text)
			}
			return err
		},
	}
}

func completion(c *cli.Context) (string, error) {
	switch shell := c.Args().First(); shell {
	case "bash":
		return bashCompletion, nil
	case "zsh":
		return zshCompletion, nil
	case "fish":
		return c.App.ToFishCompletion()
	default:
		return "", usageError{fmt.Sprintf("there is no completion for %q: use bash, zsh or fish", shell)}
	}
}

// completing says whether the shell is asking.
func completing(args []string) bool { return slices.Contains(args, completeFlag) }

// completeRuns names the runs and tournaments, newest last; what cannot be read is no
// reason to speak into somebody's line.
func completeRuns(c *cli.Context) {
	if last := len(os.Args) - 2; last > 0 && strings.HasPrefix(os.Args[last], "-") { // before completeFlag
		cli.DefaultCompleteWithFlags(c.Command)(c)
		return
	}
	if _, err := os.Stat(c.String("home")); err != nil {
		return // to ask makes no folder
	}
	lab, err := experiments.OpenLab(c.String("home"), func(string, ...any) {})
	if err != nil {
		return
	}
	defer lab.Close()
	runs, _ := lab.Ledger.Runs()
	for _, r := range runs {
		fmt.Println(r.Run)
	}
	tournaments, _ := lab.Ledger.Tournaments()
	for _, t := range tournaments {
		fmt.Println(t.Run)
	}
}

// withCompletion has each command that takes runs name them.
func withCompletion(commands []*cli.Command) {
	for _, c := range commands {
		if strings.HasPrefix(c.ArgsUsage, "RUN") || strings.HasPrefix(c.ArgsUsage, "TOURNAMENT ") {
			c.BashComplete = completeRuns
		}
		if c.Name == "init" {
			c.BashComplete = func(c *cli.Context) {
				cli.DefaultCompleteWithFlags(c.Command)(c)
				fmt.Println(strings.Join(examples.Names(), "\n"))
			}
		}
		withCompletion(c.Subcommands)
	}
}
