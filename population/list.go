package population

import (
	"fmt"
	"math/rand"
	"slices"

	"jird/snapshots/sexpr"
)

// Shape is what a definition that answers a list is drawn from: Min to Max items, each
// a whole number, or a list of Of whole numbers where Of is above one, from Low to High.
// In an item that is Rising every number is above the one before it.
type Shape struct {
	Low, High int64
	Of        int
	Rising    bool
	Min, Max  int // items that are drawn; a list that is given may have more or less
}

// MaxItem bounds the numbers of an item either way: they are fixnums in any Scheme.
const MaxItem = 1 << 28

func (s *Shape) check(d Definition) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", d.Name, fmt.Sprintf(format, args...)))
	}
	if len(d.Params) > 0 {
		fault("it answers a list, which is data, and data has no arguments: drop args")
	}
	if s.Low > s.High || s.Low < -MaxItem || s.High > MaxItem {
		fault("items from %d to %d: low must be at most high, both within ±%d", s.Low, s.High, MaxItem)
	}
	if s.Of < 1 || s.Of > 64 {
		fault("items of %d numbers: use 1 to 64", s.Of)
	}
	if s.Rising && s.High-s.Low+1 < int64(s.Of) {
		fault("%d numbers from %d to %d cannot rise: widen the range or drop rising", s.Of, s.Low, s.High)
	}
	if s.Min < 0 || s.Min > s.Max || s.Max < 1 || s.Max > 1000 {
		fault("lengths from %d to %d: use 0 to 1000, the least first", s.Min, s.Max)
	}
	return faults
}

// listNode is a body that is data. It has no parts: lists are varied by item.
func listNode(items [][]int64) *node {
	return &node{kind: List, items: items, size: max(1, len(items)), depth: 1}
}

func (n *node) list() sexpr.Value {
	list := sexpr.List{}
	for _, item := range n.items {
		var numbers sexpr.List
		for _, v := range item {
			numbers = append(numbers, sexpr.NewInt(v))
		}
		if len(item) == 1 {
			list = append(list, numbers[0])
		} else {
			list = append(list, numbers)
		}
	}
	return sexpr.List{sexpr.Symbol("quote"), list}
}

// parse reads '(ITEM ...).
func (s *Shape) parse(v sexpr.Value) (*node, error) {
	quoted, _ := v.(sexpr.List)
	if len(quoted) != 2 || quoted[0] != sexpr.Symbol("quote") {
		return nil, fmt.Errorf("a list is wanted, written as '(...)")
	}
	list, ok := quoted[1].(sexpr.List)
	if !ok || len(list) > maxGivenSize {
		return nil, fmt.Errorf("a list of at most %d items is wanted", maxGivenSize)
	}
	items := make([][]int64, len(list))
	for i, v := range list {
		item, err := s.item(v)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		items[i] = item
	}
	return listNode(items), nil
}

func (s *Shape) item(v sexpr.Value) ([]int64, error) {
	numbers := sexpr.List{v}
	if s.Of > 1 {
		numbers, _ = v.(sexpr.List)
	}
	if len(numbers) != s.Of {
		return nil, fmt.Errorf("it must be of %d whole numbers", s.Of)
	}
	var item []int64
	for _, v := range numbers {
		whole, isInt := v.(sexpr.Int)
		n, fits := whole.Int64()
		if !isInt || !fits || n < s.Low || n > s.High {
			return nil, fmt.Errorf("each number must be whole and from %d to %d", s.Low, s.High)
		}
		item = append(item, n)
	}
	if s.Rising && !rising(item) {
		return nil, fmt.Errorf("each number must be above the one before it")
	}
	return item, nil
}

func rising(item []int64) bool {
	for i := range item[1:] {
		if item[i] >= item[i+1] {
			return false
		}
	}
	return true
}

func (s *Shape) random(rng *rand.Rand) *node {
	items := make([][]int64, s.Min+rng.Intn(s.Max-s.Min+1))
	for i := range items {
		items[i] = s.draw(rng)
	}
	return listNode(items)
}

func (s *Shape) draw(rng *rand.Rand) []int64 {
	item := make([]int64, 0, s.Of)
	for len(item) < s.Of {
		if v := s.number(rng); !s.Rising || !slices.Contains(item, v) {
			item = append(item, v)
		}
	}
	if s.Rising {
		slices.Sort(item)
	}
	return item
}

func (s *Shape) number(rng *rand.Rand) int64 { return s.Low + rng.Int63n(s.High-s.Low+1) }

// spliced is a list with count of its items, from at, replaced by others.
func spliced(items [][]int64, at, count int, by ...[]int64) *node {
	return listNode(slices.Replace(slices.Clone(items), at, at+count, by...))
}

// The operators on lists, by the names that they have on expressions.

// crossover is of one point: what comes first of mother, then what follows there of father.
func (s *Shape) crossover(rng *rand.Rand, mother, father *node) *node {
	at := rng.Intn(min(len(mother.items), len(father.items)) + 1)
	return spliced(mother.items, at, len(mother.items)-at, father.items[at:]...)
}

// sizeFair puts some of father's items, in a row, in the place of as many of mother's.
func (s *Shape) sizeFair(rng *rand.Rand, mother, father *node) *node {
	most := min(len(mother.items), len(father.items))
	if most == 0 {
		return mother
	}
	count := 1 + rng.Intn(most)
	at, from := rng.Intn(len(mother.items)-count+1), rng.Intn(len(father.items)-count+1)
	return spliced(mother.items, at, count, father.items[from:from+count]...)
}

// subtree puts in a fresh item, or as often moves one elsewhere.
func (s *Shape) subtree(rng *rand.Rand, parent *node) *node {
	items := parent.items
	if len(items) > 1 && rng.Intn(2) == 0 {
		from, to := rng.Intn(len(items)), rng.Intn(len(items))
		moved := spliced(items, from, 1)
		return spliced(moved.items, to, 0, items[from])
	}
	return spliced(items, rng.Intn(len(items)+1), 0, s.draw(rng))
}

// point draws an item anew.
func (s *Shape) point(rng *rand.Rand, parent *node) *node {
	if len(parent.items) == 0 {
		return parent
	}
	return spliced(parent.items, rng.Intn(len(parent.items)), 1, s.draw(rng))
}

// constant draws one number of an item anew.
func (s *Shape) constant(rng *rand.Rand, parent *node) *node {
	if len(parent.items) == 0 {
		return parent
	}
	at := rng.Intn(len(parent.items))
	item := slices.Clone(parent.items[at])
	item[rng.Intn(s.Of)] = s.number(rng)
	if s.Rising {
		if slices.Sort(item); !rising(item) {
			return parent
		}
	}
	return spliced(parent.items, at, 1, item)
}

// hoist takes an item out.
func (s *Shape) hoist(rng *rand.Rand, parent *node) *node {
	if len(parent.items) == 0 {
		return parent
	}
	return spliced(parent.items, rng.Intn(len(parent.items)), 1)
}

// withoutOne lists what is left of a list without each of its items.
func withoutOne(n *node) []*node {
	all := make([]*node, len(n.items))
	for i := range n.items {
		all[i] = spliced(n.items, i, 1)
	}
	return all
}
