package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/docs"
	"jird/experiments"
)

// helpCommand tells about a command, or prints a page of the documentation.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "tell about a command, or a topic: " + strings.Join(docs.Topics(), ", "), ArgsUsage: "[COMMAND|TOPIC]",
		BashComplete: func(c *cli.Context) { fmt.Println(strings.Join(helpful(c), "\n")) },
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			name := c.Args().First()
			if page, ok := docs.Page(name); ok {
				fmt.Print(page)
				return nil
			}
			if !slices.Contains(helpful(c), name) {
				return usageError{fmt.Sprintf("there is no help on %q; %s", name, experiments.Suggest(name, helpful(c)))}
			}
			return cli.ShowCommandHelp(c, name)
		},
	}
}

// helpful names all that help can be asked of.
func helpful(c *cli.Context) (names []string) {
	for _, command := range c.App.Commands {
		names = append(names, command.Name)
	}
	return append(names, docs.Topics()...)
}
