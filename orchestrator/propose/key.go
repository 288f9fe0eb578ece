package propose

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// key is a secret, "" if there is none. However it is printed or encoded it is not shown:
// by its methods, and where fmt cannot call them, in a field of another type, because
// nothing but a function holds it.
type key struct{ reveal func() string }

func newKey(value string) key { return key{func() string { return value }} }

func (k key) value() string {
	if k.reveal == nil {
		return ""
	}
	return k.reveal()
}

const hidden = "[key]"

func (k key) String() string               { return hidden }
func (k key) Format(s fmt.State, _ rune)   { fmt.Fprint(s, hidden) }
func (k key) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// leastKey is how many bytes a secret has at least to be looked for: a shorter one, such as
// LANG=C, would be found everywhere.
const leastKey = 6

// scrub takes the key out of a text, also where JSON or a URL would have it otherwise.
func (k key) scrub(text string) string {
	value := k.value()
	if len(value) < leastKey {
		return text
	}
	quoted, _ := encode(value)
	escaped, _ := json.Marshal(value)
	for _, form := range []string{value, strings.Trim(string(quoted), `"`), strings.Trim(string(escaped), `"`), url.QueryEscape(value), url.PathEscape(value)} {
		text = strings.ReplaceAll(text, form, hidden)
	}
	return text
}
