package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"jird/orchestrator/guard"
)

func TestCallStatuses(t *testing.T) {
	p := newPlace(t)
	for _, c := range []struct {
		datum  string
		header []string
		status int
		says   string
	}{
		{"(add 5)", nil, 200, "5"},
		{"(add 2)", []string{HeaderID, "x"}, 200, "7"},
		{"(add 2)", []string{HeaderID, "x"}, 200, "7"},
		{"(add 3)", []string{HeaderID, "x"}, 409, "used with another request"},
		{"(add", nil, 400, "not one S-expression"},
		{"", nil, 400, "not one S-expression"},
		{"(get) (get)", nil, 400, "not one S-expression"},
		{"(get)", []string{HeaderDeadline, "soon"}, 400, "not a duration"},
		{"(get)", []string{HeaderDeadline, "-1s"}, 400, "not a duration"},
		{"(raise)", nil, 422, "told to"},
		{"(die)", nil, 422, "killed the agent twice"},
		{"(hang)", []string{HeaderDeadline, "200ms"}, 504, "nothing of the call was kept"},
		{"(get)", nil, 200, "7"},
		{strings.Repeat("x", MaxBody), nil, 200, ""}, // at the limit: the agent has its own opinion
		{strings.Repeat("x", MaxBody+1), nil, 413, fmt.Sprint(MaxBody)},
		{"(get)", nil, 200, "7"},
	} {
		if len(c.datum) == MaxBody {
			if a := p.call(c.datum, c.header...); a.status == 413 {
				t.Errorf("a body of %d bytes is refused: %s", MaxBody, a.body)
			}
			continue
		}
		p.want(p.call(c.datum, c.header...), c.status, c.says)
	}
}

func TestHeaders(t *testing.T) {
	p := newPlace(t)
	first := p.call("(add 5)", HeaderID, "x", HeaderSticky, "me")
	again := p.call("(add 5)", HeaderID, "x")
	read := p.call("(get)")
	raised := p.call("(raise)")
	for _, c := range []struct {
		a          reply
		name, want string
	}{
		{first, HeaderStatus, "ok"}, {first, HeaderVersion, string(p.one)}, {first, HeaderRepeated, ""},
		{again, HeaderStatus, "ok"}, {again, HeaderLSN, first.header.Get(HeaderLSN)}, {again, HeaderRepeated, "true"},
		{read, HeaderLSN, ""}, {read, HeaderVersion, string(p.one)}, {raised, HeaderStatus, "raised"},
	} {
		if got := c.a.header.Get(c.name); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if first.header.Get(HeaderLSN) == "" {
		t.Error("a write has no LSN")
	}
}

func TestTooManyCalls(t *testing.T) {
	p := newPlace(t, func(c *guard.Config) { c.Queue = 1 })
	statuses := make(chan reply, 6)
	var calls sync.WaitGroup
	for range cap(statuses) {
		calls.Go(func() { statuses <- p.call("(hang)", HeaderDeadline, "1s") })
	}
	calls.Wait()
	close(statuses)
	refused := 0
	for a := range statuses {
		switch a.status {
		case http.StatusTooManyRequests:
			refused++
			if a.header.Get("Retry-After") != "1" {
				t.Error("429 does not say when to try again")
			}
		case http.StatusGatewayTimeout:
		default:
			t.Errorf("%+v", a)
		}
	}
	if refused == 0 {
		t.Error("none was refused")
	}
	// Those that gave up are still queued for a moment.
	a := p.call("(get)")
	for began := time.Now(); a.status == http.StatusTooManyRequests && time.Since(began) < 10*time.Second; a = p.call("(get)") {
		time.Sleep(10 * time.Millisecond)
	}
	p.want(a, 200, "0")
}

// Connections that end where they should not.
func TestHalfRequests(t *testing.T) {
	p := newPlace(t)
	for _, sent := range []string{
		"", "PO", "POST /v1/call HTTP/1.1\r\nHost: guard\r\n",
		"POST /v1/call HTTP/1.1\r\nHost: guard\r\nContent-Length: 7\r\n\r\n(add 1",
		"POST /v1/call HTTP/1.1\r\nHost: guard\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n(add 1)\r\n",
		"\x00\x01\x02\r\n\r\n",
	} {
		c, err := net.Dial("unix", p.socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		p.want(p.call("(get)"), 200, "0")
	}
}

// A client that goes away does not take its call back, and the repetition is not
// carried out again.
func TestClientGoesAway(t *testing.T) {
	p := newPlace(t)
	for n := 1; n <= 5; n++ {
		id := fmt.Sprint("gone", n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n*n)*4*time.Millisecond)
		r, err := http.NewRequestWithContext(ctx, "POST", "http://guard/v1/call", strings.NewReader("(slow 1 60000000)"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(HeaderID, id)
		if response, err := p.client.Do(r); err == nil {
			response.Body.Close()
		}
		cancel()
		p.want(p.call("(slow 1 60000000)", HeaderID, id), 200, fmt.Sprint(n))
		p.want(p.call("(get)"), 200, fmt.Sprint(n))
	}
}

// A full disk at the door: writes get 507 with the reason, reads are served, and all
// goes on by itself.
func TestInsufficientStorage(t *testing.T) {
	p := newPlace(t)
	p.want(p.call("(add 1)"), 200, "1")
	p.store.full.Store(true)
	p.want(p.call("(add 1)"), 507, "no space left on device")
	p.want(p.call("(get)"), 200, "1")
	p.want(p.ask("GET", "/readyz", ""), 200, "ok")
	p.store.full.Store(false)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a := p.call("(add 1)")
		if a.status == 200 {
			p.want(a, 200, "2")
			break
		}
		p.want(a, 507, "no space left")
		if time.Now().After(deadline) {
			t.Fatal("it is never written again")
		}
	}
	p.ends()
	p.start()
	p.want(p.call("(get)"), 200, "2")
}

func TestPromotionsOverHTTP(t *testing.T) {
	p := newPlace(t)
	p.want(p.ask("POST", "/v1/promote", fmt.Sprintf(`{"to": %q, "kind": "wish"}`, p.two)), 400, "kind")
	p.want(p.ask("POST", "/v1/promote", "{"), 400, "")
	p.want(p.ask("POST", "/v1/promote", fmt.Sprintf(`{"from": %q, "to": %q, "kind": "forced"}`, p.two, p.two)), 409, "")
	p.want(p.ask("POST", "/v1/promote", fmt.Sprintf(`{"to": %q, "kind": "forced"}`, p.one)), 409, "is live already")
	p.want(p.ask("POST", "/v1/rollback", "{}"), 409, "has none before the live one")
	a := p.ask("POST", "/v1/promote", fmt.Sprintf(`{"to": %q, "kind": "forced", "reason": "a test"}`, p.two))
	var e Ended
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 200 || !e.Promoted || e.To != p.two || e.From != p.one {
		t.Errorf("%+v %v", a, err)
	}
	p.want(p.call("(version)"), 200, "two")
	p.want(p.ask("POST", "/v1/rollback", `{"reason": "a test"}`), 200, string(p.one))
	if a := p.call("(version)"); a.body != "one" || a.header.Get(HeaderVersion) != string(p.one) {
		t.Errorf("%+v", a)
	}
}

func TestObservation(t *testing.T) {
	p := newPlace(t)
	p.want(p.call("(add 5)"), 200, "5")
	p.want(p.ask("GET", "/healthz", ""), 200, "ok")
	p.want(p.ask("GET", "/readyz", ""), 200, "ok")
	p.want(p.ask("GET", "/v1/call", ""), 405, "")
	p.want(p.ask("GET", "/nothing", ""), 404, "")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // published now and then
		metrics, status := p.ask("GET", "/metrics", ""), p.ask("GET", "/v1/status", "")
		var s guard.Status
		if err := json.Unmarshal([]byte(status.body), &s); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(metrics.body, "\njird_calls_total 1\n") && s.Calls == 1 && s.Live.Version == p.one && s.Live.PID > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\n%s", metrics.body, status.body)
		}
	}
}

// A guard that is told to end answers what has begun, and keeps it.
func TestDrain(t *testing.T) {
	p := newPlace(t)
	p.want(p.call("(add 1)"), 200, "1")
	var began, calls sync.WaitGroup
	var kept atomic.Int64
	kept.Store(1)
	for range 3 {
		began.Add(1)
		calls.Go(func() { kept.Add(p.drained(&began)) })
	}
	began.Wait()
	time.Sleep(100 * time.Millisecond) // for the listener to take them
	p.ends()
	calls.Wait()
	if kept.Load() == 1 {
		t.Error("nothing that had begun was answered")
	}
	if _, err := net.Dial("unix", p.socket); err == nil {
		t.Error("it still listens")
	}
	p.start()
	p.want(p.call("(get)"), 200, fmt.Sprint(kept.Load()))
}

// drained makes a long call and returns 1 if it was answered. One that the listener
// had not taken may find the door closed.
func (p *place) drained(began *sync.WaitGroup) int64 {
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { began.Done() }}
	ctx := httptrace.WithClientTrace(p.t.Context(), trace)
	r, err := http.NewRequestWithContext(ctx, "POST", "http://guard/v1/call", strings.NewReader("(slow 1 300000000)"))
	if err != nil {
		p.t.Error(err)
		return 0
	}
	response, err := p.client.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		p.t.Errorf("a call that had begun got %d", response.StatusCode)
	}
	return 1
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for range 2 { // the second finds what a dead guard left
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Error(info, err)
		}
		l.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "--socket") {
		t.Error(err)
	}
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:80", ":0", "example.org:80"} {
		if l, err := ListenLoopback(address); err == nil {
			l.Close()
			t.Errorf("it listens on %s", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := ListenLoopback(address)
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}

// What a page of a browser can send to a port of loopback is refused, what a program sends
// is not; on the socket, which no page can open, nothing is.
func TestPagesAreRefused(t *testing.T) {
	answered := httptest.NewUnstartedServer(local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })))
	answered.Start()
	defer answered.Close()
	for _, c := range []struct {
		host, origin string
		status       int
	}{
		{"", "", http.StatusOK},
		{"localhost:80", "", http.StatusOK},
		{"[::1]:80", "", http.StatusOK},
		{"localhost", "", http.StatusOK},
		{"evil.example:80", "", http.StatusForbidden},
		{"127.0.0.1.evil.example", "", http.StatusForbidden},
		{"", "http://evil.example", http.StatusForbidden},
		{"", "null", http.StatusForbidden},
		{"localhost:80", "http://localhost:80", http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, answered.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			r.Host = c.host
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		got, err := answered.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != c.status {
			t.Errorf("host %q, origin %q: %d, want %d", c.host, c.origin, got.StatusCode, c.status)
		}
	}
	p := newPlace(t)
	p.want(p.ask("POST", "/v1/call", "(get x)", "Origin", "http://evil.example"), http.StatusOK, "")
}
