package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Client calls a guard through its socket. Safe for concurrent use.
type Client struct {
	http *http.Client
	path string
}

// NewClient makes a client for the socket at path; it connects when it is used.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}, path}
}

// RefusedError is an answer other than success.
type RefusedError struct {
	Status  int // HTTP
	Message string
}

func (e *RefusedError) Error() string { return e.Message }

// retryFor is how long a guard that cannot be reached is tried again: one that is
// being restarted takes a tenth of that.
const retryFor = time.Second

// do sends a request, again for a moment while nobody listens. That is safe for a
// call with an id, and for any other since the guard had not taken it.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte) ([]byte, http.Header, error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		request, err := http.NewRequestWithContext(ctx, method, "http://guard"+path, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		for name, values := range header {
			request.Header[name] = values
		}
		response, err := c.http.Do(request)
		if err != nil {
			unheard := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
			if unheard && time.Since(began) < retryFor && ctx.Err() == nil {
				continue
			}
			return nil, nil, fmt.Errorf("calling the guard at %s: %w", c.path, err)
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("reading the guard's answer: %w", err)
		}
		if response.StatusCode != http.StatusOK {
			return nil, response.Header, &RefusedError{response.StatusCode, strings.TrimSpace(string(answer))}
		}
		return answer, response.Header, nil
	}
}

// Call sends one datum, as text, and returns the answer's text. The header may hold
// what a call may carry.
func (c *Client) Call(ctx context.Context, datum string, header http.Header) (string, http.Header, error) {
	answer, h, err := c.do(ctx, http.MethodPost, "/v1/call", header, []byte(datum))
	return strings.TrimSuffix(string(answer), "\n"), h, err
}

// Promote has the guard carry a promotion out, and waits for its end.
func (c *Client) Promote(ctx context.Context, p Promotion) (Ended, error) {
	return c.promotion(ctx, "/v1/promote", p)
}

// Rollback has the guard go back to p.To, or to what was live before.
func (c *Client) Rollback(ctx context.Context, p Promotion) (Ended, error) {
	return c.promotion(ctx, "/v1/rollback", p)
}

func (c *Client) promotion(ctx context.Context, path string, p Promotion) (e Ended, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return e, err
	}
	answer, _, err := c.do(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(answer, &e)
}

// Status is the guard's status as JSON.
func (c *Client) Status(ctx context.Context) ([]byte, error) {
	answer, _, err := c.do(ctx, http.MethodGet, "/v1/status", nil, nil)
	return answer, err
}
