package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"jird/experiments/examples"
)

// openLab is the example of open code, with a proposer that counts its calls in a file.
func openLab(t *testing.T, count string, edits ...string) (l *Lab, s *Spec, calls func() int) {
	t.Helper()
	needScheme(t)
	dir := t.TempDir()
	if err := examples.Write("packer-open", filepath.Join(dir, "p")); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho called >>" + count + "\nexec awk -f propose.awk\n"
	if err := os.WriteFile(filepath.Join(dir, "p", "count.sh"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "p", "experiment.yaml")
	edits = append([]string{
		"script: {command: [awk, -f, propose.awk]}\n  model:", "script: {command: [sh, count.sh], files: [propose.awk]}\n  model:",
		"generations: 10", "generations: 2", "train:    {count: 10}", "train:    {count: 4}", "validate: {count: 40}", "validate: {count: 4}", "holdout:  {count: 200}", "holdout:  {count: 20}",
		"population: 8", "population: 4",
	}, edits...)
	for i := 0; i < len(edits); i += 2 {
		edit(t, path, edits[i], edits[i+1])
	}
	s, err := Load(path, "script")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = OpenLab(filepath.Join(dir, "home"), t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, s, func() int {
		data, _ := os.ReadFile(count) // not there before the first call
		return bytes.Count(data, []byte("\n"))
	}
}

func exported(t *testing.T, l *Lab, run string) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.Ledger.Export(&b, run); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What proposers said is recorded: a run that was interrupted in the middle of a generation
// ends as one that was not, and the same run again asks nobody.
func TestProposalsAreReplayed(t *testing.T) {
	t.Parallel()
	count := filepath.Join(t.TempDir(), "count")
	l, s, calls := openLab(t, count)
	whole, err := l.Run(t.Context(), s, Options{Workers: 1, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if whole.Evaluations < 4 || len(whole.Proposers) != 1 || whole.Proposers[0].Calls != calls() || whole.Proposers[0].Accepted+1 != whole.Evaluations {
		t.Fatalf("%d evaluations, %d calls, %+v", whole.Evaluations, calls(), whole.Proposers)
	}
	want, made := exported(t, l, whole.Run), calls()

	again, err := l.Run(t.Context(), s, Options{Workers: 2, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	// The run's row tells that it is a repetition; all else is the same.
	_, a, _ := strings.Cut(want, "\n")
	_, b, _ := strings.Cut(exported(t, l, again.Run), "\n")
	if again.Run == whole.Run || calls() != made || again.Proposers[0].Replayed != made {
		t.Errorf("run %s again as %s: %d calls, then %d; %+v", whole.Run, again.Run, made, calls(), again.Proposers)
	}
	if line := firstDifference(undecided(a), undecided(b)); line != "" {
		t.Errorf("repeated, with another record: %s", line)
	}

	l, s, _ = openLab(t, count)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // in the middle of a generation
		for calls() < made+made/2 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	part, err := l.Run(ctx, s, Options{Keep: true})
	if err != nil || !part.Interrupted {
		t.Fatalf("%+v, %v", part, err)
	}
	rest, err := l.Resume(t.Context(), part.Run, Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if line := firstDifference(exported(t, l, part.Run), want); line != "" || rest.Proposers[0].Calls != whole.Proposers[0].Calls {
		t.Errorf("resumed, with another record: %s\n%+v\n%+v", line, rest.Proposers, whole.Proposers)
	}
	imported := emptyLab(t)
	if in, err := imported.Ledger.Import(strings.NewReader(want)); err != nil || len(in.New) != 1 {
		t.Errorf("imported: %+v, %v", in, err)
	}
	if got := exported(t, imported, whole.Run); got != want {
		t.Error("imported, with another record")
	}
}

// firstDifference is the first line in which two texts differ, and what it is in each.
func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(as), len(bs)) {
		if i >= len(as) || i >= len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("line %d\n%.1500s\n%.1500s", i+1, strings.Join(as[min(i, len(as)):], "\n"), strings.Join(bs[min(i, len(bs)):], "\n"))
		}
	}
	return ""
}

// undecided is a record without its decision, whose cases belong to the run alone.
func undecided(record string) string {
	before, _, _ := strings.Cut(record, `{"table":"decision"`)
	return before
}

// A grammar's runs ask too, beside the operators: what is proposed is held to the grammar.
func TestProposersBesideTheOperators(t *testing.T) {
	t.Parallel()
	needScheme(t)
	l, s := lab(t, "experiment.yaml", "shadows: 50", `shadows: 50
task: score bins
proposers:
  gp: {share: 2}
  ideas: {command: [sh, ideas.sh], share: bandit}
  poor: {command: [sh, -c, "echo '(define (priority item remaining) (car item))'"], share: bandit}
`)
	defer l.Close()
	script := `n=$(sed 's/.*"seed":\([0-9]*\).*/\1/'); echo "{\"definition\": \"(define (priority item remaining) (* $((n % 9 + 1)) (- item (/ remaining $((n / 9 % 7 + 2))))))\"}"`
	file := filepath.Join(filepath.Dir(s.Agent), "ideas.sh")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	reloaded, err := Load(filepath.Join(filepath.Dir(s.Agent), "experiment.yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Proposers = reloaded.Proposers
	result, err := l.Run(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ideas, poor := result.Proposers[0], result.Proposers[1]
	if ideas.Accepted == 0 || poor.Accepted != 0 || poor.Asked == 0 || poor.Refused["invalid"] != 2*poor.Asked {
		t.Errorf("%+v", result.Proposers)
	}
	r, err := l.Ledger.Report(result.Run)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for _, o := range r.Operators {
		made[o.Name] = o.Made
	}
	if made["ideas"] != ideas.Accepted || made["crossover"] == 0 {
		t.Errorf("%v", made)
	}
}

// endpoint is a model that answers as an OpenAI-compatible server does.
func endpoint(t *testing.T, say func(n int, r *http.Request) (status int, content string)) *httptest.Server {
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		status, content := say(n, r)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status != http.StatusOK {
			fmt.Fprint(w, content)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{
			"choices": []any{map[string]any{"message": map[string]string{"role": "assistant", "content": content}}},
			"usage":   map[string]int{"prompt_tokens": 1000, "completion_tokens": 100},
		})
	}))
	t.Cleanup(server.Close)
	return server
}

const secret = "sk-this-must-appear-nowhere"

// What a model says is measured like anything else, and shown to nobody as it is; a key is
// found in nothing that a run leaves; ceilings end a run that nobody else can go on with.
func TestModelsPropose(t *testing.T) {
	t.Setenv("JIRD_TEST_KEY", secret)
	said := []string{
		"```scheme\n(define (order items) (reverse items)) ; <script>alert(1)</script>\n```",
		"{\"definition\": \"(define (value left item) (begin (display \\\"\\\\u001b[31m\\\") (exit 9)))\"}",
		"I cannot do that.",
		"(define (choose bins item) (let loop () (loop)))",
		"(define (choose bins item) (cond ((null? bins) #f) ((<= item (caar bins)) (car bins)) (else (choose (cdr bins) item))))",
		"(define (note) \"<script>alert(2)</script>\") (define (order items) (note) (list-tail items 0))",
	}
	authorized := 0
	server := endpoint(t, func(n int, r *http.Request) (int, string) {
		if r.Header.Get("Authorization") == "Bearer "+secret {
			authorized++
		}
		if n%7 == 3 {
			return http.StatusTooManyRequests, "slow down, " + r.Header.Get("Authorization")
		}
		return http.StatusOK, said[n%len(said)]
	})
	l, s, _ := openLab(t, "none", "script: {command: [sh, count.sh], files: [propose.awk]}",
		`model: {chat: {url: "`+server.URL+`/v1", model: m, key-env: JIRD_TEST_KEY, max-tokens: 200, price-in: 2, price-out: 8}, retries: 0}
    ceilings: {calls: 20, money: 1}`, "limits: {wall: 10s}", "limits: {wall: 8s}", "generations: 2", "generations: 50")
	result, err := l.Run(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	u := result.Proposers[0]
	if result.Stop != "ceilings" || u.Calls != 20 || authorized != 20 || u.TokensIn == 0 || u.Micros == 0 || u.Accepted == 0 || u.Failed == 0 || u.Refused["unreadable"] == 0 {
		t.Errorf("%s, %d calls with a key, %+v", result.Stop, authorized, result.Proposers)
	}
	r, err := l.RunReport(result.Run)
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcomes["ok"] < 2 {
		t.Errorf("outcomes %v", r.Outcomes)
	}
	var page bytes.Buffer
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>alert", "\x1b"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if err := filepath.WalkDir(l.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds the key", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if text := exported(t, l, result.Run); strings.Contains(text, secret) {
		t.Error("the export holds the key")
	}
}

func TestProposerFaults(t *testing.T) {
	good, err := os.ReadFile("examples/packer-open/experiment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const command = "script: {command: [awk, -f, propose.awk]}\n  model:"
	for _, c := range []mistake{
		{command, "script: {}\n  model:", "proposer script needs either command or chat"},
		{command, "script: {command: [awk], chat: {url: x, model: y}}\n  model:", "needs either command or chat"},
		{command, "script: {command: [awk, -f, propose.awk], files: [none.txt]}\n  model:", "none.txt cannot be read"},
		{command, "script: {command: [awk, -f, propose.awk], files: [../agent.scm]}\n  model:", "must be in the folder of this file"},
		{command, "script: {command: [awk], share: 0}\n  model:", "share must be a number above 0 up to 1000, or bandit"},
		{command, "gp: {}\n  model:", "open code is not drawn or varied"},
		{command, "gp: {}\n      script: {command: [awk]}\n  model:", "source gp cannot vary an open grammar"},
		{command, "random: {command: [awk]}\n  model:", "the ledger means something else by that name"},
		{command, "gp: {command: [awk]}\n  model:", "proposer gp has no key"},
		{"    proposers:\n      " + command, "    proposers: {}\n  model:", "name proposers with a command or a chat"},
		{"task: |\n", "question: |\n", "question must be a text"},
		{"url: \"http://127.0.0.1:11434/v1\"", "url: \"ftp://x\"", "its url is none"},
		{"url: \"http://127.0.0.1:11434/v1\"", "url: \"http://user:word@x/v1\"", "its url has a password"},
		{"model: \"qwen2.5-coder:7b\"", "temperature: 3", "temperature must be a number from 0 to 2"},
		{"model: \"qwen2.5-coder:7b\"", "user: no-such.tmpl", "no-such.tmpl cannot be read"},
		{"ceilings: {calls: 400, tokens: 2000000}", "ceilings: {calls: 0}", "calls must be a whole number from 1"},
		{"cascade: {cases: 2,", "cascade: {cases: 10,", "leave some for those that do well"},
		{"size: {low: 50, high: 250, cells: 8}", "size: {low: 50, high: 20}", "low must be below high"},
		{"trust: open", "trust: full", "trust must be one of grammar, open"},
		{"pack: {}", "pack: {args: {x: real}}", "open code says itself what it takes"},
		{"cascade:", "engine: ssh\n  cascade:", "has no key"},
		{"seed: 1", "seed: 1\nengine: ssh", "engine must be local, nats, or the address of a queue"},
		{"train:    {count: 10}", "train: {count: 10, recipe: {a: 1}}", "takes no recipe"},
	} {
		text := strings.Replace(string(good), c.from, c.to, 1)
		if text == string(good) {
			t.Fatalf("%s is not there", c.from)
		}
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("examples/packer-open")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "e.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, ""); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "e.yaml:") {
			t.Errorf("%s: %v\nwant %q", c.to, err, c.says)
		}
	}
}
