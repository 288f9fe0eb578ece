package orchestrator

import (
	"fmt"
	"math"

	"jird/population"
	"jird/snapshots/sexpr"
)

// decode reads (scores RESULT ...), one per genome. An answer of another form
// is an error: the shadow is not to be trusted further. A referee's failure is a
// *RefereeError.
func decode(answer sexpr.Value, genomes []*population.Genome, cases int) ([]population.Outcome, error) {
	list, _ := answer.(sexpr.List)
	if len(list) != len(genomes)+1 || !sexpr.Equal(list[0], sexpr.Symbol("scores")) {
		return nil, fmt.Errorf("the answer is not a list of %d scores", len(genomes))
	}
	outcomes := make([]population.Outcome, len(genomes))
	for i, g := range genomes {
		outcome, err := decodeOne(list[i+1], g, cases)
		if err != nil {
			return nil, err
		}
		outcomes[i] = outcome
	}
	return outcomes, nil
}

func decodeOne(result sexpr.Value, g *population.Genome, cases int) (population.Outcome, error) {
	list, _ := result.(sexpr.List)
	if len(list) < 2 {
		return population.Outcome{}, fmt.Errorf("a result is not (STATUS DETAIL ...)")
	}
	status, _ := list[0].(sexpr.Symbol)
	switch status {
	case "ok":
		return decodeScores(list, cases)
	case "fuel":
		steps, _ := number(list[1])
		return population.Outcome{Status: population.Fuel, Detail: "the step budget ran out", Steps: int64(steps)}, nil
	case "memory":
		message, _ := list[1].(sexpr.String)
		return population.Outcome{Status: population.Memory, Detail: string(message)}, nil
	case "referee":
		message, _ := list[1].(sexpr.String)
		return population.Outcome{}, &RefereeError{Message: string(message), Genome: g.Expr()}
	}
	return population.Outcome{}, fmt.Errorf("a result has the unknown status %q", status)
}

func decodeScores(list sexpr.List, cases int) (population.Outcome, error) {
	if len(list) != cases+2 {
		return population.Outcome{}, fmt.Errorf("%d scores for %d cases", len(list)-2, cases)
	}
	steps, ok := number(list[1])
	if !ok {
		return population.Outcome{}, fmt.Errorf("the steps are not a number")
	}
	outcome := population.Outcome{Status: population.OK, Steps: int64(steps), Scores: make([]population.Score, cases)}
	for i, v := range list[2:] {
		score, features, ok := readScore(v)
		if !ok {
			return population.Outcome{}, fmt.Errorf("score %d is not a pair of finite numbers with the second above zero", i+1)
		}
		outcome.Features = joinFeatures(outcome.Features, i, features, 1)
		outcome.Scores[i] = score
	}
	return outcome, nil
}

func ratio(v sexpr.Value) (population.Score, bool) {
	pair, ok := v.(sexpr.Dotted)
	if !ok || len(pair.Items) != 1 {
		return population.Score{}, false
	}
	num, okNum := number(pair.Items[0])
	den, okDen := number(pair.Tail)
	return population.Score{Num: num, Den: den}, okNum && okDen && den > 0
}

// number reads an exact or inexact number that a float64 holds.
func number(v sexpr.Value) (float64, bool) {
	switch n := v.(type) {
	case sexpr.Float:
		return float64(n), !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0)
	case sexpr.Int:
		i, ok := n.Int64()
		return float64(i), ok
	}
	return 0, false
}
