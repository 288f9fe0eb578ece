package journal

import (
	"errors"
	"fmt"
	"time"

	"jird/snapshots/sexpr"
)

// How long a call's id is remembered: whichever comes first.
const (
	RememberFor   = 24 * time.Hour
	RememberCalls = 1_000_000
)

// ErrOtherBody says that an id was used before, with another request.
var ErrOtherBody = errors.New("this id was used with another request")

// Calls remembers what calls with an id were answered, so that a repetition gets
// the same answer and is not carried out again. Not safe for concurrent use.
type Calls struct {
	byID  map[string]*remembered
	order []*remembered // oldest first
	first int           // how many were forgotten: the number of order[0]
}

type remembered struct {
	id, body string
	time     int64
	lsn      uint64
	reply    sexpr.Text
}

// NewCalls remembers nothing yet.
func NewCalls() *Calls { return &Calls{byID: map[string]*remembered{}} }

// Len is how many calls are remembered.
func (c *Calls) Len() int { return len(c.order) }

// Find returns what a call was answered. The error is ErrOtherBody.
func (c *Calls) Find(id, body string) (reply Reply, lsn uint64, found bool, err error) {
	r := c.byID[id]
	if id == "" || r == nil {
		return Reply{}, 0, false, nil
	}
	if r.body != body {
		return Reply{}, r.lsn, true, ErrOtherBody
	}
	f := &fields{rest: r.reply}
	reply = f.reply()
	if text, ok := reply.Value.(sexpr.Text); ok {
		reply.Value, err = text.Value()
	}
	return reply, r.lsn, true, err
}

// add remembers a call and forgets what is over the limits by its time.
func (c *Calls) add(lsn uint64, call *Call) error {
	if call.ID == "" {
		return nil
	}
	if c.byID[call.ID] != nil {
		return fmt.Errorf("call %q was carried out twice, at LSN %d and %d", call.ID, c.byID[call.ID].lsn, lsn)
	}
	reply, err := sexpr.TextOf(call.Reply.encode())
	if err != nil {
		return err
	}
	c.insert(remember(call.ID, call.Body, reply, call.Time, lsn))
	oldest := call.Time - RememberFor.Milliseconds()
	for len(c.order) > RememberCalls || (len(c.order) > 0 && c.order[0].time < oldest) {
		delete(c.byID, c.order[0].id)
		c.order = c.order[1:]
		c.first++
	}
	return nil
}

// remember copies the texts, all at once: they may be parts of a longer one, of which
// no more is to be kept.
func remember(id, body string, reply sexpr.Text, time int64, lsn uint64) *remembered {
	all := id + body + string(reply)
	n, m := len(id), len(id)+len(body)
	return &remembered{all[:n], all[n:m], time, lsn, sexpr.Text(all[m:])}
}

func (c *Calls) insert(r *remembered) {
	c.byID[r.id] = r
	c.order = append(c.order, r)
}

// Freeze returns the calls remembered now, to be read by another goroutine.
func (c *Calls) Freeze() FrozenCalls {
	return FrozenCalls{c.order[:len(c.order):len(c.order)], c.first}
}

// FrozenCalls are the calls of one moment.
type FrozenCalls struct {
	order []*remembered
	first int
}

// callsPerPiece cuts by number, so that a piece which is full never changes.
const callsPerPiece = 512

// Pieces writes the calls as lists of (number id body time lsn reply).
func (f FrozenCalls) Pieces() ([][]byte, error) {
	var pieces [][]byte
	for i := 0; i < len(f.order); {
		number := f.first + i
		end := min(len(f.order), i+callsPerPiece-number%callsPerPiece)
		list := sexpr.List{}
		for k, r := range f.order[i:end] {
			list = append(list, sexpr.List{integer(number + k), text(r.id), text(r.body), integer(r.time), integer(r.lsn), r.reply})
		}
		b, err := sexpr.Canonical(list)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, b)
		i = end
	}
	return pieces, nil
}

func (c *Calls) load(piece []byte) error {
	t, err := sexpr.DecodeText(piece)
	if err != nil {
		return err
	}
	list := fieldsOf(t)
	for list.more() {
		f := list.list()
		number := int(f.integer())
		id, body, time, lsn := f.text(), f.text(), f.integer(), uint64(f.integer())
		reply := f.rest
		f.reply()
		list.end(f)
		if list.bad || (len(c.order) > 0 && number != c.first+len(c.order)) {
			return errors.New("a remembered call is not of its form")
		}
		if len(c.order) == 0 {
			c.first = number
		}
		c.insert(remember(id, body, reply, time, lsn))
	}
	return nil
}
