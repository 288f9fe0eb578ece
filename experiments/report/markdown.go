package report

import (
	"fmt"
	"io"
	"strings"

	"jird/experiments/ledger"
	"jird/orchestrator"
)

// markdown collects a summary as GitHub and GitLab show it. Text from outside goes through
// word or fence.
type markdown struct{ strings.Builder }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// row is one of a table; its cells are words.
func (m *markdown) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

func (m *markdown) table(head ...string) {
	m.line("")
	m.row(head...)
	m.line("|%s", strings.Repeat(" --- |", len(head)))
}

// fence is code, between marks longer than any in it.
func (m *markdown) fence(code string) {
	mark := "```"
	for strings.Contains(code, mark) {
		mark += "`"
	}
	m.line("\n%sscheme\n%s\n%s", mark, code, mark)
}

// word is text from outside in a line: nothing in it is markup, and nothing a mention.
var word = strings.NewReplacer("\\", `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `&lt;`, ">", `&gt;`, "&", `&amp;`,
	"|", `\|`, "~", `\~`, "$", `\$`, "#", `\#`, "!", `\!`, "@", `&#64;`, "://", `:&#47;/`, "\n", " ", "\r", " ").Replace

// Markdown writes a summary of the run.
func (r *Run) Markdown(w io.Writer) error {
	var m markdown
	m.line("## %s\n\n**%s**", word(r.Info.Run), word(r.Answer()))
	if r.Incumbent != nil && r.Winner != nil {
		m.table("", "training", "unseen")
		m.row("incumbent", num(r.Incumbent.Train), num(r.Incumbent.Holdout))
		m.row("winner", num(r.Winner.Train), num(r.Winner.Holdout))
		m.fence(r.Winner.Expr)
	}
	m.decision(r.Decision)
	m.table("operator", "measured", "better than their parents", "best so far")
	for _, o := range r.Operators {
		m.row(word(o.Name), fmt.Sprint(o.Made), fmt.Sprint(o.Better), fmt.Sprint(o.Paid))
	}
	if len(r.Proposers) > 0 {
		m.table("proposer", "asked", "accepted", "refused", "calls", "tokens", "cost")
	}
	for _, u := range r.Proposers {
		m.row(word(u.Proposer), fmt.Sprint(u.Asked), fmt.Sprint(u.Accepted), fmt.Sprint(u.AllRefused()), fmt.Sprint(u.Calls), fmt.Sprint(u.TokensIn+u.TokensOut), fmt.Sprintf("%.4f", u.Money()))
	}
	m.line("\n%d evaluations in %d generations and %.1f s, %.1f per second; %d shadows at once; isolation %s.", r.Evaluations, r.Info.Generations, r.Seconds, r.Rate(), r.ShadowsPeak, word(r.Isolation))
	m.origin(r.Origin, r.Jird)
	_, err := io.WriteString(w, m.String())
	return err
}

// Markdown writes a summary of the tournament.
func (t *Tournament) Markdown(w io.Writer) error {
	var m markdown
	m.line("## %s\n\n**%s**", word(t.Standings.Run), word(t.Answer()))
	for _, warning := range t.Warnings {
		m.line("\n> %s", word(warning))
	}
	m.table("side", "rank", "entrant", "mean", "interval", "won", "drawn", "lost", "rating")
	for _, s := range t.Standings.Standings {
		m.row(word(s.Side), ranks(s), word(s.Name), fmt.Sprintf("%.3f", s.Mean), fmt.Sprintf("%.3f to %.3f", s.Means[0], s.Means[1]),
			fmt.Sprint(s.Wins), fmt.Sprint(s.Draws), fmt.Sprint(s.Losses), rating(s))
	}
	for _, g := range t.Generality {
		m.line("\n%s %s against %d it had never met: mean %.3f, win rate %.3f in %d matches.", word(g.Side), word(g.Champion), g.Opponents, g.Mean, g.WinRate, g.Matches)
	}
	m.decision(t.Decision)
	m.line("\n%d matches in %d rounds, %d forfeits.", t.Matches, t.Rounds, t.Forfeits)
	m.origin(t.Origin, t.Jird)
	_, err := io.WriteString(w, m.String())
	return err
}

func (m *markdown) decision(e *ledger.Explanation) {
	if e == nil || e.Decided == nil || len(e.Decided.Looks) == 0 {
		return
	}
	m.table("look at", "incumbent", "winner", "saves", "p", "")
	for _, l := range e.Decided.Looks {
		m.row(fmt.Sprint(l.N), num(l.Incumbent), num(l.Winner), num(l.Statistic), num(l.P), word(string(l.Stop)))
	}
}

func (m *markdown) origin(o ledger.Origin, jird string) {
	if o.Jird != "" && o.Jird != jird {
		jird = o.Jird + ", reported by " + jird
	}
	m.line("\nSeed %d, %s, spec %s, agent %s, evaluator %s, jird %s.", o.Seed, word(o.Runtime), word(short(o.SpecHash)), word(short(o.Agent)), word(short(o.Evaluator)), word(jird))
}

// ranks is a rank, with the ranks it may be.
func ranks(s orchestrator.Standing) string {
	if s.Ranks[0] == s.Ranks[1] {
		return fmt.Sprintf("%g", s.Rank)
	}
	return fmt.Sprintf("%g (%g to %g)", s.Rank, s.Ranks[0], s.Ranks[1])
}

func rating(s orchestrator.Standing) string {
	return fmt.Sprintf("%.0f ± %.0f", s.Rating, halfWidth(s.RD))
}
