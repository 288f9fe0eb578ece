package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium with one open page, spoken to by its DevTools protocol
// over a pipe: JSON messages that end in a zero byte.
type browser struct {
	t       *testing.T
	to      io.Writer
	from    *bufio.Reader
	id      int
	session string
	loaded  bool
	faults  []string // errors of the console, and requests other than for the page itself
	page    string
}

// chromium is the program, or skips the test.
func chromium(t *testing.T) (path string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: chromium is not installed: as root on Debian, ./setup.sh test installs it")
	}
	return path
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := chromium(t)
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Names resolve to nothing, so that a page which asked for something would get an
	// error, and say so. Its own sandbox is refused to root.
	c := exec.Command(path, "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
		"--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir())
	c.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, to: in, from: bufio.NewReader(out)}
	hung := time.AfterFunc(2*time.Minute, func() { c.Process.Kill() }) // a call to it would wait for ever
	t.Cleanup(func() {
		fmt.Fprint(in, `{"id":0,"method":"Browser.close"}`+"\x00")
		io.Copy(io.Discard, out) // until it has ended: then its folder can be removed
		c.Wait()
		hung.Stop()
		in.Close()
		out.Close()
	})
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})
	b.session = b.call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})["sessionId"].(string)
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		b.call(domain+".enable", map[string]any{})
	}
	return b
}

type message struct {
	ID     int            `json:"id"`
	Method string         `json:"method"`
	Result map[string]any `json:"result"`
	Error  *struct{ Message string }
	Params struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text string }
		Details struct{ Text string } `json:"exceptionDetails"`
	} `json:"params"`
}

// call carries one command out, and takes notice of what happens meanwhile.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.id++
	command := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.next()
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		return m.Result
	}
}

func (b *browser) next() (m message) {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("chromium has ended: %v", err)
	}
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	switch url := m.Params.Request.URL; {
	case m.Method == "Page.loadEventFired":
		b.loaded = true
	case m.Method == "Network.requestWillBeSent" && url != b.page && !strings.HasPrefix(url, "data:"):
		b.faults = append(b.faults, "it asks for "+url)
	case m.Method == "Runtime.exceptionThrown":
		b.faults = append(b.faults, "it throws "+m.Params.Details.Text)
	case m.Method == "Runtime.consoleAPICalled" && m.Params.Type == "error":
		b.faults = append(b.faults, "it writes an error to the console")
	case m.Method == "Log.entryAdded" && m.Params.Entry.Level == "error":
		b.faults = append(b.faults, m.Params.Entry.Text)
	}
	return m
}

// show opens a file in a window of that width, and returns what is wrong with it.
func (b *browser) show(path string, width int, scheme string) []string {
	b.t.Helper()
	b.page, b.loaded, b.faults = "file://"+path, false, nil
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false})
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
	b.call("Page.navigate", map[string]any{"url": b.page})
	for !b.loaded {
		b.next()
	}
	// What is closed is opened: it must fit too.
	b.value("document.querySelectorAll('details').forEach(d => d.open = true)")
	if got := b.value("document.documentElement.scrollWidth - innerWidth"); got != 0.0 {
		b.faults = append(b.faults, fmt.Sprintf("it is %v px wider than the window", got))
	}
	if dir := os.Getenv("JIRD_SHOTS"); dir != "" { // for people to look at
		shot := b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true})["data"].(string)
		png, err := base64.StdEncoding.DecodeString(shot)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", filepath.Base(path), width, scheme)), png, 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return b.faults
}

func (b *browser) value(expression string) any {
	b.t.Helper()
	result := b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true})
	return result["result"].(map[string]any)["value"]
}

// The page of a run fits a telephone and a wide screen, follows light and dark, and asks
// for nothing. With JIRD_BROWSER=all (`make browser`) so do those of a tournament and of a
// coevolution, and each is seen at each width in both.
func TestPagesInABrowser(t *testing.T) {
	chromium(t)
	all := os.Getenv("JIRD_BROWSER") == "all"
	p := newPlace(t)
	p.shrinkExperiment()
	pages := map[string]string{"run": p.small()["run"].(string)}
	shows := []window{{360, "light"}, {1400, "dark"}}
	if all {
		p.ok("init", "d", "--example", "dilemma")
		p.edit("d/coevolve.yaml", "population: 40", "population: 8", "generations: 30", "generations: 6", "cases: 300", "cases: 20", "finalists: 8", "finalists: 4")
		p.edit("d/tournament.yaml", "cases: 300", "cases: 20")
		pages["tournament"], pages["coevolution"] = p.tournament("d/tournament.yaml"), p.tournament("d/coevolve.yaml")
		shows = append(shows, window{360, "dark"}, window{1400, "light"})
	}
	b := newBrowser(t)
	for name, id := range pages {
		page := filepath.Join(p.dir, name+".html")
		p.ok("report", id, "--output", "html", "--out", page)
		grounds := map[any]bool{}
		for _, w := range shows {
			for _, fault := range b.show(page, w.width, w.scheme) {
				t.Errorf("the page of a %s at %d px, %s: %s", name, w.width, w.scheme, fault)
			}
			grounds[b.value("getComputedStyle(document.body).backgroundColor")] = true
		}
		if len(grounds) != 2 {
			t.Errorf("the page of a %s is on %v in light and dark", name, grounds)
		}
	}
}

// window is what a page is seen in: its width in pixels, and whether light or dark is
// preferred.
type window struct {
	width  int
	scheme string
}

func (p *place) tournament(spec string) string {
	p.t.Helper()
	var standings struct{ Run string }
	if err := json.Unmarshal([]byte(p.ok("tournament", spec, "--seeds", "2", "--shadows", "8", "--output", "json")), &standings); err != nil {
		p.t.Fatal(err)
	}
	return standings.Run
}

// The test above would see what it looks for.
func TestBrowserSeesFaults(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	page := filepath.Join(t.TempDir(), "bad.html")
	bad := `<!doctype html><div style="width:500px">wide</div><img src="http://example.invalid/x.png"><script>console.error("no"); undefined.x</script>`
	if err := os.WriteFile(page, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	faults := strings.Join(b.show(page, 360, "light"), "\n")
	for _, want := range []string{"it asks for http://example.invalid/x.png", "it throws", "error to the console", "px wider than the window"} {
		if !strings.Contains(faults, want) {
			t.Errorf("not seen: %s; seen:\n%s", want, faults)
		}
	}
}
