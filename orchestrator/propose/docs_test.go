package propose

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The user's page shows a request and answers that are read here, with every field.
func TestPageShowsEveryField(t *testing.T) {
	page, err := os.ReadFile("../../docs/proposers.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split("\n"+string(page), "\n```") {
		if text, ok := strings.CutPrefix(part, "json\n"); ok && i%2 == 1 {
			blocks = append(blocks, text)
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of JSON", len(blocks))
	}
	strict := func(text string, to any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(to); err != nil {
			t.Errorf("%v in %s", err, text)
		}
	}
	var r Request
	strict(blocks[0], &r)
	var order bytes.Buffer
	if err := json.Compact(&order, []byte(blocks[0])); err != nil {
		t.Fatal(err)
	}
	if again, err := encode(r); err != nil || string(again) != order.String() || r.Version != Version {
		t.Errorf("a request is written\n%s\nthe page has\n%s", again, order.String())
	}
	for _, f := range fields(reflect.TypeFor[Request](), nil) {
		if !strings.Contains(blocks[0], `"`+f+`":`) {
			t.Errorf("the page's request has no %s", f)
		}
	}
	for _, block := range blocks[1:] {
		strict(block, &Answer{})
		a, err := ReadAnswer([]byte(block))
		if err != nil {
			t.Fatal(err)
		}
		parent := parse(t, policies(), "(- item remaining)")
		if _, why := a.genome(parent, parent.Source()); why != nil {
			t.Errorf("%s: %s", block, why.reason)
		}
	}
	for _, f := range fields(reflect.TypeFor[Answer](), nil) {
		if !strings.Contains(blocks[1]+blocks[2], `"`+f+`":`) {
			t.Errorf("the page's answers have no %s", f)
		}
	}
	for _, prompt := range []string{systemPrompt, userPrompt} {
		indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(prompt, "    $1")
		if !strings.Contains(string(page), indented) {
			t.Errorf("the page does not have the prompt that begins %.60q", prompt)
		}
	}
	for _, class := range []string{Unreadable, Misplaced, Invalid, Large, Tried, Near} {
		if !strings.Contains(string(page), "`"+class+"`") {
			t.Errorf("the page lacks the class %s", class)
		}
	}
}

// fields are the names in JSON of all that a type holds.
func fields(t reflect.Type, all []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return all
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all = fields(t.Field(i).Type, append(all, name))
	}
	return all
}
