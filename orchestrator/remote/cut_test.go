package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// twoHosts are two network namespaces with a line between them, that can be cut.
type twoHosts struct {
	t       *testing.T
	near    string // the one of the server, which has address 10.251.0.1
	far     string
	address string
}

// hosts counts them: each pair has its own names.
var hosts atomic.Int64

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func newTwoHosts(t *testing.T) *twoHosts {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: no ip command (Debian: apt-get install iproute2)")
	}
	n := hosts.Add(1)
	h := &twoHosts{t: t, near: fmt.Sprintf("jirdn%d.%d", os.Getpid(), n), far: fmt.Sprintf("jirdf%d.%d", os.Getpid(), n), address: "10.251.0.1"}
	if out, err := exec.Command("ip", "netns", "add", h.near).CombinedOutput(); err != nil {
		t.Skipf("skipped: network namespaces cannot be made here: %s", out)
	}
	t.Cleanup(func() { ip(t, "netns", "del", h.near) })
	ip(t, "netns", "add", h.far)
	t.Cleanup(func() { ip(t, "netns", "del", h.far) })
	ip(t, "-n", h.near, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", h.far)
	ip(t, "-n", h.near, "addr", "add", h.address+"/24", "dev", "line")
	ip(t, "-n", h.far, "addr", "add", "10.251.0.2/24", "dev", "line")
	ip(t, "-n", h.near, "link", "set", "lo", "up")
	ip(t, "-n", h.far, "link", "set", "lo", "up")
	h.heal()
	ip(t, "-n", h.far, "link", "set", "line", "up")
	return h
}

func (h *twoHosts) cut()  { ip(h.t, "-n", h.near, "link", "set", "line", "down") }
func (h *twoHosts) heal() { ip(h.t, "-n", h.near, "link", "set", "line", "up") }

func on(host string) []string { return []string{"ip", "netns", "exec", host} }

func TestNetworkCut(t *testing.T) {
	t.Parallel()
	cutAndHeal(t, "impatient", func(*says) { time.Sleep(100 * time.Millisecond) }) // shorter than it takes to be noticed
}

func TestNetworkCutNoticed(t *testing.T) {
	t.Parallel()
	cutAndHeal(t, "nervous", noticed)
}

func TestNetworkCutUsual(t *testing.T) {
	if !whole {
		t.Skip("it takes a minute: make faults has it")
	}
	t.Parallel()
	cutAndHeal(t, "usual", noticed)
}

func noticed(far *says) { far.wait("is lost") }

// cutAndHeal has a worker on one host, and the server, a submitter and a second worker on
// another; the first is cut off in a job, and healed. Then a far submitter is cut off, until
// what it says was heeded. Submitters are processes too, since this one is on neither host.
func cutAndHeal(t *testing.T, pace string, heed func(far *says)) {
	h := newTwoHosts(t)
	dir := store(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	s := newSays(t)
	pace = "REMOTE_PACE=" + pace
	keys := []string{pace, "REMOTE_WORKER=" + newTestKey(t, dir, "worker"), "REMOTE_SUBMITTER=" + newTestKey(t, dir, "submitter")}
	s.startServer(file("store"), h.address+":4222", on(h.near), keys...)
	url := "REMOTE_URL=nats://" + h.address + ":4222"
	worker := func(host string) (kill func()) {
		return run(t, s.again("worker", on(host), pace, url, "REMOTE_KEY="+file("worker")))
	}
	submit := func(s *says, host, id, body string) <-chan string {
		cmd := s.again("submitter", on(host), pace, url, "REMOTE_KEY="+file("submitter"), "REMOTE_ID="+id, "REMOTE_BODY="+body)
		result := make(chan string, 1)
		go func() {
			out, err := cmd.Output()
			if err != nil {
				out = fmt.Append(out, err)
			}
			result <- string(out)
		}()
		return result
	}

	// The far worker is cut off while it has the job: another gets it.
	worker(h.far)
	result := submit(s, h.near, "cut", "hang "+file("begun"))
	appears(t, file("begun"))
	h.cut()
	kill := worker(h.near)
	expect(t, <-result, "did not hang")

	// A far submitter is cut off while its job is done, and learns of the result, whether or
	// not that was there before the line.
	h.heal()
	far := newSays(t)
	result = submit(far, h.far, "healed", "gate "+file("gate"))
	appears(t, file("gate"))
	h.cut()
	if err := os.Remove(file("gate")); err != nil {
		t.Fatal(err)
	}
	heed(far)
	h.heal()
	expect(t, <-result, "through the gate")

	// The far worker is back.
	kill()
	expect(t, <-submit(s, h.near, "back", "echo back"), "back")
}
