// Package serve lets others reach a guard: HTTP on a Unix socket, and on loopback
// TCP where that is asked for.
//
//	POST /v1/call      an S-expression in, one out
//	POST /v1/promote   JSON {"to", "kind", "reason"} -> how the promotion ended
//	POST /v1/rollback  JSON {"to", "reason"} -> the same
//	GET  /v1/status    JSON, see guard.Status
//	GET  /healthz      200 while the guard lives
//	GET  /readyz       200 while calls are taken
//	GET  /metrics      for Prometheus
//
// A call may carry Idempotency-Key (a repetition gets the first one's answer),
// Jird-Sticky (who calls, for a canary's split) and Jird-Deadline (a duration such
// as 500ms). Its answer carries Jird-Status (ok, raised or failed), Jird-Version,
// Jird-LSN, and Jird-Repeated when it was given before.
//
// Statuses: 200 answered; 400 not a datum; 403 a page of a browser, over TCP; 409 an id with another body; 413 too
// large; 422 the agent raised an exception, or the call killed it twice; 429 the
// queue is full; 503 ending, or the journal failed; 504 the deadline passed; 507
// only calls that change nothing are served. Anybody who can open the socket may
// do all of this: its file's mode is the access control.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/snapshots"
	"jird/snapshots/sexpr"
)

// MaxBody is the most bytes of a request.
const MaxBody = 8 << 20

// Header names of a call and its answer.
const (
	HeaderID       = "Idempotency-Key"
	HeaderSticky   = "Jird-Sticky"
	HeaderDeadline = "Jird-Deadline"
	HeaderStatus   = "Jird-Status"
	HeaderVersion  = "Jird-Version"
	HeaderLSN      = "Jird-LSN"
	HeaderRepeated = "Jird-Repeated"
)

// Handler serves a guard. Safe for concurrent use.
func Handler(g *guard.Guard) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /v1/call", func(w http.ResponseWriter, r *http.Request) { call(g, w, r) })
	m.HandleFunc("POST /v1/promote", func(w http.ResponseWriter, r *http.Request) { promote(g, w, r) })
	m.HandleFunc("POST /v1/rollback", func(w http.ResponseWriter, r *http.Request) { rollback(g, w, r) })
	m.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, g.Status()) })
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(g, w) })
	m.Handle("GET /metrics", metrics(g))
	return local(m)
}

// local refuses what a page in a browser sends to a port of loopback: one from elsewhere
// names its origin, and one whose name was made to lead here (DNS rebinding) that name.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if at != nil && at.Network() == "tcp" && (r.Header.Get("Origin") != "" || !isLoopback(hostOf(r.Host))) {
			http.Error(w, "only programs of this machine are answered, by localhost or a loopback address, and no page of a browser", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostOf(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return strings.Trim(hostPort, "[]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func ready(g *guard.Guard, w http.ResponseWriter) {
	if s := g.Status(); !s.Ready {
		http.Error(w, "the agent is not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func call(g *guard.Guard, w http.ResponseWriter, r *http.Request) {
	request, status, err := readCall(w, r)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	// A caller that goes away does not take back a call that has begun.
	result, err := g.Call(r.Context(), request)
	if err != nil {
		fail(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set(HeaderStatus, string(result.Reply.Status))
	h.Set(HeaderVersion, string(result.Version))
	if result.LSN > 0 {
		h.Set(HeaderLSN, strconv.FormatUint(result.LSN, 10))
	}
	if result.Repeated {
		h.Set(HeaderRepeated, "true")
	}
	if result.Reply.Status != journal.OK {
		http.Error(w, result.Reply.Text, http.StatusUnprocessableEntity)
		return
	}
	text, err := sexpr.Canonical(result.Reply.Value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(append(text, '\n')) // a caller that is gone asks again by its id
}

func readCall(w http.ResponseWriter, r *http.Request) (guard.Request, int, error) {
	body, status, err := readBody(w, r)
	if err != nil {
		return guard.Request{}, status, err
	}
	datum, err := sexpr.Read(body)
	if err != nil {
		return guard.Request{}, http.StatusBadRequest, fmt.Errorf("the body is not one S-expression: %w", err)
	}
	request := guard.Request{ID: r.Header.Get(HeaderID), Datum: datum, Sticky: r.Header.Get(HeaderSticky)}
	if text := r.Header.Get(HeaderDeadline); text != "" {
		if request.Deadline, err = time.ParseDuration(text); err != nil || request.Deadline <= 0 {
			return request, http.StatusBadRequest, fmt.Errorf("%s: %q is not a duration above zero, such as 500ms", HeaderDeadline, text)
		}
	}
	return request, 0, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is over %d bytes", MaxBody)
	case err != nil:
		return nil, http.StatusBadRequest, fmt.Errorf("reading the body: %w", err)
	}
	return body, 0, nil
}

// statuses are the guard's errors as HTTP says them.
var statuses = []struct {
	err    error
	status int
}{
	{journal.ErrOtherBody, http.StatusConflict},
	{guard.ErrQueueFull, http.StatusTooManyRequests},
	{guard.ErrDeadline, http.StatusGatewayTimeout},
	{guard.ErrReadOnly, http.StatusInsufficientStorage},
	{guard.ErrClosed, http.StatusServiceUnavailable},
	{guard.ErrDown, http.StatusServiceUnavailable},
	{guard.ErrNotKept, http.StatusServiceUnavailable},
	{guard.ErrUnknown, http.StatusServiceUnavailable},
	{guard.ErrBusy, http.StatusConflict},
	{guard.ErrNoVersion, http.StatusConflict},
	{snapshots.ErrRefMoved, http.StatusConflict},
	{context.Canceled, 499},
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			status = s.status
			break
		}
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, err.Error(), status)
}

// Promotion is the body of /v1/promote and /v1/rollback.
type Promotion struct {
	From   snapshots.ID `json:"from"` // what must be live, or empty
	To     snapshots.ID `json:"to"`
	Kind   journal.Kind `json:"kind"`
	Reason string       `json:"reason"`
}

// Ended is how a promotion ended.
type Ended struct {
	Number   int          `json:"number"`
	From     snapshots.ID `json:"from"`
	To       snapshots.ID `json:"to"`
	Promoted bool         `json:"promoted"`
	Steps    []string     `json:"steps"`
	Reason   string       `json:"reason"` // of a rejection
}

func promote(g *guard.Guard, w http.ResponseWriter, r *http.Request) {
	p, ok := readPromotion(w, r)
	if !ok {
		return
	}
	if p.Kind != journal.Promotion && p.Kind != journal.Forced {
		http.Error(w, fmt.Sprintf("kind %q: use %q or %q", p.Kind, journal.Promotion, journal.Forced), http.StatusBadRequest)
		return
	}
	a, err := g.Promote(r.Context(), guard.Promote{From: p.From, To: p.To, Kind: p.Kind, Reason: p.Reason})
	answer(w, a, err)
}

func rollback(g *guard.Guard, w http.ResponseWriter, r *http.Request) {
	if p, ok := readPromotion(w, r); ok {
		a, err := g.Rollback(r.Context(), p.To, p.Reason)
		answer(w, a, err)
	}
}

func readPromotion(w http.ResponseWriter, r *http.Request) (p Promotion, ok bool) {
	body, status, err := readBody(w, r)
	if err == nil {
		if err = json.Unmarshal(body, &p); err != nil {
			status = http.StatusBadRequest
		}
	}
	if err != nil {
		http.Error(w, err.Error(), status)
	}
	return p, err == nil
}

func answer(w http.ResponseWriter, a journal.Attempt, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, NewEnded(a))
}

// NewEnded describes an attempt.
func NewEnded(a journal.Attempt) Ended {
	return Ended{a.N, a.From, a.To, a.Live(), append([]string{}, a.Steps...), a.Why}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // to a caller that may be gone
}
