package experiments

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"jird/snapshots/sexpr"
)

// Fault is one thing wrong in a file, with its place and its cure.
type Fault struct {
	File         string
	Line, Column int // from 1; 0 where the whole file is meant
	Msg          string
}

func (f Fault) String() string { return f.where() + ": " + f.Msg }

func (f Fault) where() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// SpecError is everything that is wrong with a spec, at once.
type SpecError struct{ Faults []Fault }

func (e *SpecError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// reader walks a YAML document and collects faults instead of stopping at one.
type reader struct {
	file   string
	faults []Fault
	faulty map[string]bool     // keys whose value has a fault
	places map[string]ast.Node // where a key stands
}

func (r *reader) fault(n ast.Node, format string, args ...any) {
	f := r.at(n)
	f.Msg = fmt.Sprintf(format, args...)
	r.faults = append(r.faults, f)
}

// at is the place of a node.
func (r *reader) at(n ast.Node) Fault {
	f := Fault{File: r.file}
	if n = start(n); n != nil && n.GetToken() != nil {
		f.Line, f.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	return f
}

// start is where a node begins: the parser puts a mapping at its first colon.
func start(n ast.Node) ast.Node {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return m.Values[0].Key
		}
	case *ast.MappingValueNode:
		return m.Key
	}
	return n
}

// shown is a node as a message quotes it: its first line, not too long.
func shown(n ast.Node) string {
	text, _, more := strings.Cut(strings.TrimSpace(n.String()), "\n")
	if len(text) > 60 {
		text, more = strings.ToValidUTF8(text[:60], ""), true
	}
	switch n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return text + " (anchors, aliases and tags are not read: write the value out)"
	}
	if more {
		text += " ..."
	}
	return text
}

// readRoot reads a file's document; it is nil after a fault, which start helps to mend.
func readRoot(path, start string) (*reader, ast.Node) {
	r := &reader{file: path, faulty: map[string]bool{}, places: map[string]ast.Node{}}
	data, err := readFile(path)
	if err != nil {
		r.fault(nil, "cannot be read (%v); %s", err, start)
		return r, nil
	}
	return r, r.parse(data)
}

// err is a *SpecError of all faults, in their order in the file, or nil.
func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return &SpecError{r.faults}
}

// maxSpec is the most bytes of a spec. Its parser needs memory by the square of how deep a
// file is nested, and time by the square of its keys.
const maxSpec = 1 << 20

// nested is the most brackets that are open at once. Those in texts and comments count too,
// since what is a text is not known before a file is parsed.
func nested(data []byte) (most int) {
	open := 0
	for _, b := range data {
		switch b {
		case '[', '{':
			open++
			most = max(most, open)
		case ']', '}':
			open = max(open-1, 0)
		}
	}
	return most
}

// parse returns the one document of a file, or nil after a fault.
func (r *reader) parse(data []byte) ast.Node {
	if !utf8.Valid(data) || bytes.ContainsRune(data, 0) {
		r.fault(nil, "not YAML: it is not a text in UTF-8")
		return nil
	}
	if len(data) > maxSpec || nested(data) > maxNesting {
		r.fault(nil, "is over %d bytes, or nested deeper than %d: no experiment is", maxSpec, maxNesting)
		return nil
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // pairs says which, and where
	if err != nil {
		r.syntax(err)
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.fault(nil, "is empty; %s", startFrom)
		return nil
	}
	if len(file.Docs) > 1 {
		r.fault(file.Docs[1].Body, "a second document begins here; an experiment is one document")
		return nil
	}
	switch root := file.Docs[0].Body.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return root
	default:
		r.fault(root, "an experiment is a mapping of keys to values, not %s; %s", shown(root), startFrom)
		return nil
	}
}

const startFrom = "`jird init DIR --example packer` makes an experiment to start from"

// syntax puts the parser's place where ours stand.
func (r *reader) syntax(err error) {
	f := Fault{File: r.file, Msg: "not YAML: " + err.Error()}
	var at yaml.Error
	if errors.As(err, &at) {
		f.Msg = "not YAML: " + at.GetMessage()
		if t := at.GetToken(); t != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	r.faults = append(r.faults, f)
}

type pair struct {
	key   string
	node  ast.Node // of the key
	value ast.Node
}

func (r *reader) pairs(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.fault(n, "%s must be a mapping of keys to values", what)
		return nil
	}
	var all []pair
	for _, v := range values {
		key := v.Key.String()
		if s, ok := v.Key.(*ast.StringNode); ok {
			key = s.Value
		}
		if slices.ContainsFunc(all, func(p pair) bool { return p.key == key }) {
			r.fault(v.Key, "%s stands twice; keep one", key)
			continue
		}
		all = append(all, pair{key, v.Key, v.Value})
	}
	return all
}

// field reads one value into its place.
type field func(n ast.Node, name string)

// object reads a mapping by the fields it may have.
func (r *reader) object(n ast.Node, what string, fields map[string]field) {
	for _, p := range r.pairs(n, what) {
		read, ok := fields[p.key]
		if !ok {
			var known []string
			for k := range fields {
				known = append(known, k)
			}
			r.fault(p.node, "%s has no key %q; %s", what, p.key, Suggest(p.key, known))
			continue
		}
		before := len(r.faults)
		r.places[p.key] = p.node
		read(p.value, p.key)
		r.faulty[p.key] = r.faulty[p.key] || len(r.faults) > before
	}
}

// Suggest names the known word that was most likely meant, or all.
func Suggest(word string, known []string) string {
	known = slices.Sorted(slices.Values(known))
	const slips = 2
	nearest, best := "", slips+1
	for _, k := range known {
		if d := distance(word, k); d < best {
			nearest, best = k, d
		}
	}
	if nearest != "" {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	return "use " + strings.Join(known, ", ")
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		previous := row[0]
		row[0] = i + 1
		for j := range b {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func (r *reader) text(to *string) field {
	return func(n ast.Node, name string) {
		if s, ok := n.(*ast.StringNode); ok {
			*to = s.Value
			return
		}
		r.fault(n, "%s must be a text, not %s", name, shown(n))
	}
}

// prose reads a text that may have several lines, after | or >.
func (r *reader) prose(to *string) field {
	return func(n ast.Node, name string) {
		if s, ok := n.(*ast.LiteralNode); ok {
			*to = s.Value.Value
			return
		}
		r.text(to)(n, name)
	}
}

func (r *reader) oneOf(to *string, allowed ...string) field {
	return func(n ast.Node, name string) {
		if s, ok := n.(*ast.StringNode); ok && slices.Contains(allowed, s.Value) {
			*to = s.Value
			return
		}
		r.fault(n, "%s must be one of %s, not %s", name, strings.Join(allowed, ", "), shown(n))
	}
}

func (r *reader) integer(to *int, low, high int) field {
	return func(n ast.Node, name string) {
		v, ok := wholeNumber(n)
		if !ok || v < int64(low) || v > int64(high) {
			r.fault(n, "%s must be a whole number from %d to %d, not %s", name, low, high, shown(n))
			return
		}
		*to = int(v)
	}
}

func wholeNumber(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch v := i.Value.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

func (r *reader) real(to *float64, low, high float64) field {
	return func(n ast.Node, name string) {
		v, ok := realNumber(n)
		if !ok || !(v >= low && v <= high) {
			r.fault(n, "%s must be a number from %g to %g, not %s", name, low, high, shown(n))
			return
		}
		*to = v
	}
}

func realNumber(n ast.Node) (float64, bool) {
	if f, ok := n.(*ast.FloatNode); ok {
		return f.Value, !math.IsNaN(f.Value) && !math.IsInf(f.Value, 0)
	}
	v, ok := wholeNumber(n)
	return float64(v), ok
}

func (r *reader) boolean(to *bool) field {
	return func(n ast.Node, name string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fault(n, "%s must be true or false, not %s", name, shown(n))
			return
		}
		*to = b.Value
	}
}

func (r *reader) duration(to *time.Duration) field {
	return func(n ast.Node, name string) {
		s, ok := n.(*ast.StringNode)
		if ok {
			if d, err := time.ParseDuration(s.Value); err == nil && d >= 0 {
				*to = d
				return
			}
		}
		r.fault(n, "%s must be a duration such as 90s or 10m, not %s", name, shown(n))
	}
}

// bytes reads a size such as 64MiB.
func (r *reader) bytes(to *int64) field {
	return func(n ast.Node, name string) {
		if !size(n, to) {
			r.fault(n, "%s must be a size such as 64MiB, not %s", name, shown(n))
		}
	}
}

// bytesOrNone reads a size such as 64MiB, or none.
func (r *reader) bytesOrNone(to *int64) field {
	return func(n ast.Node, name string) {
		if s, ok := n.(*ast.StringNode); ok && s.Value == "none" {
			*to = 0
		} else if !size(n, to) {
			r.fault(n, "%s must be a size such as 64MiB, or none, not %s", name, shown(n))
		}
	}
}

func size(n ast.Node, to *int64) bool {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return false
	}
	bytes, err := ParseSize(s.Value)
	if err == nil {
		*to = bytes
	}
	return err == nil
}

// ParseSize reads a number of bytes such as 64MiB; KiB and GiB will do too.
func ParseSize(text string) (bytes int64, err error) {
	for suffix, unit := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		var v int64
		if _, err := fmt.Sscanf(text, "%d"+suffix, &v); err == nil && fmt.Sprintf("%d%s", v, suffix) == text && v > 0 && v < 1<<20 {
			return v * unit, nil
		}
	}
	return 0, fmt.Errorf("%q is not a size such as 64MiB", text)
}

func (r *reader) list(each func(n ast.Node)) field {
	return func(n ast.Node, name string) {
		s, ok := n.(*ast.SequenceNode)
		if !ok {
			r.fault(n, "%s must be a list, not %s", name, shown(n))
			return
		}
		for _, v := range s.Values {
			each(v)
		}
	}
}

// expression reads an S-expression written as YAML text, such as (- a b).
func (r *reader) expression(n ast.Node) (sexpr.Value, bool) {
	text := n.String()
	if s, ok := n.(*ast.StringNode); ok {
		text = s.Value
	}
	v, err := sexpr.Read([]byte(text))
	if err != nil {
		r.fault(n, "%s is not an expression: %v", text, err)
		return nil, false
	}
	return v, true
}

// datum turns YAML into what a referee gets: a mapping becomes an association
// list with symbols as keys.
func (r *reader) datum(n ast.Node) sexpr.Value {
	switch n := n.(type) {
	case *ast.StringNode:
		return sexpr.String(n.Value)
	case *ast.BoolNode:
		return sexpr.Bool(n.Value)
	case *ast.FloatNode:
		return sexpr.Float(n.Value)
	case *ast.IntegerNode:
		if v, ok := wholeNumber(n); ok {
			return sexpr.NewInt(v)
		}
	case *ast.SequenceNode:
		list := sexpr.List{}
		for _, v := range n.Values {
			list = append(list, r.datum(v))
		}
		return list
	case *ast.MappingNode, *ast.MappingValueNode:
		list := sexpr.List{}
		for _, p := range r.pairs(n, "recipe") {
			switch v := r.datum(p.value).(type) {
			case sexpr.List:
				list = append(list, append(sexpr.List{sexpr.Symbol(p.key)}, v...))
			default:
				list = append(list, sexpr.Dotted{Items: []sexpr.Value{sexpr.Symbol(p.key)}, Tail: v})
			}
		}
		return list
	}
	r.fault(n, "%s cannot be given to a referee: use text, numbers, true, false, lists and mappings", shown(n))
	return sexpr.Bool(false)
}
