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
		return lines(), func() {}
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
		return fmt.Sprintf(" generation %d, %d evaluations, best %.5f", last.Generation, last.Evaluations, last.Best)
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

func lines() func(orchestrator.Event) {
	const every = 5 * time.Second
	next := time.Duration(0)
	return func(e orchestrator.Event) {
		if e.Message != "" {
			say("%s", e.Message)
		} else if e.Elapsed >= next {
			next = e.Elapsed + every
			say("generation %d, %d evaluations, best %.5f, %v", e.Generation, e.Evaluations, e.Best, e.Elapsed.Round(100*time.Millisecond))
		}
	}
}
