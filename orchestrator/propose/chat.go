package propose

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// Chat is a model behind an OpenAI-compatible endpoint: llama.cpp's server, Ollama, vLLM,
// or a hosted one.
type Chat struct {
	Calling
	URL         string // up to /chat/completions: http://127.0.0.1:8080/v1
	Model       string
	KeyEnv      string   // name of the environment variable that has the key; "": no key
	Temperature *float64 // nil: the endpoint's own
	MaxTokens   int      // of an answer
	// LimitName is what the endpoint calls MaxTokens; "": max_tokens. OpenAI's newer
	// models know max_completion_tokens only.
	LimitName         string
	System, User      string  // templates; "": the built-in ones
	PriceIn, PriceOut float64 // per million tokens, in any currency
}

type chat struct {
	Chat
	system, user *template.Template
	transport    http.RoundTripper
}

// overhead is how many tokens a model's own template may put around two messages.
const overhead = 100

func (c Chat) open() (source, error) {
	faults := c.check()
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("proposer %q: %s", c.Name, fmt.Sprintf(format, args...)))
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		fault("its url is none: use one such as http://127.0.0.1:8080/v1")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		fault("its url has a password, a query or a fragment, which would be recorded: leave it out, and name the variable that has the key with key-env")
	}
	if c.Model == "" {
		fault("it names no model: name the one to ask, as the endpoint calls it")
	}
	if c.MaxTokens < 1 || c.MaxTokens > 1_000_000 {
		fault("max-tokens %d: use 1 to 1000000", c.MaxTokens)
	}
	if c.Temperature != nil && !(*c.Temperature >= 0 && *c.Temperature <= 2) {
		fault("temperature %v: use 0 to 2", *c.Temperature)
	}
	if !(c.PriceIn >= 0 && c.PriceIn <= 1e6 && c.PriceOut >= 0 && c.PriceOut <= 1e6) {
		fault("prices of %v and %v for a million tokens: use 0 to 1000000", c.PriceIn, c.PriceOut)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	c.LimitName = cmp.Or(c.LimitName, "max_tokens")
	if c.LimitName != "max_tokens" && c.LimitName != "max_completion_tokens" {
		fault("its limit is called %q: use max_tokens or max_completion_tokens", c.LimitName)
	}
	c.System, c.User = cmp.Or(c.System, systemPrompt), cmp.Or(c.User, userPrompt)
	made := &chat{Chat: c, transport: http.DefaultTransport}
	if made.system, err = readPrompt("system prompt", c.System); err != nil {
		fault("%v", err)
	}
	if made.user, err = readPrompt("user prompt", c.User); err != nil {
		fault("%v", err)
	}
	return made, errors.Join(faults...)
}

func (c *chat) calling() Calling { return c.Calling }

func (c *chat) identity() ([]byte, error) {
	return encode(struct {
		Kind        string   `json:"kind"`
		URL         string   `json:"url"`
		Model       string   `json:"model"`
		Temperature *float64 `json:"temperature"`
		MaxTokens   int      `json:"max_tokens"`
		LimitName   string   `json:"limit_name"`
		System      string   `json:"system"`
		User        string   `json:"user"`
	}{"chat", c.URL, c.Model, c.Temperature, c.MaxTokens, c.LimitName, c.System, c.User})
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// prepare fills in the prompts. A token is at least a byte of text, so a prompt has no more
// of them than bytes, and what the model's template adds.
func (c *chat) prepare(r Request, _ []byte) ([]byte, cost, error) {
	system, err := fill(c.system, r)
	if err != nil {
		return nil, cost{}, fmt.Errorf("proposer %s: %w", c.Name, err)
	}
	user, err := fill(c.user, r)
	if err != nil {
		return nil, cost{}, fmt.Errorf("proposer %s: %w", c.Name, err)
	}
	body := map[string]any{
		"model": c.Model, "messages": []message{{"system", system}, {"user", user}},
		c.LimitName: c.MaxTokens, "seed": r.Seed & (1<<31 - 1), "stream": false, // a seed that fits wherever it is kept
	}
	if c.Temperature != nil {
		body["temperature"] = *c.Temperature
	}
	encoded, err := encode(body)
	return encoded, c.cost(int64(len(system)+len(user)+overhead), int64(c.MaxTokens)), err
}

func (c *chat) cost(in, out int64) cost {
	return cost{calls: 1, in: in, out: out, micros: price(in, out, c.PriceIn, c.PriceOut)}
}

// most is what a body cost at most, where nobody says.
func (c *chat) most(body []byte) cost {
	var sent struct {
		Messages []message `json:"messages"`
	}
	_ = json.Unmarshal(body, &sent) // prepare made it
	in := overhead
	for _, m := range sent.Messages {
		in += len(m.Content)
	}
	return c.cost(int64(in), int64(c.MaxTokens))
}

func (c *chat) key() (key, error) {
	if c.KeyEnv == "" {
		return key{}, nil
	}
	value := strings.TrimSpace(os.Getenv(c.KeyEnv))
	switch {
	case value == "":
		return key{}, fmt.Errorf("the environment variable %s is not set: set it to the key for %s", c.KeyEnv, c.URL)
	case len(value) < leastKey || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return key{}, fmt.Errorf("the environment variable %s has no key: one has at least %d characters, all ASCII, and no spaces", c.KeyEnv, leastKey)
	}
	return newKey(value), nil
}

func (c *chat) attempt(ctx context.Context, body []byte) ([]byte, cost, error) {
	k, err := c.key()
	if err != nil {
		return nil, cost{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, cost{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.KeyEnv != "" {
		request.Header.Set("Authorization", "Bearer "+k.value())
	}
	client := http.Client{ // a key goes nowhere but where the user says
		Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, c.unanswered(err, body), broken(ctx, k, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, cost{calls: 1}, c.refused(k, response)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, c.most(body), broken(ctx, k, err)
	}
	if len(data) > maxAnswer {
		return nil, c.most(body), &failure{text: fmt.Sprintf("it answered with more than %d bytes", maxAnswer)}
	}
	return c.read(data, body, k)
}

// unanswered is the cost of a request without an answer: nothing if it was never sent.
func (c *chat) unanswered(err error, body []byte) cost {
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return cost{calls: 1}
	}
	return c.most(body)
}

// broken says why there is no whole answer: its time was up, or the connection failed.
func broken(ctx context.Context, k key, err error) error {
	var late *failure
	if errors.As(context.Cause(ctx), &late) {
		return late
	}
	return &failure{text: line(k.scrub(err.Error())), again: true}
}

// refused says what another status than 200 means: what may pass is tried again, what is
// wrong with the request fails it, and what is wrong with the settings ends the run.
func (c *chat) refused(k key, response *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // as much as there is
	said := fmt.Sprintf("%s answered %s: %s", c.URL, line(k.scrub(response.Status)), line(k.scrub(string(data))))
	switch code := response.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		return &failure{text: said, again: true, after: retryAfter(response.Header.Get("Retry-After"), time.Now())}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		if c.KeyEnv == "" {
			return fmt.Errorf("%s; it wants a key: name the environment variable that has it with key-env", said)
		}
		return fmt.Errorf("%s; set the key for it in the environment variable %s", said, c.KeyEnv)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return fmt.Errorf("%s; give the url up to /chat/completions, mostly with /v1, and a model that is there (%q is asked for)", said, c.Model)
	case code >= 300 && code < 400:
		return fmt.Errorf("%s; redirections are not followed: give the url that it points to", said)
	}
	return &failure{text: said}
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// read takes the message out of an endpoint's answer. One that is no JSON was cut.
func (c *chat) read(data, body []byte, k key) ([]byte, cost, error) {
	var reply struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage *struct {
			In  *int64 `json:"prompt_tokens"`
			Out *int64 `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(data, &reply); err != nil || len(reply.Choices) == 0 {
		return nil, c.most(body), &failure{text: "it answered with something that is no chat completion: " + line(k.scrub(string(data))), again: true}
	}
	spent := c.most(body)
	if u := reply.Usage; u != nil && tokens32(u.In) && tokens32(u.Out) {
		spent = c.cost(*u.In, *u.Out)
	}
	return []byte(k.scrub(reply.Choices[0].Message.Content)), spent, nil
}

// tokens32 says whether a count can be believed at all.
func tokens32(n *int64) bool { return n != nil && *n >= 0 && *n < 1<<31 }
