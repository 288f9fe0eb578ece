package propose

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"

	"jird/population"
	"jird/snapshots/sexpr"
)

// nearness is the resemblance from which on two genomes count as one: the Jaccard index of
// their sets of 3-shingles (Broder 1997, On the resemblance and containment of documents),
// three tokens in a row. Tokens are taken of the canonical form, in which layout and
// comments are gone already, with two differences gone as well that change no result worth
// a measurement: what a genome's own variables are called, and constants beyond their
// fourth digit, to which the search itself rounds.
//
// One token that is another changes three shingles of n, and leaves (n-3)/(n+3). So with
// 0.99 a single constant or operator makes a new genome up to 597 different shingles, some
// 400 words of Scheme: there a small change may be the whole idea. In a longer text it
// takes two. Renaming alone makes no new genome at any length.
const nearness = 0.99

// near says whether two sketches resemble each other that much.
func near(a, b []uint64) bool {
	small, large := min(len(a), len(b)), max(len(a), len(b))
	if float64(small) < nearness*float64(large) {
		return false
	}
	common, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		switch cmp.Compare(a[i], b[j]) {
		case -1:
			i++
		case 1:
			j++
		default:
			common, i, j = common+1, i+1, j+1
		}
	}
	return float64(common) >= nearness*float64(len(a)+len(b)-common)
}

// sketch is the set of a source's shingles, each as its FNV-1a hash, sorted.
func sketch(source string) []uint64 {
	words := tokens(source)
	var set []uint64
	for i := 0; i == 0 || i+3 <= len(words); i++ {
		h := fnv.New64a()
		for _, w := range words[i:min(i+3, len(words))] {
			_ = binary.Write(h, binary.LittleEndian, uint32(len(w))) // a hash does not fail
			h.Write([]byte(w))
		}
		set = append(set, h.Sum64())
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// tokens are the atoms and parentheses of a source.
func tokens(source string) (words []string) {
	forms, _ := sexpr.ReadAll([]byte(source)) // canonical: it reads
	bound := map[sexpr.Symbol]bool{}
	for _, f := range forms {
		binders(f, bound)
	}
	numbers := map[sexpr.Symbol]string{}
	var walk func(v sexpr.Value)
	walk = func(v sexpr.Value) {
		switch v := v.(type) {
		case sexpr.List:
			words = append(words, "(")
			for _, item := range v {
				walk(item)
			}
			words = append(words, ")")
			return
		case sexpr.Dotted:
			walk(sexpr.List(v.Items))
			words = append(words, ".")
			walk(v.Tail)
			return
		case sexpr.Symbol:
			if bound[v] {
				if numbers[v] == "" {
					numbers[v] = "\x00" + strconv.Itoa(len(numbers))
				}
				words = append(words, numbers[v])
				return
			}
		case sexpr.Float:
			words = append(words, strconv.FormatFloat(float64(v), 'g', 4, 64))
			return
		}
		text, _ := sexpr.Canonical(v)
		words = append(words, string(text))
	}
	for _, f := range forms {
		walk(f)
	}
	return words
}

// binders collects the names of a form's own variables. A name that is bound in one place
// and global in another is taken for bound in both: two genomes that only differ in that
// would be taken for one, which costs a proposal and no more.
func binders(v sexpr.Value, bound map[sexpr.Symbol]bool) {
	list, ok := v.(sexpr.List)
	if !ok || len(list) == 0 {
		return
	}
	if len(list) > 2 {
		switch head, _ := list[0].(sexpr.Symbol); head {
		case "lambda":
			names(list[1], bound)
		case "define":
			if _, args, ok := sexpr.Pair(list[1]); ok {
				names(args, bound)
			}
		case "let", "let*", "letrec", "letrec*", "do":
			at := list[1]
			if name, ok := at.(sexpr.Symbol); ok { // a named let
				bound[name] = true
				at = list[2]
			}
			pairs, _ := at.(sexpr.List)
			for _, p := range pairs {
				if first, _, ok := sexpr.Pair(p); ok {
					names(first, bound)
				}
			}
		}
		for _, inner := range list[1:] { // what is defined in a body is its own as well
			if name := population.Defined(inner); name != "" && list[0] != sexpr.Symbol("quote") {
				bound[sexpr.Symbol(name)] = true
			}
		}
	}
	for _, inner := range list {
		binders(inner, bound)
	}
}

func names(v sexpr.Value, bound map[sexpr.Symbol]bool) {
	for {
		first, rest, ok := sexpr.Pair(v)
		if !ok {
			break
		}
		names(first, bound)
		v = rest
	}
	if name, ok := v.(sexpr.Symbol); ok {
		bound[name] = true
	}
}
