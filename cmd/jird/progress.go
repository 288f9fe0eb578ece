package main

import (
	"fmt"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"jird/experiments"
	"jird/orchestrator"
)

// progress shows a bar on a terminal and a line every few seconds elsewhere.
func progress(search experiments.Search) (show func(orchestrator.Event), end func()) {
	if columns(os.Stderr) == 0 {
		return lines(search), func() {}
	}
	return bar(search)
}

func bar(search experiments.Search) (show func(orchestrator.Event), end func()) {
	total := int64(search.Generations)
	if total == 0 {
		total = search.Budget.Milliseconds()
	}
	var last orchestrator.Event
	p := mpb.New(mpb.WithOutput(os.Stderr), mpb.WithWidth(24))
	b := p.AddBar(total, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
		if last.Evaluations == 0 {
			return " starting"
		}
		return " " + course(search, last)
	})))
	before := messages
	messages = p // above the bar
	show = func(e orchestrator.Event) {
		if e.Message != "" {
			say("%s", e.Message)
			return
		}
		last = e
		// One short of the end: a bar that is complete is drawn no more, and the
		// decision is still to come.
		if search.Generations > 0 {
			b.SetCurrent(min(int64(e.Generation), total-1))
		} else if total > 0 {
			b.SetCurrent(min(e.Elapsed.Milliseconds(), total-1))
		}
	}
	return show, func() {
		b.Abort(true)
		p.Wait()
		messages = before
	}
}

// course says how far a run is, how fast it goes and how long it has yet to go.
func course(search experiments.Search, e orchestrator.Event) string {
	text := fmt.Sprintf("generation %d", e.Generation)
	if search.Generations > 0 {
		text += fmt.Sprintf(" of %d", search.Generations)
	}
	text += fmt.Sprintf(", %d evaluations", e.Evaluations)
	if e.Elapsed > 0 {
		text += fmt.Sprintf(" (%.0f/s)", float64(e.Evaluations)/e.Elapsed.Seconds())
	}
	text += ", best " + score(e.Best)
	switch left, ok := search.Left(e); {
	case ok && left == 0:
		text += ", the winner is judged next"
	case ok:
		text += ", " + left.Round(time.Second).String() + " left"
		if search.Stagnation > 0 || search.Target != nil {
			text += " at most"
		}
	}
	return text
}

// every is how often a log is told how far something is.
const every = 5 * time.Second

func lines(search experiments.Search) func(orchestrator.Event) {
	next := time.Duration(0)
	return func(e orchestrator.Event) {
		if e.Message != "" {
			say("%s", e.Message)
		} else if e.Elapsed >= next {
			next = e.Elapsed + every
			say("%s", course(search, e))
		}
	}
}

// rounds tells how far a tournament is, every few seconds and at the end of a part.
func rounds() func(what string, n, of int) {
	var part string
	var began, told time.Time
	var from int
	return func(what string, n, of int) {
		now := time.Now()
		if what != part { // what was done before this process began says nothing of its pace
			part, began, told, from = what, now, now, n
		}
		if now.Sub(told) < every && n < of {
			return
		}
		told = now
		left := ""
		if n > from && n < of {
			left = fmt.Sprintf(", about %v left", (now.Sub(began) / time.Duration(n-from) * time.Duration(of-n)).Round(time.Second))
		}
		say("%s %d of %d%s", what, n, of, left)
	}
}
