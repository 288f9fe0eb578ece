package remote

import (
	"errors"
	"fmt"
	"sync"
)

// complaints passes on what the server logs as an error: a disk that fails, a client
// that is refused. The rest of its log is of no use to those who do not run a server.
type complaints struct {
	say func(string, ...any)
	mu  sync.Mutex
	one error
}

// first is the first complaint.
func (c *complaints) first() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.one == nil {
		return errors.New("it does not say why")
	}
	return c.one
}

func (c *complaints) Errorf(format string, v ...any) {
	c.mu.Lock()
	if c.one == nil {
		c.one = fmt.Errorf(format, v...)
	}
	c.mu.Unlock()
	c.say("the queue's server: "+format, v...)
}

func (c *complaints) Fatalf(format string, v ...any) { c.Errorf(format, v...) }
func (c *complaints) Noticef(string, ...any)         {}
func (c *complaints) Warnf(string, ...any)           {}
func (c *complaints) Debugf(string, ...any)          {}
func (c *complaints) Tracef(string, ...any)          {}
