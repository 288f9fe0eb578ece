package experiments

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Assertion is what must hold of a result's numbers:
//
//	assertion  = comparison { "and" comparison }
//	comparison = name operator number
//	operator   = "<" | "<=" | ">" | ">=" | "=" | "!="
//
// where a name is of letters, digits, "-", "_" and ".", and a number is as Go writes
// it, or true or false.
type Assertion struct {
	text  string
	parts []comparison
}

type comparison struct {
	name, operator string
	number         float64
	at, end        int // of the name, and behind the number, in bytes
}

// AssertionError says where an assertion is wrong.
type AssertionError struct {
	Text string
	At   int // byte
	Msg  string
}

func (e *AssertionError) Error() string {
	return fmt.Sprintf("%s\n%s^ %s", e.Text, strings.Repeat(" ", len([]rune(e.Text[:e.At]))), e.Msg)
}

// ParseAssertion reads an assertion; the error is an *AssertionError.
func ParseAssertion(text string) (*Assertion, error) {
	a := &Assertion{text: text}
	rest := words(text)
	fail := func(msg string) (*Assertion, error) {
		at := len(text)
		if len(rest) > 0 {
			at = rest[0].at
		}
		return nil, &AssertionError{text, at, msg}
	}
	for {
		if len(rest) == 0 || !strings.ContainsAny(rest[0].text[:1], letters) {
			return fail("a name is wanted here, such as champion.mean")
		}
		c := comparison{name: rest[0].text, at: rest[0].at}
		if rest = rest[1:]; len(rest) == 0 || !slices.Contains([]string{"<", "<=", ">", ">=", "=", "!="}, rest[0].text) {
			return fail("one of < <= > >= = != is wanted here")
		}
		c.operator = rest[0].text
		if rest = rest[1:]; len(rest) == 0 {
			return fail("a number is wanted here")
		}
		number, err := strconv.ParseFloat(rest[0].text, 64)
		switch rest[0].text {
		case "true":
			number, err = 1, nil
		case "false":
			number, err = 0, nil
		}
		if err != nil {
			return fail("a number is wanted here, or true or false")
		}
		c.number, c.end = number, rest[0].at+len(rest[0].text)
		a.parts = append(a.parts, c)
		if rest = rest[1:]; len(rest) == 0 {
			return a, nil
		}
		if rest[0].text != "and" {
			return fail("nothing is wanted here any more, or `and`")
		}
		rest = rest[1:]
	}
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"

type word struct {
	text string
	at   int
}

// words cuts at spaces, and between operators and the rest.
func words(text string) (all []word) {
	for i := 0; i < len(text); {
		if text[i] == ' ' || text[i] == '\t' || text[i] == '\n' {
			i++
			continue
		}
		from, operator := i, strings.ContainsRune("<>=!", rune(text[i]))
		for i < len(text) && !strings.ContainsRune(" \t\n", rune(text[i])) && strings.ContainsRune("<>=!", rune(text[i])) == operator {
			i++
		}
		all = append(all, word{text[from:i], from})
	}
	return all
}

// String is the assertion as it was written.
func (a *Assertion) String() string { return a.text }

// Failed returns the comparisons that do not hold of the numbers, with what they are;
// none if all hold. A name that is not there is an *AssertionError.
func (a *Assertion) Failed(numbers map[string]float64) (failed []string, err error) {
	for _, c := range a.parts {
		value, ok := numbers[c.name]
		if !ok {
			return nil, &AssertionError{a.text, c.at, fmt.Sprintf("there is no %q; %s", c.name, Suggest(c.name, slices.Collect(maps.Keys(numbers))))}
		}
		holds := map[string]bool{
			"<": value < c.number, "<=": value <= c.number, ">": value > c.number, ">=": value >= c.number, "=": value == c.number, "!=": value != c.number,
		}[c.operator]
		if !holds {
			failed = append(failed, fmt.Sprintf("%s does not hold: it is %g", a.text[c.at:c.end], value))
		}
	}
	return failed, nil
}
