package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// twoHosts are two network namespaces with a line between them, that can be cut.
type twoHosts struct {
	t       *testing.T
	near    string // the one of the server, which has address 10.251.N.1
	far     string
	address string
}

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
	pid := os.Getpid()
	h := &twoHosts{t: t, near: fmt.Sprintf("jirdn%d", pid), far: fmt.Sprintf("jirdf%d", pid), address: "10.251.0.1"}
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

// TestNetworkCut has a worker on one host, and the server, a submitter and a second
// worker on another; the first is cut off in a job, and healed. The submitter is a
// process too, since this one is on neither host.
func TestNetworkCut(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	keys := []string{"REMOTE_WORKER=" + newTestKey(t, dir, "worker"), "REMOTE_SUBMITTER=" + newTestKey(t, dir, "submitter")}
	startServer(t, file("store"), h.address+":4222", on(h.near), keys...)
	url := "REMOTE_URL=nats://" + h.address + ":4222"
	worker := func(host string) {
		run(t, again("worker", on(host), url, "REMOTE_KEY="+file("worker")))
	}
	submit := func(host, id, body string) <-chan string {
		cmd := again("submitter", on(host), url, "REMOTE_KEY="+file("submitter"), "REMOTE_ID="+id, "REMOTE_BODY="+body)
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
	result := submit(h.near, "cut", "hang "+file("begun"))
	appears(t, file("begun"))
	h.cut()
	worker(h.near)
	expect(t, <-result, "did not hang")

	// A far submitter is cut off while its job is done, and learns of the result.
	h.heal()
	result = submit(h.far, "healed", "gate "+file("gate"))
	appears(t, file("gate"))
	h.cut()
	if err := os.Remove(file("gate")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the result is there before the line, or not: both must do
	h.heal()
	expect(t, <-result, "through the gate")
}
