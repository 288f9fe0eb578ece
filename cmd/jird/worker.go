package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"jird/experiments"
	"jird/orchestrator/remote"
)

// engineFlags say where a search is carried out, and as whom.
func engineFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "engine", EnvVars: []string{"JIRD_ENGINE"}, Usage: "where the search is carried out: local, nats (a queue in this process) or nats://HOST:PORT", DefaultText: asSpec},
		&cli.StringFlag{Name: "listen", Usage: "HOST:PORT where workers may join the queue in this process"},
		&cli.StringSliceFlag{Name: "worker-key", Usage: "public key of a worker that may join it; may be given more than once"},
	}, queueFlags()...)
}

func queueFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "nkey", EnvVars: []string{"JIRD_NKEY"}, Usage: "file with the key to log in with at the queue; jird key makes one"},
		&cli.StringFlag{Name: "tls-ca", Usage: "PEM file with who signed the other side's certificate"},
		&cli.StringFlag{Name: "tls-cert", Usage: "PEM file with our certificate"},
		&cli.StringFlag{Name: "tls-key", Usage: "PEM file with its key"},
	}
}

// engine reads the flags. What the spec says counts where there is no --engine.
func engine(c *cli.Context, spec string) (experiments.Engine, error) {
	e := experiments.Engine{
		Where: spec, Listen: c.String("listen"), Workers: c.StringSlice("worker-key"), NKey: c.String("nkey"),
		CA: c.String("tls-ca"), Cert: c.String("tls-cert"), Key: c.String("tls-key"),
	}
	if c.IsSet("engine") {
		e.Where = c.String("engine")
	}
	if fault := experiments.CheckEngine(e.Where); fault != "" {
		return e, usageError{"--engine " + fault}
	}
	if e.Where != "nats" && (e.Listen != "" || len(e.Workers) > 0) {
		return e, usageError{"--listen and --worker-key are for --engine nats, the queue in this process"}
	}
	if (e.Cert == "") != (e.Key == "") {
		return e, usageError{"--tls-cert and --tls-key go together"}
	}
	return e, nil
}

func workerCommand() *cli.Command {
	return &cli.Command{
		Name: "worker", Usage: "evaluate genomes for runs on other machines, until it is stopped",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "engine", EnvVars: []string{"JIRD_ENGINE"}, Usage: "the queue to work for, nats://HOST:PORT or tls://HOST:PORT"},
			&cli.StringFlag{Name: "runtime", Value: "auto", Usage: "auto, gambit or gerbil"},
			workersFlag(), isolationFlag(),
		}, queueFlags()...),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c); err != nil {
				return err
			}
			o, err := options(c)
			if err != nil {
				return err
			}
			if o.Engine, err = engine(c, ""); err != nil {
				return err
			}
			if !o.Engine.Apart() {
				return usageError{"jird worker needs --engine nats://HOST:PORT, the queue to work for"}
			}
			return withLab(c, func(lab *experiments.Lab) error {
				if err := lab.Work(c.Context, c.String("runtime"), o); err != nil {
					return err
				}
				say("stopped")
				return nil
			})
		},
	}
}

func keyCommand() *cli.Command {
	return &cli.Command{
		Name: "key", Usage: "make a key for a queue: the secret goes into a file, the public key is printed", ArgsUsage: "FILE",
		Flags: []cli.Flag{&cli.StringFlag{Name: "for", Usage: "worker or submitter: print the user's entry for a server's configuration instead"}},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, "FILE"); err != nil {
				return err
			}
			rights := map[string]func(string) remote.Rights{"": nil, "worker": remote.WorkerRights, "submitter": remote.SubmitterRights}
			of, known := rights[c.String("for")]
			if !known {
				return usageError{fmt.Sprintf("--for must be worker or submitter, not %q", c.String("for"))}
			}
			public, err := remote.NewKey(c.Args().First())
			if err != nil {
				return err
			}
			if of == nil {
				fmt.Println(public)
				return nil
			}
			fmt.Print(entry(public, of(public)))
			return nil
		},
	}
}

// entry is a user in the configuration of a NATS server
// (docs.nats.io/running-a-nats-service/configuration/securing_nats).
func entry(public string, r remote.Rights) string {
	list := func(subjects []string) string { return `["` + strings.Join(subjects, `", "`) + `"]` }
	respond := ""
	if r.Respond {
		respond = ", allow_responses: true"
	}
	return fmt.Sprintf("{ nkey: %s, permissions: { publish: { allow: %s }, subscribe: { allow: %s }%s } }\n", public, list(r.Publish), list(r.Subscribe), respond)
}
