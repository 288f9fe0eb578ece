package sandbox

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters is what a live process says of itself without being asked. It is
// written by code that nobody trusts: a hint, by which to look earlier.
type Counters struct {
	Beat  uint64 // ten times a second, while the process is given time and no request follows another closely
	Begun uint64 // calls
	Done  uint64 // calls
	Sets  uint64 // write-sets held
}

// page is the memory that a shadow shares with this process. A nil page is none.
type page struct {
	mu   sync.Mutex
	data []byte // nil once closed
}

const pageSize = 4096

// patience is how long a shadow with a page waits in one read. While Gambit does, none
// of its threads runs, and none beats; when the read gives up it waits for a request
// as its scheduler does, between its threads. That costs four system calls more for
// each request, so a busy shadow is spared it.
const patience = 10 * time.Millisecond

// addPage makes the shadow's page.
func (c *channels) addPage() error {
	timeout := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(int(c.theirs[0].Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("limiting a shadow's wait: %w", err)
	}
	fd, err := unix.MemfdCreate("jird counters", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("making a page of counters: %w", err)
	}
	file := os.NewFile(uintptr(fd), "shadow counters")
	if err := file.Truncate(pageSize); err != nil {
		file.Close()
		return fmt.Errorf("making a page of counters: %w", err)
	}
	// Whoever could shrink the file would end this process by SIGBUS.
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		file.Close()
		return fmt.Errorf("sealing a page of counters: %w", err)
	}
	data, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return fmt.Errorf("making a page of counters: %w", err)
	}
	c.theirs[3], c.page = file, &page{data: data}
	return nil
}

func (p *page) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.data != nil {
		_ = unix.Munmap(p.data)
		p.data = nil
	}
}

// Counters reads the shadow's page; ok is false if it has none, or has ended.
func (s *Shadow) Counters() (c Counters, ok bool) {
	if s.page == nil {
		return c, false
	}
	s.page.mu.Lock()
	defer s.page.mu.Unlock()
	if s.page.data == nil {
		return c, false
	}
	for i, to := range []*uint64{&c.Beat, &c.Begun, &c.Done, &c.Sets} {
		*to = atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.page.data[8*i])))
	}
	return c, true
}
