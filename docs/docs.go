// Package docs holds the pages that `jird help TOPIC` prints.
package docs

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.md
var pages embed.FS

// Topics lists the pages by name, sorted.
func Topics() (names []string) {
	entries, _ := fs.ReadDir(pages, ".") // embedded: it is there
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".md"))
	}
	return names
}

// Page is the text of a topic.
func Page(topic string) (text string, ok bool) {
	data, err := pages.ReadFile(topic + ".md")
	return string(data), err == nil
}
