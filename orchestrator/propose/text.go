package propose

import (
	"fmt"
	"strings"
	"unicode"
)

// Visible is text of a stranger, fit to be shown: what does not print, ends of lines and
// tabs aside, is written \xHH; as a Scheme string has it, so that no terminal obeys it and
// nothing hides in it, and what is over most bytes is cut, which shows.
func Visible(text string, most int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if b.Len() >= most {
			return b.String() + " ..."
		}
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x%x;`, r)
		}
	}
	return b.String()
}

// line is Visible on one line, for messages.
func line(text string) string {
	return Visible(strings.Join(strings.Fields(text), " "), 300)
}
