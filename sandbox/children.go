package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// children are the live shadows of an engine, so that none outlives it. Safe
// for concurrent use.
type children struct {
	mu     sync.Mutex
	closed bool
	all    map[*Shadow]bool
}

// add says whether the engine is still open; only then the shadow may live.
func (c *children) add(s *Shadow) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-s.exited: // it has been removed already
		return !c.closed
	default:
	}
	if c.all == nil {
		c.all = map[*Shadow]bool{}
	}
	c.all[s] = true
	return !c.closed
}

func (c *children) remove(s *Shadow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, s)
}

// close ends all, now and in future.
func (c *children) close() {
	c.mu.Lock()
	c.closed = true
	var all []*Shadow
	for s := range c.all {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		_ = s.proc.Kill()
	}
	for _, s := range all {
		s.Kill()
	}
}

// network identifies the network namespace of a live process.
func network(pid int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st)
	return st.Ino, err
}

// inNetwork lists the live processes of a network namespace.
func inNetwork(id uint64) (pids []int) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if n, err := network(pid); err == nil && n == id {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
