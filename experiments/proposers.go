package experiments

import (
	"cmp"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"jird/orchestrator/propose"
	"jird/population/ga"
)

// Proposer is a source of genomes: the operators, by the name gp, a program or a model.
// What it is made of is part of the spec by its text, so that a run can be resumed and
// repeated without the folder that it came from.
type Proposer struct {
	Name     string            `json:"name"`
	Share    float64           `json:"share"` // of the children; 0 for the bandit's
	Command  []string          `json:"command,omitempty"`
	Files    map[string]string `json:"files,omitempty"` // of the spec's folder that the command needs: text by path
	Env      []string          `json:"env,omitempty"`   // names of variables that the command gets
	Chat     *Chat             `json:"chat,omitempty"`
	Timeout  time.Duration     `json:"timeout_ns"` // of an attempt
	Parallel int               `json:"parallel"`
	Retries  int               `json:"retries"`
}

// Chat is a model behind an OpenAI-compatible endpoint.
type Chat struct {
	URL         string   `json:"url"`
	Model       string   `json:"model"`
	KeyEnv      string   `json:"key_env,omitempty"` // variable that holds the key
	Temperature *float64 `json:"temperature,omitempty"`
	MaxTokens   int      `json:"max_tokens"`           // of an answer
	LimitName   string   `json:"limit_name,omitempty"` // what the endpoint calls it, if not max_tokens
	PriceIn     float64  `json:"price_in"`             // per million tokens
	PriceOut    float64  `json:"price_out"`            // per million tokens
	System      string   `json:"system,omitempty"`     // template; empty: jird's own
	User        string   `json:"user,omitempty"`       // template; empty: jird's own
}

func (c *Chat) source(calling propose.Calling) propose.Chat {
	return propose.Chat{
		Calling: calling, URL: c.URL, Model: c.Model, KeyEnv: c.KeyEnv, Temperature: c.Temperature, MaxTokens: c.MaxTokens, LimitName: c.LimitName,
		System: c.System, User: c.User, PriceIn: c.PriceIn, PriceOut: c.PriceOut,
	}
}

// Ceilings are the most that the proposers of a run may use together; 0 is none.
type Ceilings struct {
	Calls  int     `json:"calls"`
	Tokens int     `json:"tokens"`
	Money  float64 `json:"money"` // in the currency of the prices
}

// Feature is one dimension of the archive.
type Feature struct {
	Name  string  `json:"name"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Cells int     `json:"cells"`
}

// Cascade has genomes measured on some cases first, and on the rest if they do well.
type Cascade struct {
	Cases  int     `json:"cases"`
	AtMost float64 `json:"at_most"`
}

// Bounds of what a proposer may bring along in bytes: it stands in every run's record.
const (
	maxProposerFile  = 256 << 10
	maxProposerFiles = 1 << 20
)

func (r *reader) proposers(to *[]Proposer) field {
	return func(n ast.Node, name string) {
		*to = nil
		for _, p := range r.pairs(n, name) {
			one := Proposer{Name: p.key, Share: 1, Timeout: time.Minute, Parallel: 4, Retries: 3}
			if !namePattern.MatchString(p.key) {
				r.fault(p.node, "proposer %q must be named with letters, digits, - and _", p.key)
			}
			fields := map[string]field{"share": r.share(&one.Share)}
			if p.key != ga.GP {
				fields["command"], fields["files"] = r.words(&one.Command, "a word of the command", r.text), r.files(&one)
				fields["env"] = r.words(&one.Env, "a variable", r.text)
				fields["timeout"], fields["parallel"], fields["retries"] = r.duration(&one.Timeout), r.integer(&one.Parallel, 1, 1000), r.integer(&one.Retries, 0, 20)
				fields["chat"] = func(n ast.Node, name string) {
					one.Chat = &Chat{MaxTokens: 4096}
					r.object(n, name, r.chatFields(one.Chat))
				}
			}
			r.object(p.value, "proposer "+p.key, fields)
			r.proposer(p.node, &one)
			*to = append(*to, one)
		}
	}
}

// proposer checks and completes one.
func (r *reader) proposer(n ast.Node, p *Proposer) {
	switch {
	case p.Name == ga.GP:
		*p = Proposer{Name: ga.GP, Share: p.Share}
		return
	case (p.Chat == nil) == (p.Command == nil):
		r.fault(n, "proposer %s needs either command or chat", p.Name)
	case p.Chat != nil && (p.Chat.URL == "" || p.Chat.Model == ""):
		r.fault(n, "proposer %s: chat needs url and model", p.Name)
	case p.Chat != nil && (p.Files != nil || p.Env != nil):
		r.fault(n, "proposer %s: files and env are for a command", p.Name)
	}
	if p.Chat != nil {
		_, err := propose.New(propose.Task{}, []propose.Source{p.Chat.source(p.calling())}, propose.Ceilings{}, nil, nil)
		for _, line := range split(err) {
			r.fault(n, "%s", line)
		}
	}
	for _, word := range p.Command {
		if info, err := os.Stat(filepath.Join(r.folder(), word)); filepath.IsLocal(word) && err == nil && info.Mode().IsRegular() {
			r.bring(n, p, word)
		}
	}
}

func (p Proposer) calling() propose.Calling {
	return propose.Calling{Name: p.Name, Timeout: p.Timeout, Retries: p.Retries, Parallel: p.Parallel}
}

func (r *reader) folder() string { return filepath.Dir(r.file) }

// share reads a weight, or the word bandit.
func (r *reader) share(to *float64) field {
	return func(n ast.Node, name string) {
		if s, ok := n.(*ast.StringNode); ok && s.Value == "bandit" {
			*to = 0
			return
		}
		v, ok := realNumber(n)
		if !ok || v <= 0 || v > 1000 {
			r.fault(n, "%s must be a number above 0 up to 1000, or bandit, not %s", name, shown(n))
			return
		}
		*to = v
	}
}

// files reads more files that a command needs.
func (r *reader) files(p *Proposer) field {
	return func(n ast.Node, name string) {
		var names []string
		r.words(&names, "a file", r.text)(n, name)
		for _, file := range names {
			r.bring(n, p, file)
		}
	}
}

// bring takes a file of the spec's folder into the spec.
func (r *reader) bring(n ast.Node, p *Proposer, file string) {
	text, ok := r.beside(n, file)
	if !ok {
		return
	}
	if p.Files == nil {
		p.Files = map[string]string{}
	}
	p.Files[filepath.Clean(file)] = text
	total := 0
	for _, text := range p.Files {
		total += len(text)
	}
	if total > maxProposerFiles {
		r.fault(n, "the files of proposer %s are over %d bytes together", p.Name, maxProposerFiles)
	}
}

// beside reads a text that stands in the spec's folder.
func (r *reader) beside(n ast.Node, file string) (text string, ok bool) {
	if !filepath.IsLocal(file) {
		r.fault(n, "%s must be in the folder of this file, or below", file)
		return "", false
	}
	data, err := readFile(filepath.Join(r.folder(), file))
	switch {
	case err != nil:
		r.fault(n, "%s cannot be read (%v); it is taken from beside this file", file, err)
	case len(data) > maxProposerFile || !utf8.Valid(data):
		r.fault(n, "%s must be a text in UTF-8 of at most %d bytes: it becomes part of each run's record. Name a larger program by its full path", file, maxProposerFile)
	default:
		return string(data), true
	}
	return "", false
}

func (r *reader) chatFields(c *Chat) map[string]field {
	template := func(to *string) field {
		return func(n ast.Node, name string) {
			var file string
			if r.text(&file)(n, name); file != "" {
				*to, _ = r.beside(n, file)
			}
		}
	}
	return map[string]field{
		"url": r.text(&c.URL), "model": r.text(&c.Model), "key-env": r.text(&c.KeyEnv),
		"temperature": func(n ast.Node, name string) {
			c.Temperature = new(float64)
			r.real(c.Temperature, 0, 2)(n, name)
		},
		"max-tokens": r.integer(&c.MaxTokens, 1, 1_000_000), "limit-name": r.oneOf(&c.LimitName, "max_tokens", "max_completion_tokens"),
		"price-in": r.real(&c.PriceIn, 0, 10_000), "price-out": r.real(&c.PriceOut, 0, 10_000),
		"system": template(&c.System), "user": template(&c.User),
	}
}

func (r *reader) ceilings(to **Ceilings) field {
	return func(n ast.Node, name string) {
		*to = &Ceilings{}
		r.object(n, name, map[string]field{
			"calls": r.integer(&(*to).Calls, 1, math.MaxInt32), "tokens": r.integer(&(*to).Tokens, 1, math.MaxInt),
			"money": r.real(&(*to).Money, 0.000001, 1e9),
		})
	}
}

func (r *reader) archive(to *[]Feature) field {
	return func(n ast.Node, name string) {
		*to = nil
		for _, p := range r.pairs(n, name) {
			f := Feature{Name: p.key, High: 1, Cells: 10}
			r.object(p.value, "feature "+p.key, map[string]field{
				"low": r.real(&f.Low, -1e300, 1e300), "high": r.real(&f.High, -1e300, 1e300), "cells": r.integer(&f.Cells, 1, 10_000),
			})
			*to = append(*to, f)
		}
	}
}

func (r *reader) cascade(to **Cascade) field {
	return func(n ast.Node, name string) {
		*to = &Cascade{Cases: 1}
		r.object(n, name, map[string]field{
			"cases": r.integer(&(*to).Cases, 1, 100_000), "at-most": r.real(&(*to).AtMost, -1e300, 1e300),
		})
	}
}

// completeProposers checks what goes together.
func (r *reader) completeProposers(root ast.Node, s *Spec) {
	at := func(key string) ast.Node { return cmp.Or(r.places[key], root) }
	asks := slices.ContainsFunc(s.Proposers, func(p Proposer) bool { return p.Name != ga.GP })
	if s.Evolve.Trust == "open" && !asks && !r.anyFaulty("proposers", "variants") {
		r.fault(at("trust"), "open code is not drawn or varied, so somebody must propose it: name proposers with a command or a chat")
	}
	if c := s.Search; s.Evolve.Trust == "open" && c.Generations == 0 && c.Budget == 0 && c.Stagnation == 0 && s.Ceilings == nil && !r.faulty["search"] {
		r.fault(at("search"), "proposers may have nothing to propose any more, and nothing would end the search: set search.generations, budget or stagnation, or ceilings")
	}
	if asks && strings.TrimSpace(s.Task) == "" && !r.anyFaulty("proposers", "task") {
		r.fault(at("proposers"), "task is missing: what proposers are told to write")
	}
	if !asks && s.Ceilings != nil {
		r.fault(at("ceilings"), "ceilings bound proposers with a command or a chat, and there are none")
	}
	if s.Evolve.Trust == "open" && len(s.Matrix.Controls) > 0 {
		r.fault(at("matrix"), "controls draw genomes, and open code cannot be drawn: drop matrix.controls")
	}
	if c := s.Search.Cascade; c != nil && c.Cases >= s.Train.Count && s.Train.Count > 0 {
		r.fault(at("cascade"), "cascade asks %d cases first of %d: leave some for those that do well", c.Cases, s.Train.Count)
	}
	if s.Evolve.Trust == "open" && (s.Train.Recipe != "()" || s.Validate.Recipe != "()" || s.Holdout.Recipe != "()") {
		r.fault(at("cases"), "the referee of open code, transcript-cases, takes no recipe: drop it")
	}
}
