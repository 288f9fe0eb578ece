package sandbox

import (
	"context"
	"fmt"

	"jird/snapshots/sexpr"
)

// Effect is one thing that a call did beside answering, as the agent's procedures
// name it: (memory-set! KEY VALUE), (memory-delete! KEY), (checkpoint! TAG) or
// (propose! NAME EXPR).
type Effect = sexpr.List

// Answer is what a live agent's process gave for a call.
type Answer struct {
	Raised  bool // the agent raised an exception, and did nothing else
	Text    string
	Value   sexpr.Value
	Effects []Effect
}

// Changes says whether the call changed memory: its effects are then a write-set.
func (a *Answer) Changes() bool {
	for _, e := range a.Effects {
		if e[0] == symbol("memory-set!") || e[0] == symbol("memory-delete!") {
			return true
		}
	}
	return false
}

// BehindError says that a process does not hold the write-sets that it should.
type BehindError struct{ Has, Wants uint64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("the process holds %d write-sets, not %d", e.Has, e.Wants)
}

// Live has the shadow serve a call as a process of the live agent, which must
// hold sets write-sets; before are effects of earlier calls that only this one is
// to see. With commit, the call's write-set becomes part of the process's memory.
// The error is as Ask's, a *BehindError, or says that the answer has another form;
// only after a *BehindError may the shadow be used again.
func (s *Shadow) Live(ctx context.Context, sets uint64, commit bool, before []Effect, request sexpr.Value) (*Answer, error) {
	answer, err := s.Ask(ctx, sexpr.List{symbol("live"), number(int64(sets)), sexpr.Bool(commit), effectList(before), request})
	if err != nil {
		return nil, err
	}
	list, _ := answer.(sexpr.List)
	switch {
	case len(list) == 3 && list[0] == symbol("reply"):
		effects, ok := readEffects(list[2])
		if ok {
			return &Answer{Value: list[1], Effects: effects}, nil
		}
	case len(list) == 2 && list[0] == symbol("raised"):
		text, ok := list[1].(sexpr.String)
		if ok {
			return &Answer{Raised: true, Text: string(text)}, nil
		}
	}
	return nil, s.misspoke(list, sets)
}

// Apply gives a process of the live agent the effects of the write-sets from+1 to
// to. Errors are as Live's.
func (s *Shadow) Apply(ctx context.Context, from, to uint64, effects []Effect) error {
	answer, err := s.Ask(ctx, sexpr.List{symbol("apply"), number(int64(from)), number(int64(to)), effectList(effects)})
	if err != nil {
		return err
	}
	list, _ := answer.(sexpr.List)
	if len(list) == 2 && list[0] == symbol("applied") && sexpr.Equal(list[1], number(int64(to))) {
		return nil
	}
	return s.misspoke(list, from)
}

// Invariant asks the agent whether it finds itself in order; what is broken is
// said, or empty.
func (s *Shadow) Invariant(ctx context.Context) (broken string, err error) {
	answer, err := s.Ask(ctx, sexpr.List{symbol("invariant")})
	if err != nil {
		return "", err
	}
	list, _ := answer.(sexpr.List)
	switch {
	case len(list) == 1 && list[0] == symbol("sound"):
		return "", nil
	case len(list) == 2 && list[0] == symbol("broken"):
		if text, ok := list[1].(sexpr.String); ok {
			return string(text), nil
		}
	}
	return "", s.misspoke(list, 0)
}

// misspoke reads (behind N), or ends a shadow that is not to be trusted further.
func (s *Shadow) misspoke(list sexpr.List, wants uint64) error {
	if len(list) == 2 && list[0] == symbol("behind") {
		if n, ok := list[1].(sexpr.Int); ok {
			if has, fits := n.Int64(); fits {
				return &BehindError{uint64(has), wants}
			}
		}
	}
	return &Failure{Cause: Garbled, Exit: s.Kill(), Err: fmt.Errorf("the answer is not of the protocol's form")}
}

func effectList(effects []Effect) sexpr.List {
	list := make(sexpr.List, len(effects))
	for i, e := range effects {
		list[i] = e
	}
	return list
}

// effectSizes is how many items each effect has.
var effectSizes = map[sexpr.Value]int{symbol("memory-set!"): 3, symbol("memory-delete!"): 2, symbol("checkpoint!"): 2, symbol("propose!"): 3}

func readEffects(v sexpr.Value) ([]Effect, bool) {
	list, ok := v.(sexpr.List)
	if !ok {
		return nil, false
	}
	effects := make([]Effect, len(list))
	for i, item := range list {
		e, ok := item.(sexpr.List)
		if !ok || len(e) == 0 || !isSymbol(e[0]) || effectSizes[e[0]] != len(e) {
			return nil, false
		}
		effects[i] = e
	}
	return effects, true
}

func isSymbol(v sexpr.Value) bool { _, ok := v.(sexpr.Symbol); return ok }

// Exited is closed when the process has been reaped.
func (s *Shadow) Exited() <-chan struct{} { return s.exited }
