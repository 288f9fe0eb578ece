package experiments

import (
	"errors"
	"strings"
	"testing"
)

func TestAssertions(t *testing.T) {
	numbers := map[string]float64{"blue.winrate": 0.6, "tit-for-tat.rank": 1, "promoted": 1}
	for text, failed := range map[string]int{
		"blue.winrate >= 0.6": 0, "blue.winrate>0.6": 1, "tit-for-tat.rank = 1 and blue.winrate < .7": 0,
		"promoted = true": 0, "promoted != true and blue.winrate<=0.5": 2, "blue.winrate > -1e3": 0,
	} {
		a, err := ParseAssertion(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Failed(numbers); err != nil || len(got) != failed {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, at := range map[string]int{
		"": 0, "0.6 < x": 0, "blue.winrate": 12, "blue.winrate ~ 1": 13, "blue.winrate >= ": 16, "blue.winrate >= high": 16,
		"blue.winrate >= 1 or x < 1": 18, "blue.winrate >= 1 and": 21, "blue.winrat >= 1": 0, "promoted = 1 and red.x < 1": 17,
	} {
		a, err := ParseAssertion(text)
		if err == nil {
			_, err = a.Failed(numbers)
		}
		var wrong *AssertionError
		if !errors.As(err, &wrong) || wrong.At != at {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseAssertion("blue.winrate ~ 1"); !strings.HasSuffix(err.Error(), "\n             ^ one of < <= > >= = != is wanted here") {
		t.Errorf("the place is not shown:\n%v", err)
	}
}
