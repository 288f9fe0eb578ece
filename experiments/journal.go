package experiments

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"jird/snapshots/wal"
)

// Agents are the names of all agents that have a live version, sorted.
func (l *Lab) Agents() ([]string, error) {
	refs, err := l.Vault.Refs()
	if err != nil {
		return nil, err
	}
	var names []string
	for ref := range refs {
		if name, live := strings.CutSuffix(ref, "/live"); live {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Served are those of some agents that have a guard now, or if none has, those that ever
// had one.
func (l *Lab) Served(names []string) (served []string) {
	for _, test := range []func(string) bool{l.guarded, l.wasServed} {
		for _, name := range names {
			if test(name) {
				served = append(served, name)
			}
		}
		if len(served) > 0 {
			break
		}
	}
	return served
}

// guarded says whether a guard answers for an agent.
func (l *Lab) guarded(name string) bool {
	socket := l.holder(name).Socket
	if socket == "" {
		return false
	}
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// JournalReport is what a reading of a whole journal found.
type JournalReport struct {
	First   uint64   `json:"first"`
	Last    uint64   `json:"last"`
	Records int      `json:"records"`
	Bytes   int64    `json:"bytes"`
	Torn    int64    `json:"torn_bytes"` // of a group that a crash left unfinished
	Faults  []string `json:"faults"`
	damage  []error
}

// Damage joins all faults, or is nil.
func (r *JournalReport) Damage() error { return errors.Join(r.damage...) }

// VerifyJournal reads an agent's journal, which no guard may have open.
func (l *Lab) VerifyJournal(name string) (*JournalReport, error) {
	r, err := wal.Verify(l.journalDir(name))
	if err != nil {
		return nil, journalError(name, err)
	}
	report := &JournalReport{First: uint64(r.First), Last: uint64(r.Last), Records: r.Entries, Bytes: r.Bytes, Torn: r.Torn, Faults: []string{}, damage: r.Faults}
	for _, f := range r.Faults {
		report.Faults = append(report.Faults, f.Error())
	}
	return report, nil
}

// DumpJournal prints every record of an agent's journal, which no guard may have
// open, after its LSN. It goes on behind damage, and returns the first.
func (l *Lab) DumpJournal(w io.Writer, name string) error {
	if _, err := os.Stat(l.journalDir(name)); err != nil {
		return journalError(name, err)
	}
	out := bufio.NewWriter(w)
	var damage error
	for r, err := range wal.Records(l.journalDir(name), 1) {
		if err != nil {
			if damage == nil {
				damage = journalError(name, err)
			}
			continue
		}
		if _, err := fmt.Fprintf(out, "%d %s\n", r.LSN, r.Data); err != nil {
			return err
		}
	}
	return errors.Join(out.Flush(), damage)
}

func journalError(name string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s has no journal: it was never served", name)
	}
	return fmt.Errorf("the journal of %s: %w", name, err)
}
