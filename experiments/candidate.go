package experiments

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"jird/experiments/ledger"
	"jird/orchestrator"
	"jird/orchestrator/promote"
	"jird/sandbox"
	"jird/sandbox/isolation"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// ErrJudged is wrapped when two versions have been compared before: asked again and
// again, chance would promote something in the end.
var ErrJudged = errors.New("judged before")

var prefixPattern = regexp.MustCompile(`^[0-9a-f]{6,64}$`)

// Candidate is a version that somebody wants to be live.
type Candidate struct {
	Agent string
	Image snapshots.ID
	run   string // by whose rules its policy can be judged; empty: not known yet
}

// Candidate finds the snapshot, or the live version with the genome of the ledger,
// whose hash begins with prefix (at least six digits).
func (l *Lab) Candidate(prefix string) (*Candidate, error) {
	if !prefixPattern.MatchString(prefix) {
		return nil, fmt.Errorf("%q is not the hash of a snapshot or genome: at least 6 hexadecimal digits; see `jird snapshot list` and `jird report RUN`", prefix)
	}
	id, err := l.Vault.Find(prefix)
	if err == nil {
		name, err := l.Vault.Name(id)
		return &Candidate{Agent: name, Image: id}, err
	}
	if !errors.Is(err, snapshots.ErrNoImage) {
		return nil, err
	}
	found, err := l.Ledger.FindGenome(prefix)
	if err != nil {
		return nil, fmt.Errorf("no snapshot begins with %s, and %w", prefix, err)
	}
	return l.genomeCandidate(found)
}

// genomeCandidate stores the live version of a genome's agent with that genome in it.
func (l *Lab) genomeCandidate(found *ledger.Found) (*Candidate, error) {
	stored, err := l.Ledger.Load(found.Run)
	if err != nil {
		return nil, err
	}
	s, err := FromJSON(stored.Run.Spec)
	if err != nil {
		return nil, err
	}
	grammar, err := s.population()
	if err != nil {
		return nil, err
	}
	genome, err := grammar.Parse([]byte(found.Source))
	if err != nil {
		return nil, err
	}
	live, image, err := l.live(s.Name)
	if err != nil {
		return nil, err
	}
	a, err := orchestrator.ReadAgent(image, grammar, s.Evolve.File)
	if err != nil {
		return nil, err
	}
	id, err := l.Vault.Put(a.With(genome, live))
	return &Candidate{s.Name, id, found.Run}, err
}

func (l *Lab) live(name string) (snapshots.ID, *snapshots.Image, error) {
	id, err := l.Vault.Ref(name + "/live")
	if err != nil {
		return "", nil, err
	}
	image, err := l.Vault.Get(id)
	return id, image, err
}

// PromoteBetter has a candidate stand against what is live, on cases that are drawn for
// this one decision, and promotes it if it is better. Where the agent has a run, its
// policy is judged by the rules of the one it came from, else of the newest; where it
// has none, what it answers is judged as a proposal's.
func (l *Lab) PromoteBetter(ctx context.Context, c *Candidate, o Options) (*ledger.Explanation, error) {
	id, image, err := l.live(c.Agent)
	if err != nil {
		return nil, err
	}
	if id == c.Image {
		return nil, fmt.Errorf("%w: %.12s is what is live", ErrJudged, id)
	}
	if c.run == "" {
		if c.run, err = l.Ledger.NewestRun(c.Agent); err != nil {
			return nil, err
		}
	}
	of, judge := c.run, l.judgePolicy
	if of == "" {
		of, judge = c.Agent, l.judgeAnswers
	}
	unlock, err := l.lockAlone(of, of)
	if err != nil {
		return nil, err
	}
	defer unlock()
	number, decided, err := l.Ledger.Numbered(of, string(id), string(c.Image))
	if err != nil {
		return nil, err
	}
	if decided != nil {
		return nil, fmt.Errorf("%w: decision %s/%d compared %.12s with %.12s, which is live, and found: %s", ErrJudged, of, number, c.Image, id, decided.Reason)
	}
	if err := judge(ctx, c, o, number, id, image); err != nil {
		return nil, err
	}
	return l.Ledger.Explain(of, number)
}

// judgePolicy judges a candidate whose policy alone differs from what is live.
func (l *Lab) judgePolicy(ctx context.Context, c *Candidate, o Options, number int, live snapshots.ID, image *snapshots.Image) error {
	stored, err := l.Ledger.Load(c.run)
	if err != nil {
		return err
	}
	if stored.Status != orchestrator.RunDone {
		return fmt.Errorf("run %s, by whose rules this is judged, is not done; go on with: jird resume %s", c.run, c.run)
	}
	p, err := l.planOf(ctx, stored, o)
	if err != nil {
		return err
	}
	next, err := l.Vault.Get(c.Image)
	if err != nil {
		return err
	}
	if file := differ(image, next, p.Evolved); file != "" {
		return fmt.Errorf("%.12s differs from what is live in %s too, and run %s can judge %s only; have it live by your own word with --force", c.Image, file, c.run, p.Evolved)
	}
	a, err := orchestrator.ReadAgent(next, p.Search.Grammar, p.Evolved)
	if err != nil {
		return err
	}
	p.Record.Agent = string(live)
	_, err = orchestrator.Judge(ctx, p, l.deps(o), number, a.Incumbent, c.Image)
	return err
}

// judgeAnswers judges a candidate of an agent that no run evolves. Both begin with the
// memory of the live image.
func (l *Lab) judgeAnswers(ctx context.Context, c *Candidate, o Options, number int, live snapshots.ID, image *snapshots.Image) error {
	next, err := l.Vault.Get(c.Image)
	if err != nil {
		return err
	}
	box, err := l.box(ctx, "auto", o.Isolation)
	if err != nil {
		return err
	}
	memory := image.Memory
	if memory == nil {
		memory = sexpr.List{}
	}
	d := orchestrator.Decision{
		Run: c.Agent, Number: number, Incumbent: fmt.Sprintf("image %.12s", live), Winner: fmt.Sprintf("image %.12s", c.Image),
		IncumbentImage: string(live), WinnerImage: string(c.Image), Plan: openPlan(orchestrator.CaseSeed("promote/%s/%d/%s", c.Agent, number, c.Image)),
	}
	return l.judgeOpen(ctx, box, &d, image, next, memory, func() (string, error) {
		return l.promoteWinner(ctx, c.Agent, live, c.Image, fmt.Sprintf("decision %d of %s: %s", number, c.Agent, d.Reason))
	})
}

// Rules by which open code is judged.
const (
	openAlpha  = 0.01
	openEffect = 0.05
	openPower  = 0.8
	openCases  = 60
)

func openPlan(seed uint64) promote.Plan {
	return promote.NewPlan(openAlpha, openEffect, openPower, openCases, seed)
}

// judgeOpen carries a decision about open code out, from declaration to verdict.
// promoted is called if the candidate is better, and returns why that was refused, or "".
func (l *Lab) judgeOpen(ctx context.Context, box sandbox.Options, d *orchestrator.Decision, incumbent, candidate *snapshots.Image, memory sexpr.Value, promoted func() (refused string, err error)) error {
	err := orchestrator.JudgeOpen(ctx, box, l.Ledger, d, incumbent, candidate, memory)
	if err != nil {
		return err
	}
	if d.Stop == promote.Better {
		refused, err := promoted()
		if err != nil {
			return err
		}
		if refused != "" {
			d.Stop, d.Reason = promote.Lost, "refused: "+refused
		} else {
			d.Promoted, d.Snapshot = true, d.WinnerImage
		}
	}
	return l.Ledger.Decide(*d)
}

// box is how a live agent's processes, and those of its open code, are confined.
func (l *Lab) box(ctx context.Context, runtime string, level isolation.Level) (o sandbox.Options, err error) {
	if level == "" {
		level = isolation.Full
	}
	o.Policy.Level = level
	if o.Runtime, err = sandbox.FindRuntime(ctx, runtime); err != nil {
		return o, err
	}
	o.Compiler = &sandbox.Compiler{Runtime: o.Runtime, Cache: sandbox.Cache(l.Home), Level: level}
	return o, nil
}
