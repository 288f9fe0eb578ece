package propose

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"jird/population/ga"
)

const secret = "sk-test-0123456789<&>"

// endpoint is a stub in this process whose network is of pipes, so that in a bubble of
// synctest the clock passes while it stalls.
type endpoint struct {
	handle http.HandlerFunc

	mu       sync.Mutex
	requests []map[string]any
	at       []time.Time
}

// asked is what it was asked so far, and when.
func (e *endpoint) asked() ([]map[string]any, []time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests), slices.Clone(e.at)
}

func (e *endpoint) count() int {
	requests, _ := e.asked()
	return len(requests)
}

// pipes is a network with one listener.
type pipes struct {
	calls  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.calls <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts the stub and returns Proposers with one chat that asks it.
func (e *endpoint) serve(t *testing.T, c Chat, ceilings Ceilings, store Store) (*Proposers, *heard) {
	network := &pipes{calls: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		data, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(data, &body); err != nil || r.URL.Path != "/v1/chat/completions" || r.Method != http.MethodPost {
			t.Errorf("asked %s %s: %s", r.Method, r.URL, data)
		}
		e.mu.Lock()
		e.requests, e.at = append(e.requests, body), append(e.at, time.Now())
		handle := e.handle
		e.mu.Unlock()
		handle(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(network) }()
	transport := &http.Transport{DialContext: network.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	p, h := proposers(t, ceilings, store, c)
	p.base, p.limit = firstPause, longestPause
	p.sources[c.Name].source.(*chat).transport = transport
	return p, h
}

func model() Chat {
	return Chat{Calling: Calling{Name: "model", Timeout: 30 * time.Second, Retries: 3, Parallel: 2}, URL: "http://stub/v1/", Model: "m", MaxTokens: 100}
}

// completion writes what an endpoint answers.
func completion(w http.ResponseWriter, content string, in, out int) {
	data, _ := encode(map[string]any{
		"choices": []any{map[string]any{"message": message{"assistant", content}, "finish_reason": "stop"}},
		"usage":   map[string]any{"prompt_tokens": in, "completion_tokens": out},
	})
	_, _ = w.Write(data)
}

func only(t *testing.T, m *memory) Exchange {
	t.Helper()
	if len(m.all) != 1 {
		t.Fatalf("%d exchanges are recorded", len(m.all))
	}
	for _, x := range m.all {
		return x
	}
	panic("unreachable")
}

func TestChatProposes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{handle: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Error("a key is sent, and there is none")
			}
			completion(w, "Here it is:\n```scheme\n(define (priority item remaining)\n  (+ item 0.5))\n```\nIt adds.", 11, 7)
		}}
		c, store := model(), newMemory()
		warm := 0.7
		c.Temperature, c.PriceIn, c.PriceOut = &warm, 2, 10
		p, _ := e.serve(t, c, Ceilings{}, store)
		if got := propose(t, p, round(t, "model", 1)); got[0] != "(+ item 0.5)" {
			t.Errorf("%q", got)
		}
		requests, _ := e.asked()
		asked := requests[0]
		messages, _ := asked["messages"].([]any)
		delete(asked, "messages")
		if want := map[string]any{"model": "m", "temperature": 0.7, "max_tokens": 100.0, "seed": 1.0, "stream": false}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked with %v, want %v", asked, want)
		}
		text := fmt.Sprint(messages)
		for _, want := range []string{"pack well", "(define (priority item remaining) (- item remaining))", "score 1.25", "hard: 2\n  easy: 0.5", "(* item remaining)", "Functions: * + - max", "At most 20 nodes", "item is a real, remaining is a real, it returns a real"} {
			if !strings.Contains(text, want) {
				t.Errorf("the prompts lack %q:\n%s", want, text)
			}
		}
		if x := only(t, store); x.TokensIn != 11 || x.TokensOut != 7 || x.Micros != 11*2+7*10 || x.Attempts != 1 {
			t.Errorf("%+v", x)
		}
	})
}

func TestPromptsAreTheUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{handle: func(w http.ResponseWriter, _ *http.Request) { completion(w, "(+ item 1)", 1, 1) }}
		c := model()
		c.System, c.User, c.LimitName = "Be brief.", "{{.Task}}: {{.Parent.Source}}{{with .Refused}} not {{.Answer}}{{end}}", "max_completion_tokens"
		p, _ := e.serve(t, c, Ceilings{}, newMemory())
		propose(t, p, round(t, "model", 1))
		want := []any{map[string]any{"role": "system", "content": "Be brief."}, map[string]any{"role": "user", "content": "pack well: (define (priority item remaining) (- item remaining))"}}
		requests, _ := e.asked()
		if asked := requests[0]; !reflect.DeepEqual(asked["messages"], want) || asked["max_completion_tokens"] != 100.0 || asked["max_tokens"] != nil {
			t.Errorf("%v", asked)
		}
		other, _ := c.open()
		c.User += " "
		changed, _ := c.open()
		a, _ := other.identity()
		b, _ := changed.identity()
		if string(a) == string(b) {
			t.Error("another prompt is another identity")
		}
	})
}

// What may pass is tried again, with pauses; what may not is not.
func TestChatThatFails(t *testing.T) {
	const good = "(+ item 2)"
	stall := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	status := func(code int, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			http.Error(w, "no\x1b[2J", code)
		}
	}
	truncated := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"choices": [`)
	}
	halting := func(w http.ResponseWriter, r *http.Request) { // says something, and no more
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, `{"choices": [`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		handle  http.HandlerFunc
		again   bool
		failure string
		sleeps  time.Duration // at least, before the second attempt
		free    bool          // whether the failed attempts cost no tokens
	}{
		"stalls":        {stall, true, "no answer within 30s", 30 * time.Second, false},
		"halts":         {halting, true, "no answer within 30s", 30 * time.Second, false},
		"truncates":     {truncated, true, "unexpected EOF", 0, false},
		"hangs up":      {hangUp, true, "EOF", 0, false},
		"500":           {status(500, ""), true, `http://stub/v1 answered 500 Internal Server Error: no\x1b;[2J`, 0, true},
		"408":           {status(408, ""), true, "answered 408", 0, true},
		"429":           {status(429, "7"), true, "answered 429", 7 * time.Second, true},
		"429 long":      {status(429, "86400"), true, "answered 429", time.Minute, true},
		"503 by date":   {status(503, "Sat, 01 Jan 2000 00:00:20 GMT"), true, "answered 503", 19 * time.Second, true},
		"no json":       {write("<html>\x07"), true, `no chat completion: <html>\x7;`, 0, false},
		"no choice":     {write(`{"error": "busy"}`), true, "no chat completion", 0, false},
		"huge":          {write(strings.Repeat("x", maxAnswer+1)), false, "more than 1048576 bytes", 0, false},
		"422":           {status(422, ""), false, "answered 422", 0, true},
		"400":           {status(400, ""), false, "answered 400", 0, true},
		"odd but whole": {write(`{"choices": [{"message": {"content": null}}]}`), false, "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{handle: c.handle}
				store := newMemory()
				p, h := e.serve(t, model(), Ceilings{}, store)
				if got := propose(t, p, round(t, "model", 1)); got[0] != "" {
					t.Fatalf("accepted %s", got[0])
				}
				if c.failure == "" { // an empty answer is an answer, and refused
					if u := p.Spent()[0]; u.Refused[Unreadable] != 2 || u.Failed != 0 {
						t.Errorf("%+v", u)
					}
					return
				}
				want := 1
				if c.again {
					want = 4
				}
				x := only(t, store)
				requests, at := e.asked()
				if len(requests) != want || x.Attempts != want || !strings.Contains(x.Failure, c.failure) || strings.ContainsRune(x.Failure, 0x1b) {
					t.Errorf("%d requests, recorded %+v", len(requests), x)
				}
				if (x.TokensIn+x.TokensOut == 0) != c.free {
					t.Errorf("it cost %d and %d tokens", x.TokensIn, x.TokensOut)
				}
				if c.again && at[1].Sub(at[0]) < c.sleeps {
					t.Errorf("the second attempt came after %v, want %v", at[1].Sub(at[0]), c.sleeps)
				}
				for i := 1; i < len(at); i++ {
					if most := 30*time.Second + max(c.sleeps, firstPause<<(i-1)); at[i].Sub(at[i-1]) > most {
						t.Errorf("attempt %d came after %v, want at most %v", i+1, at[i].Sub(at[i-1]), most)
					}
				}
				if len(*h) != 1 {
					t.Errorf("said %q", *h)
				}

				// The next time it fails twice, and then answers.
				if !c.again {
					return
				}
				began := e.count()
				e.mu.Lock()
				e.handle = func(w http.ResponseWriter, r *http.Request) {
					if e.count() < began+3 {
						c.handle(w, r)
					} else {
						completion(w, good, 1, 1)
					}
				}
				e.mu.Unlock()
				r := round(t, "model", 1)
				r.Asks[0].Seed = 99
				if got := propose(t, p, r); got[0] == "" || e.count() != began+3 {
					t.Errorf("%q after %d requests", got, e.count()-began)
				}
			})
		})
	}
}

func TestNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := model(), newMemory()
		p, h := proposers(t, Ceilings{}, store, c)
		p.sources["model"].source.(*chat).transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
		}}
		propose(t, p, round(t, "model", 1))
		if x := only(t, store); x.Attempts != 4 || x.TokensIn != 0 || !strings.Contains(x.Failure, "connection refused") {
			t.Errorf("%+v", x)
		}
		if len(*h) != 1 {
			t.Errorf("said %q", *h)
		}
	})
}

// Settings that cannot work end the run with the cure, and leave nothing recorded.
func TestChatThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		env  string
		key  string
		want string
	}{
		"401":          {401, "MODEL_KEY", secret, "answered 401 Unauthorized: you have no right; set the key for it in the environment variable MODEL_KEY"},
		"403":          {403, "", "", "it wants a key: name the environment variable that has it with key-env"},
		"404":          {404, "", "", `give the url up to /chat/completions, mostly with /v1, and a model that is there ("m" is asked for)`},
		"redirect":     {307, "MODEL_KEY", secret, "redirections are not followed"},
		"no key":       {200, "MODEL_KEY", "", "the environment variable MODEL_KEY is not set: set it to the key for http://stub/v1"},
		"strange key":  {200, "MODEL_KEY", "two\nlines-of-key", "the environment variable MODEL_KEY has no key"},
		"short key":    {200, "MODEL_KEY", "abc", "the environment variable MODEL_KEY has no key"},
		"says the key": {401, "MODEL_KEY", secret, "you have no right"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("MODEL_KEY", c.key)
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{handle: func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "http://elsewhere/v1?"+r.Header.Get("Authorization"))
					w.WriteHeader(c.code)
					_, _ = io.WriteString(w, "you have no right")
					if name == "says the key" {
						_, _ = io.WriteString(w, ": "+r.Header.Get("Authorization"))
					}
				}}
				m, store := model(), newMemory()
				m.KeyEnv = c.env
				p, _ := e.serve(t, m, Ceilings{}, store)
				_, err := p.Propose(t.Context(), round(t, "model", 1))
				if err == nil || !strings.Contains(err.Error(), "proposer model: ") || !strings.Contains(err.Error(), c.want) || len(store.all) != 0 || e.count() > 1 {
					t.Errorf("%v after %d requests, %d recorded", err, e.count(), len(store.all))
				}
				if c.key != "" && strings.Contains(err.Error(), c.key) {
					t.Errorf("the key is shown: %v", err)
				}
			})
		})
	}
}

// An endpoint that repeats the key everywhere does not get it into anything.
func TestKeyIsNowhere(t *testing.T) {
	t.Setenv("MODEL_KEY", " "+secret+"\n")
	for _, code := range []int{200, 400, 401, 429, 500, 307} {
		for _, content := range []string{"(+ item 2) ; %s", "I know that %s", `{"definition": "(+ item 3)", "note": "%s"}`} {
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{handle: func(w http.ResponseWriter, r *http.Request) {
					sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
					if sent != secret {
						t.Errorf("sent %q", sent)
					}
					for _, h := range []string{"Retry-After", "X-Key", "Location"} {
						w.Header().Set(h, sent)
					}
					w.WriteHeader(code)
					if code == 200 {
						completion(w, fmt.Sprintf(content, sent), 1, 1)
					} else {
						quoted, _ := json.Marshal(sent)
						fmt.Fprintf(w, `{"error": {"message": %s}, "plain": "%s"}`, quoted, sent)
					}
				}}
				c, store := model(), newMemory()
				c.KeyEnv = "MODEL_KEY"
				p, h := e.serve(t, c, Ceilings{}, store)
				_, err := p.Propose(t.Context(), round(t, "model", 1))
				all := fmt.Sprintf("%v %+v %#v", err, p.Spent(), *h)
				for _, x := range store.all {
					all += fmt.Sprintf("%+v %s %s", x, x.Request, x.Answer)
				}
				requests, _ := e.asked()
				for _, r := range requests {
					all += fmt.Sprint(r)
				}
				escaped, _ := json.Marshal(secret)
				if strings.Contains(all, secret) || strings.Contains(all, strings.Trim(string(escaped), `"`)) || strings.Contains(all, secret[:15]) {
					t.Errorf("status %d, %s: %s", code, content, all)
				}
				if !strings.Contains(all, hidden) {
					t.Errorf("status %d, %s: it did not come back at all: %s", code, content, all)
				}
			})
		}
	}
	k := newKey(secret)
	data, err := json.Marshal(map[string]any{"k": k, "p": &k})
	if shown := fmt.Sprintf("%v %+v %#v %s %q %x %d %s %v", k, k, k, k, k, k, struct{ k key }{k}, data, &k) + k.String(); err != nil || strings.Contains(shown, secret[:5]) || strings.Contains(shown, "736b2d") {
		t.Errorf("a key is printed as %s, %v", shown, err)
	}
}

// No more of a source's asks are under way than it may have.
func TestParallelIsABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		e := &endpoint{handle: func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			completion(w, "no", 1, 1)
		}}
		p, _ := e.serve(t, model(), Ceilings{}, newMemory())
		propose(t, p, round(t, "model", 7))
		if most != 2 || e.count() != 14 {
			t.Errorf("%d at once of %d", most, e.count())
		}
	})
}

// Of answers that come in any order the same are taken.
func TestOrderOfAnswersChangesNothing(t *testing.T) {
	run := func(slow float64) (made []string, recorded map[string]Exchange) {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{}
			e.handle = func(w http.ResponseWriter, _ *http.Request) {
				requests, _ := e.asked()
				seed := requests[len(requests)-1]["seed"].(float64)
				if seed == slow {
					time.Sleep(5 * time.Second)
				}
				completion(w, fmt.Sprintf("(+ item %d)", int(seed)%3), 1, 1) // 0, 1 or 2: twins
			}
			c, store := model(), newMemory()
			c.Parallel = 1 // so that the last request is the one that is handled
			p, _ := e.serve(t, c, Ceilings{}, store)
			made, recorded = propose(t, p, round(t, "model", 6)), store.all
		})
		return made, recorded
	}
	first, recorded := run(1)
	for _, slow := range []float64{2, 5} {
		if again, r := run(slow); !slices.Equal(first, again) || !reflect.DeepEqual(recorded, r) {
			t.Errorf("%q, with another slow one %q", first, again)
		}
	}
}

// Over a real socket: the default transport, and no host that redirects to another.
func TestChatOverTheNetwork(t *testing.T) {
	t.Setenv("MODEL_KEY", secret)
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	redirect := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if redirect {
			http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
			return
		}
		completion(w, "(+ item 2)", 1, 1)
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	c := model()
	c.URL, c.KeyEnv = server.URL+"/v1", "MODEL_KEY"
	p, _ := proposers(t, Ceilings{}, newMemory(), c)
	if got := propose(t, p, round(t, "model", 1)); got[0] != "(+ item 2.)" {
		t.Errorf("%q", got)
	}
	redirect = true
	r := round(t, "model", 1)
	r.Asks[0].Seed = 7
	if _, err := p.Propose(t.Context(), r); err == nil || reached {
		t.Errorf("%v; the other host was asked: %v", err, reached)
	}
}

// A whole round of two sources keeps the order of the asks.
func TestTwoSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{handle: func(w http.ResponseWriter, _ *http.Request) { completion(w, "(max item 0.5)", 1, 1) }}
		a, b := model(), model()
		b.Name, b.Model = "other", "n"
		p, _ := e.serve(t, a, Ceilings{}, newMemory())
		made, err := open(b)
		if err != nil {
			t.Fatal(err)
		}
		made.source.(*chat).transport = p.sources["model"].source.(*chat).transport
		p.sources["other"], p.order = made, append(p.order, "other")
		r := round(t, "other", 2)
		r.Asks[1].Proposer = "model"
		if got := propose(t, p, r); got[0] == "" || got[1] != "" {
			t.Errorf("%q", got)
		}
		if u := p.Spent(); u[0].Proposer != "model" || u[0].Accepted != 0 || u[1].Accepted != 1 {
			t.Errorf("%+v", u)
		}
		r.Asks = append(r.Asks, ga.Ask{Proposer: "third", Parent: r.Asks[0].Parent})
		if _, err := p.Propose(t.Context(), r); err == nil || !strings.Contains(err.Error(), `"third"`) {
			t.Errorf("%v", err)
		}
	})
}

// Against a model that runs here, where one does: its address up to /v1 in
// JIRD_CHAT_URL, its name in JIRD_CHAT_MODEL.
func TestLocalModel(t *testing.T) {
	url := os.Getenv("JIRD_CHAT_URL")
	if url == "" {
		t.Skip("skipped: JIRD_CHAT_URL names no endpoint")
	}
	c := model()
	c.URL, c.Model, c.MaxTokens, c.Timeout = url, cmp.Or(os.Getenv("JIRD_CHAT_MODEL"), "default"), 1000, 10*time.Minute
	store := newMemory()
	p, h := proposers(t, Ceilings{}, store, c)
	t.Logf("%q, %+v, said %q", propose(t, p, round(t, "model", 2)), p.Spent(), *h)
	for _, x := range store.all {
		if x.Failure != "" {
			t.Error(x.Failure)
		}
	}
}
