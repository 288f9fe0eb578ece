package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"jird/orchestrator"
	"jird/orchestrator/remote"
	"jird/population"
	"jird/sandbox/isolation"
	"jird/snapshots"
)

// queueWith is a queue that somebody else runs, with workers of their own.
func queueWith(t *testing.T, workers int) Engine {
	t.Helper()
	queue, err := remote.Open(t.Context(), remote.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queue.Close() })
	e := Engine{Where: "nats://" + queue.Address()}
	for range workers {
		work(t, e.Where)
	}
	return e
}

// The same seed gives the same ledger on each engine, and a run that was interrupted on one
// can be resumed on another.
func TestEnginesGiveTheSameLedger(t *testing.T) {
	t.Parallel()
	needScheme(t)
	l, s := lab(t)
	defer l.Close()
	s.Train.Count = 7 // a unit and a part of one
	want, err := l.Run(t.Context(), s, Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	record := exported(t, l, want.Run)
	for name, e := range map[string]Engine{"in this process": {Where: "nats"}, "of others": queueWith(t, 3)} {
		l, again := lab(t)
		defer l.Close()
		again.Train.Count = 7
		got, err := l.Run(t.Context(), again, Options{Keep: true, Engine: e})
		if err != nil {
			t.Fatal(err)
		}
		if line := firstDifference(exported(t, l, got.Run), record); line != "" {
			t.Errorf("%s: another record: %s", name, line)
		}
	}
	other, again := lab(t)
	defer other.Close()
	again.Train.Count = 7
	ctx, cancel := context.WithCancel(t.Context())
	part, err := other.Run(ctx, again, Options{Keep: true, Engine: Engine{Where: "nats"}, Events: func(e orchestrator.Event) {
		if e.Generation == 1 {
			cancel()
		}
	}})
	if err != nil || !part.Interrupted {
		t.Fatalf("%+v, %v", part, err)
	}
	if _, err := other.Resume(t.Context(), part.Run, Options{Keep: true}); err != nil {
		t.Fatal(err)
	}
	if line := firstDifference(exported(t, other, part.Run), record); line != "" {
		t.Errorf("resumed here: another record: %s", line)
	}
}

// Open code goes to workers as genomes of a grammar do.
func TestOpenCodeIsFarmedOut(t *testing.T) {
	t.Parallel()
	count := filepath.Join(t.TempDir(), "count")
	l, s, _ := openLab(t, count)
	want, err := l.Run(t.Context(), s, Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	far, s, _ := openLab(t, count)
	got, err := far.Run(t.Context(), s, Options{Keep: true, Engine: queueWith(t, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if line := firstDifference(exported(t, far, got.Run), exported(t, l, want.Run)); line != "" {
		t.Errorf("another record: %s", line)
	}
}

// A referee that fails far away ends the run with the same words as here.
func TestRefereeThatFailsFarAway(t *testing.T) {
	t.Parallel()
	needScheme(t)
	var said []string
	for _, e := range []Engine{{}, {Where: "nats"}} {
		l, s := lab(t, "agent/fitness.scm", "(define (fitness-score case)\n", "(define (fitness-score case)\n  (if (not (= 130 (priority 20 150))) (error \"too odd\" case))\n")
		defer l.Close()
		_, err := l.Run(t.Context(), s, Options{Engine: e})
		var referee *orchestrator.RefereeError
		if !errors.As(err, &referee) {
			t.Fatalf("%v", err)
		}
		said = append(said, referee.Error())
	}
	if said[0] != said[1] || !strings.Contains(said[0], "too odd") {
		t.Errorf("here %s\nfar away %s", said[0], said[1])
	}
}

// A snapshot reaches a worker once, whatever benches it is asked for, and one that is not
// what was named is refused.
func TestSnapshotReachesAWorkerOnce(t *testing.T) {
	t.Parallel()
	needScheme(t)
	l, s := lab(t)
	defer l.Close()
	p, _, err := l.planFor(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Identify(&p.Record)
	objects := map[string][]byte{}
	var archives atomic.Int64
	put := func(name string, v any) string {
		data, isBytes := v.([]byte)
		if !isBytes {
			if data, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		objects[name] = data
		return name
	}
	get := func(_ context.Context, hash string) ([]byte, error) {
		if strings.HasPrefix(hash, "archive") {
			archives.Add(1)
		}
		return objects[hash], nil
	}
	var archive bytes.Buffer
	if err := l.Vault.Export(&archive, []snapshots.ID{snapshots.ID(p.Record.Agent)}, nil); err != nil {
		t.Fatal(err)
	}
	put("archive", archive.Bytes())
	home := t.TempDir()
	for restart := range 2 {
		mine, err := OpenLab(home, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		w := mine.newWorker(1, isolation.Full)
		for i := range maxOpened + 2 {
			b := put(fmt.Sprint("bench", i), bench{
				Spec: p.Record.Spec, Evaluator: p.Record.Evaluator, Runtime: p.Record.Runtime, Agent: p.Record.Agent, Archive: "archive",
				Count: 2, Recipe: `((class . "u") (capacity . 150) (low . 20) (high . 100) (items . 50))`, Seed: uint64(i),
			})
			body, err := json.Marshal(job{Bench: b, Genomes: []string{"(define (priority item remaining) (- item remaining))"}, To: 2})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := w.do(t.Context(), get, body)
			if err != nil {
				t.Fatal(err)
			}
			if o, err := readResult(answer, 1, 2); err != nil || o[0].Status != population.OK {
				t.Fatalf("%+v, %v", o, err)
			}
		}
		if len(w.open) > maxOpened {
			t.Errorf("%d benches are open", len(w.open))
		}
		if archives.Load() != 1 {
			t.Errorf("start %d: the snapshot was fetched %d times", restart, archives.Load())
		}
		w.close()
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stranger, err := OpenLab(t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	w := stranger.newWorker(1, isolation.Full)
	defer w.close()
	put("other", bench{Spec: p.Record.Spec, Evaluator: p.Record.Evaluator, Runtime: p.Record.Runtime, Agent: strings.Repeat("0", 64), Archive: "archive", Count: 2, Recipe: "()"})
	body, _ := json.Marshal(job{Bench: "other", Genomes: []string{"1."}, To: 2})
	if _, err := w.do(t.Context(), get, body); err == nil {
		t.Error("an archive of another snapshot was taken")
	}
}

// What a worker answers is believed, but it must be of the form.
func TestAnswersOfWorkers(t *testing.T) {
	for text, want := range map[string]string{
		"{":                  "cannot be read",
		`{"outcomes": []}`:   "0 outcomes for 1 genomes",
		`{"outcomes": [{}]}`: `"" with 0 scores`,
		`{"outcomes": [{"status":"ok","scores":[[1,2]]}]}`:         `"ok" with 1 scores for 2 cases`,
		`{"outcomes": [{"status":"fuel","scores":[[1,2],[1,2]]}]}`: `"fuel" with 2 scores`,
		`{"outcomes": [{"status":"fine","scores":[[1,2],[1,2]]}]}`: `"fine"`,
		`{"outcomes": [{"status":"ok","scores":[[1,2],[1,0]]}]}`:   "no score",
		`{"referee": {"message": "bad", "genome": "(f)"}}`:         "the referee failed",
		`{"referee": {"message": "bad", "file": "fitness.scm"}}`:   "fitness.scm: bad",
	} {
		if o, err := readResult([]byte(text), 1, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", text, o, err, want)
		}
	}
}
