package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/orchestrator/serve"
	"jird/sandbox/isolation"
	"jird/snapshots"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "keep a live agent: calls, restarts, checkpoints, promotions", ArgsUsage: "NAME|DIR",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Usage: "Unix socket to answer on (default: guard.sock in the agent's data folder)"},
			&cli.StringFlag{Name: "tcp", Usage: "answer on this HOST:PORT of loopback too"},
			&cli.StringFlag{Name: "mode", Value: "sync", Usage: "sync: what is acknowledged is durable; batch: it may be up to 100 calls or 1 s ahead"},
			&cli.DurationFlag{Name: "deadline", Usage: "of a call that names none", DefaultText: "10s"},
			&cli.IntFlag{Name: "queue", Usage: "calls that may wait", DefaultText: "1000"},
			&cli.StringFlag{Name: "heap", Value: "64MiB", Usage: "what the agent's heap may reach"},
			&cli.StringFlag{Name: "resident", Usage: "between calls, replace a serving process that holds more memory than this (default: no limit)"},
			&cli.StringFlag{Name: "copy", Usage: "folder for a second copy of the checkpoints"},
			&cli.StringFlag{Name: "canary-state", Value: "shared", Usage: "shared: a candidate's writes stay; discard: they are kept apart until it is accepted"},
			&cli.StringFlag{Name: "runtime", Value: "auto", Usage: "auto, gambit or gerbil"},
			&cli.StringFlag{Name: "isolation", Value: "full", Usage: "full, or none (weak)"},
			&cli.BoolFlag{Name: "accept-loss", Usage: "go on although acknowledged calls may be missing, and record it"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "NAME|DIR"); err != nil {
				return err
			}
			o, err := guardOptions(c)
			if err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				name, err := lab.AgentName(c.Args().First())
				if err != nil {
					return err
				}
				o.Ready = func(socket string) { say("%s is served at %s", name, socket) }
				return lab.Serve(c.Context, name, o)
			})
		},
	}
}

func guardOptions(c *cli.Context) (o experiments.GuardOptions, err error) {
	o = experiments.GuardOptions{
		Socket: c.String("socket"), TCP: c.String("tcp"), Runtime: c.String("runtime"), Isolation: isolation.Level(c.String("isolation")),
		Deadline: c.Duration("deadline"), Queue: c.Int("queue"), Copy: c.String("copy"), AcceptLoss: c.Bool("accept-loss"),
	}
	for _, f := range []struct {
		name, off, on string
		to            *bool
	}{{"mode", "sync", "batch", &o.Batch}, {"canary-state", "shared", "discard", &o.Discard}} {
		switch c.String(f.name) {
		case f.off:
		case f.on:
			*f.to = true
		default:
			return o, usageError{fmt.Sprintf("--%s must be %s or %s", f.name, f.off, f.on)}
		}
	}
	for _, f := range []struct {
		name string
		to   *int64
	}{{"heap", &o.Heap}, {"resident", &o.Resident}} {
		if text := c.String(f.name); text != "" {
			if *f.to, err = experiments.ParseSize(text); err != nil {
				return o, usageError{fmt.Sprintf("--%s: %v", f.name, err)}
			}
		}
	}
	if o.Isolation != isolation.Full && o.Isolation != isolation.None {
		return o, usageError{"--isolation must be full or none"}
	}
	if o.Deadline < 0 || o.Queue < 0 {
		return o, usageError{"--deadline and --queue must be above zero"}
	}
	return o, nil
}

func agentFlag() cli.Flag {
	return &cli.StringFlag{Name: "agent", Usage: "the agent's name (default: the only one that is or was served, or that there is)"}
}

// agentName is what --agent says, or the only agent of the state folder.
func agentName(c *cli.Context, lab *experiments.Lab) (string, error) {
	if name := c.String("agent"); name != "" {
		return name, nil
	}
	names, err := lab.Agents()
	if err != nil {
		return "", err
	}
	if served := lab.Served(names); len(served) > 0 {
		names = served
	}
	if len(names) != 1 {
		return "", usageError{fmt.Sprintf("there are %d agents (%s): name one with --agent", len(names), strings.Join(names, ", "))}
	}
	return names[0], nil
}

func callCommand() *cli.Command {
	return &cli.Command{
		Name: "call", Usage: "call the live agent: an S-expression in, one out", ArgsUsage: "'(REQUEST)' (- reads it from standard input)",
		Flags: []cli.Flag{agentFlag(),
			&cli.StringFlag{Name: "socket", Usage: "the guard's socket (default: as the agent's guard says)"},
			&cli.StringFlag{Name: "id", Usage: "of this call: repeated, it gets the first one's answer"},
			&cli.StringFlag{Name: "sticky", Usage: "who calls, for a canary's split"},
			&cli.DurationFlag{Name: "deadline", Usage: "of this call", DefaultText: "the guard's"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "'(REQUEST)'"); err != nil {
				return err
			}
			text := c.Args().First()
			if text == "-" {
				data, err := io.ReadAll(io.LimitReader(os.Stdin, serve.MaxBody+1))
				if err != nil {
					return err
				}
				text = string(data)
			}
			client, err := guardClient(c)
			if err != nil {
				return err
			}
			header := http.Header{}
			for name, value := range map[string]string{serve.HeaderID: c.String("id"), serve.HeaderSticky: c.String("sticky")} {
				if value != "" {
					header.Set(name, value)
				}
			}
			if c.IsSet("deadline") {
				header.Set(serve.HeaderDeadline, c.Duration("deadline").String())
			}
			answer, _, err := client.Call(c.Context, text, header)
			if err != nil {
				return err
			}
			_, err = fmt.Println(visible(answer)) // the same datum: strings may spell them so
			return err
		},
	}
}

// guardClient reaches the guard that --socket or --agent names.
func guardClient(c *cli.Context) (client *serve.Client, err error) {
	if socket := c.String("socket"); socket != "" {
		return serve.NewClient(socket), nil
	}
	err = withLab(c, func(lab *experiments.Lab) error {
		name, err := agentName(c, lab)
		if err == nil {
			client, err = lab.Client(name)
		}
		return err
	})
	return client, err
}

func promoteCommand() *cli.Command {
	return &cli.Command{
		Name: "promote", Usage: "make a version live if it is better than what is, through its agent's guard", ArgsUsage: "GENOME|SNAPSHOT",
		Flags: append(outputFlags(), workersFlag(), isolationFlag(),
			&cli.BoolFlag{Name: "force", Usage: "by your own word, without evidence"},
			&cli.StringFlag{Name: "reason", Value: "asked for", Usage: "for the journal, with --force"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "GENOME|SNAPSHOT"); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				candidate, err := lab.Candidate(c.Args().First())
				if err != nil {
					return err
				}
				if !c.Bool("force") {
					e, err := lab.PromoteBetter(c.Context, candidate, o)
					if err != nil {
						return err
					}
					return printDecision(c, e)
				}
				ended, err := lab.Promote(c.Context, candidate.Agent, serve.Promotion{To: candidate.Image, Kind: journal.Forced, Reason: c.String("reason")})
				if err != nil {
					return err
				}
				return printEnded(c, candidate.Agent, ended)
			})
		},
	}
}

func rollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "make the version before live again", ArgsUsage: " ",
		Flags: append(outputFlags(), agentFlag(),
			&cli.StringFlag{Name: "to", Usage: "a snapshot that was live before (default: the one before the last promotion)"},
			&cli.StringFlag{Name: "reason", Value: "asked for", Usage: "for the journal"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			return withLab(c, func(lab *experiments.Lab) error {
				name, err := agentName(c, lab)
				if err != nil {
					return err
				}
				ended, err := lab.Rollback(c.Context, name, serve.Promotion{To: snapshots.ID(c.String("to")), Reason: c.String("reason")})
				if err != nil {
					return err
				}
				return printEnded(c, name, ended)
			})
		},
	}
}

func printEnded(c *cli.Context, name string, e serve.Ended) error {
	verdict := "kept " + string(e.From)[:12]
	if e.Promoted {
		verdict = fmt.Sprintf("%s/live is %.12s", name, e.To)
	}
	return emit(c, e, []table{{[]string{"promotion", "result", "reason"}, [][]string{{strconv.Itoa(e.Number), verdict, e.Reason}}}})
}

// printGuard shows what a guard says of itself, with the five figures by which the
// guard's worth is measured.
func printGuard(c *cli.Context, lab *experiments.Lab, name string) error {
	client, err := lab.Client(name)
	if err != nil {
		return err
	}
	data, err := client.Status(c.Context)
	if err != nil {
		return err
	}
	var s guard.Status
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	rows := [][]string{
		{"live version", string(s.Live.Version)},
		{"process", fmt.Sprintf("%d, %.1f MiB, %d restarts", s.Live.PID, float64(s.Live.Resident)/(1<<20), s.Live.Restarts)},
		{"journal", fmt.Sprintf("LSN %d, newest checkpoint %d", s.Live.LSN, s.Checkpoint)},
		{"calls", fmt.Sprintf("%d carried out, %d waiting, %d refused", s.Calls, s.Waiting, s.Counts.Refused)},
		{"memory", fmt.Sprintf("%d bytes", s.Memory.Bytes)},
	}
	if s.ReadOnly != "" {
		rows = append(rows, []string{"READ ONLY", s.ReadOnly})
	}
	if k := s.Canary; k != nil {
		rows = append(rows, []string{"promotion under way", fmt.Sprintf("%d of %.12s: %s, %d calls", k.Number, k.Candidate, k.Step, k.Calls)})
	}
	m := s.Metrics
	rows = append(rows,
		[]string{"recovery", fmt.Sprintf("%.1f ms median, %.1f ms at most", m.RecoveryP50, m.RecoveryMax)},
		[]string{"loss", fmt.Sprintf("%d accepted; acknowledged records were durable after %.1f ms at most", m.Losses, m.LossWindow)},
		[]string{"promotions that held", fmt.Sprintf("%d of %d", m.Held, m.Attempts)},
		[]string{"uptime", fmt.Sprintf("%.4f %%", 100*m.Uptime)},
		[]string{"overhead", fmt.Sprintf("%.3f ms a call", m.Overhead)})
	return emit(c, s, []table{{[]string{name, ""}, rows}})
}

func walCommand() *cli.Command {
	return &cli.Command{
		Name: "wal", Usage: "an agent's journal, read only",
		Subcommands: []*cli.Command{
			{Name: "verify", Usage: "read every record back and name every damage", ArgsUsage: " ", Flags: append(outputFlags(), agentFlag()),
				Action: func(c *cli.Context) error {
					return withLab(c, func(lab *experiments.Lab) error {
						name, err := agentName(c, lab)
						if err != nil {
							return err
						}
						r, err := lab.VerifyJournal(name)
						if err != nil {
							return err
						}
						if err := emit(c, r, []table{{[]string{"first", "last", "records", "bytes"}, [][]string{{fmt.Sprint(r.First), fmt.Sprint(r.Last), fmt.Sprint(r.Records), fmt.Sprint(r.Bytes)}}}}); err != nil {
							return err
						}
						return r.Damage()
					})
				}},
			{Name: "dump", Usage: "print the records, one S-expression a line, each after its LSN", ArgsUsage: " ", Flags: []cli.Flag{agentFlag()},
				Action: func(c *cli.Context) error {
					return withLab(c, func(lab *experiments.Lab) error {
						name, err := agentName(c, lab)
						if err != nil {
							return err
						}
						return lab.DumpJournal(os.Stdout, name)
					})
				}},
		},
	}
}
