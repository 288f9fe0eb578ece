package report

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"jird/experiments/ledger"
	"jird/population"
	"jird/snapshots/sexpr"
)

//go:embed page/*
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"laid": sexpr.Layout, "inc": func(i int) int { return i + 1 }, "num": num, "short": short, "pretty": pretty, "body": ledger.Body, "measured": measured, "saved": saved, "share": share,
	"mass": func(alpha *float64) string {
		if alpha == nil {
			return "none"
		}
		return fmt.Sprintf("%.3f", *alpha)
	},
	"score": func(s *float64) string {
		if s == nil {
			return "failed"
		}
		return num(*s)
	},
}).ParseFS(files, "page/*"))

// HTML writes the report of a run as a page.
func (r *Run) HTML(w io.Writer) error { return page(w, "run", r) }

// HTML writes the report of a tournament as a page.
func (t *Tournament) HTML(w io.Writer) error { return page(w, "tournament", t) }

// page makes the whole page before it writes any of it.
func page(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name+".html", data); err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	_, err := b.WriteTo(w)
	return err
}

func num(f float64) string { return fmt.Sprintf("%.4g", f) }

func short(hash string) string { return hash[:min(12, len(hash))] }

func share(f float64) string { return fmt.Sprintf("%.1f %%", 100*f) }

// pretty is a recorded spec over several lines.
func pretty(spec json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, spec, "", "  ") != nil {
		return string(spec)
	}
	return b.String()
}

func measured(m ledger.Measured) string {
	if m.Status != population.OK {
		return strings.TrimSpace(string(m.Status) + " " + m.Detail)
	}
	return num(m.Num / m.Den)
}

// saved is what the winner saves on a case.
func saved(c ledger.Compared) string {
	if c.Incumbent.Status != population.OK || c.Winner.Status != population.OK {
		return "none"
	}
	return num(c.Incumbent.Num/c.Incumbent.Den - c.Winner.Num/c.Winner.Den)
}
