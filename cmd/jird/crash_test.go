package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"jird/orchestrator/guard"
	"jird/orchestrator/journal"
	"jird/orchestrator/serve"
	"jird/snapshots"
)

// arrows are all places where a guard can be killed by name. Each is passed by the
// kind of promotion behind it; "" needs none but what always goes on.
var arrows = []struct{ name, by string }{
	{"call.append", ""}, {"call.acknowledge", ""},
	{"checkpoint.write", ""}, {"checkpoint.written", ""}, {"checkpoint.truncate", ""},
	{"promotion.begin", ""}, {"promotion.begun", ""}, {"promotion.accept", ""},
	{"promotion.accepted", ""}, {"promotion.swapped", ""}, {"promotion.done", ""},
	{"canary.step", "canary"}, {"canary.stepped", "canary"}, {"promotion.reject", "bad"},
	{"rollback.accepted", "fatal"}, {"rollback.swapped", "fatal"},
}

// Kills that a run does without CRASH_KILLS, and how many clients call meanwhile.
const (
	fewKills  = 10
	manyKills = 200 // from here on every arrow must have been hit
	callers   = 4
)

// TestCrash kills the agent and its guard again and again while clients call and
// versions change, and compares what is left with what the clients were told.
// CRASH_KILLS=N is how many; CRASH_SEED repeats a run's draws.
func TestCrash(t *testing.T) {
	kills := fromEnv(t, "CRASH_KILLS", fewKills)
	s := newSiege(t, "sync")
	for s.killed() < kills {
		s.round(kills)
	}
	s.finish()
	for _, a := range arrows {
		if kills >= manyKills && s.kills[a.name] == 0 {
			t.Errorf("no guard was killed at %s", a.name)
		}
	}
}

// In mode batch a kill may take acknowledged calls, 100 at most.
func TestCrashBatch(t *testing.T) {
	kills := fromEnv(t, "CRASH_KILLS", 0)/10 + 3
	s := newSiege(t, "batch")
	for s.killed() < kills {
		s.load("", "", 0)
	}
	s.finish()
}

// Of guards that start at the same moment one serves, and the others say which.
func TestGuardsAtOnce(t *testing.T) {
	s := newSiege(t, "sync")
	for range 3 {
		var lives [3]*life
		var listen [3]bool
		var starts sync.WaitGroup
		for i := range lives {
			starts.Go(func() { lives[i], listen[i] = s.launch("", 0) })
		}
		starts.Wait()
		winners := 0
		for i, l := range lives {
			if listen[i] {
				winners++
				continue
			}
			<-l.ended
			if code := l.command.ProcessState.ExitCode(); code != exitFailed {
				t.Errorf("a guard that came too late ended with status %d", code)
			}
		}
		if winners != 1 {
			t.Fatalf("%d guards listen", winners)
		}
		if err := s.check(); err != nil {
			t.Error(err)
		}
		for _, l := range lives {
			l.kill()
		}
	}
	if said := s.said.String(); !strings.Contains(said, "held by the guard of register") && !strings.Contains(said, "in use by process") {
		t.Error("nobody says who holds the agent")
	}
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// siege is an agent under load whose guard is killed and started again.
type siege struct {
	*place
	mode     string
	oracle   *oracle
	gate     *gate
	random   *rand.Rand
	socket   string
	client   *serve.Client
	versions map[string]snapshots.ID
	kills    map[string]int // by what was killed where
	bytes    atomic.Int64   // of acknowledged calls
	sent     atomic.Int64
	answers  atomic.Int64
	poisoned atomic.Int64
	serial   atomic.Int64
	startup  []time.Duration
	arrow    int
	said     tail
	clients  sync.WaitGroup
	changer  sync.WaitGroup
}

func newSiege(t *testing.T, mode string) *siege {
	p := newPlace(t)
	seed := fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()&0xffffff))
	t.Logf("CRASH_SEED=%d", seed)
	s := &siege{
		place: p, mode: mode, gate: newGate(), random: rand.New(rand.NewPCG(uint64(seed), 1)),
		socket: filepath.Join(p.home, "agents", "register", "guard.sock"), kills: map[string]int{}, arrow: seed,
	}
	s.client = serve.NewClient(s.socket)
	s.store()
	s.oracle = newOracle(s.versions["one"])
	for n := range callers {
		s.clients.Go(func() { s.caller(n, rand.New(rand.NewPCG(uint64(seed), uint64(n)+2))) })
	}
	t.Cleanup(func() {
		s.gate.end()
		s.clients.Wait()
		if t.Failed() {
			t.Log("the guard said at last:\n" + s.said.String())
		}
	})
	return s
}

// store puts the versions into the vault: two that are right, one whose adds raise
// an exception, and one that dies of every call.
func (s *siege) store() {
	source, err := os.ReadFile(filepath.Join(s.testdata(), "register", "agent.scm"))
	if err != nil {
		s.t.Fatal(err)
	}
	vault, err := snapshots.Open(filepath.Join(s.home, "vault"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer vault.Close()
	s.versions = map[string]snapshots.ID{}
	for name, before := range map[string]string{"one": "#t", "two": "#t", "bad": "(if (eq? (car request) 'add) (error \"told to\"))", "fatal": "(exit 9)"} {
		code := strings.NewReplacer("'one", "'"+name, "(before-request request) #t)", "(before-request request) "+before+")").Replace(string(source))
		image := snapshots.Image{Name: "register", Files: []snapshots.File{{Path: "agent.scm", Data: []byte(code)}}}
		if s.versions[name], err = vault.Put(image); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := vault.SwapRef("register/live", "", s.versions["one"]); err != nil {
		s.t.Fatal(err)
	}
}

func (s *siege) testdata() string {
	dir, err := filepath.Abs("testdata")
	if err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *siege) killed() (n int) {
	for _, count := range s.kills {
		n += count
	}
	return n
}

// round is one life of a guard: half of them end at a random moment, the others at
// the next arrow.
func (s *siege) round(most int) {
	agents := min(s.random.IntN(3), most-s.killed()-1)
	if s.random.IntN(2) == 0 {
		s.load("", "", agents)
		return
	}
	a := arrows[s.arrow%len(arrows)]
	s.arrow++
	s.load(a.name, a.by, agents)
}

// load starts a guard, checks what it says, kills its agent some times under load,
// and then itself: at an arrow, or at a random moment.
func (s *siege) load(arrow, by string, agents int) {
	s.t.Helper()
	passes := 1
	if strings.HasPrefix(arrow, "call.") {
		passes += s.random.IntN(200)
	}
	life, listens := s.start(arrow, passes)
	if listens {
		if err := s.check(); err != nil && !life.over() {
			s.t.Fatalf("after %d kills, the last at %s: %v", s.killed(), life.before, err)
		}
	}
	if !life.over() {
		ctx := s.gate.open()
		draws := rand.New(rand.NewPCG(s.random.Uint64(), 0))
		s.changer.Go(func() { s.change(ctx, by, draws) })
		for range agents {
			s.drawn(life)
			s.killAgent(life)
		}
		if arrow == "" {
			s.drawn(life)
		} else {
			life.waits(20 * time.Second)
		}
	}
	hit := life.over()
	life.kill()
	s.gate.close()
	s.changer.Wait()
	switch {
	case arrow != "" && hit:
		s.kills[arrow]++
	case hit:
		s.t.Fatal("the guard ended by itself")
	default:
		s.kills["guard, at a random moment"]++
	}
	report, err := s.verify()
	if err == nil && report.Lost() {
		err = errors.Join(report.Faults...)
	}
	if err == nil {
		err = s.oracle.crashed(uint64(report.Last), s.mode == "batch")
	}
	if err != nil {
		s.t.Fatalf("the journal after a kill at %q: %v", arrow, err)
	}
}

// drawn waits until a number of acknowledged bytes, drawn at random, has gone by.
func (s *siege) drawn(l *life) {
	until := s.bytes.Load() + s.random.Int64N(64<<s.random.IntN(10))
	for deadline := time.Now().Add(3 * time.Second); s.bytes.Load() < until && time.Now().Before(deadline) && !l.over(); {
		time.Sleep(100 * time.Microsecond)
	}
}

// killAgent kills the process that serves, and only if it is one.
func (s *siege) killAgent(l *life) {
	status, err := s.status()
	if err != nil || l.over() {
		return
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", status.Live.PID))
	if name := strings.TrimSpace(string(comm)); err != nil || (name != "gsi" && name != "gxi") {
		return // it has just ended, or is only starting
	}
	if syscall.Kill(status.Live.PID, syscall.SIGKILL) == nil {
		s.kills["agent"]++
	}
}

func (s *siege) status() (status guard.Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	data, err := s.client.Status(ctx)
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(data, &status)
}

// check compares all that the guard says with the oracle.
func (s *siege) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	total, header, err := s.client.Call(ctx, "(sum total)", nil)
	if err != nil {
		return err
	}
	sum, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return err
	}
	if err := s.oracle.total(sum); err != nil {
		return err
	}
	for n := range callers {
		text, _, err := s.client.Call(ctx, fmt.Sprintf("(get k%d)", n), nil)
		if err != nil {
			return err
		}
		var first, second int64
		if _, err := fmt.Sscanf(text, "(%d %d)", &first, &second); err != nil {
			return fmt.Errorf("k%d: %s: %w", n, text, err)
		}
		if err := s.oracle.key(n, first, second); err != nil {
			return err
		}
	}
	return s.checkVersion(ctx, snapshots.ID(header.Get(serve.HeaderVersion)))
}

// checkVersion holds the ref, the header and the code's own word together.
func (s *siege) checkVersion(ctx context.Context, first snapshots.ID) error {
	says, header, err := s.client.Call(ctx, "(version)", nil)
	if err != nil {
		return err
	}
	ref, err := os.ReadFile(filepath.Join(s.home, "vault", "refs", "register", "live"))
	if err != nil {
		return err
	}
	id := snapshots.ID(strings.TrimSpace(string(ref)))
	if answers := snapshots.ID(header.Get(serve.HeaderVersion)); answers != id || first != id || s.versions[says] != id {
		return fmt.Errorf("the ref says %.12s; %.12s and %.12s answered, and said %q", id, first, answers, says)
	}
	return s.oracle.version(id)
}

// change makes versions live, one after the other, until ctx is done.
func (s *siege) change(ctx context.Context, by string, random *rand.Rand) {
	for ; ctx.Err() == nil; pause(ctx, time.Duration(random.IntN(80))*time.Millisecond) {
		status, err := s.status()
		if err != nil {
			continue
		}
		live := status.Live.Version
		p := serve.Promotion{To: s.versions["one"], Kind: journal.Forced, Reason: "the siege"}
		if live == p.To {
			p.To = s.versions["two"]
		}
		do := s.client.Promote
		switch {
		case by == "canary":
			p.Kind = journal.Promotion
		case by == "bad":
			p.Kind, p.To = journal.Promotion, s.versions["bad"]
		case by == "fatal" && live != s.versions["fatal"]:
			p.To = s.versions["fatal"]
		case random.IntN(3) == 0:
			do = s.client.Rollback
		}
		s.outcome(p, live, func() (serve.Ended, error) { return do(ctx, p) })
	}
}

// outcome tells the oracle what a promotion came to. The code that dies is rolled
// back as soon as somebody calls, to what was live before, or to what was before
// that.
func (s *siege) outcome(p serve.Promotion, live snapshots.ID, do func() (serve.Ended, error)) {
	possible := map[snapshots.ID]bool{p.To: true}
	if p.To == s.versions["fatal"] || live == s.versions["fatal"] {
		possible = map[snapshots.ID]bool{p.To: true, s.versions["one"]: true, s.versions["two"]: true}
	}
	before := s.oracle.promoting(possible)
	ended, err := do()
	var refused *serve.RefusedError
	switch {
	case err == nil && ended.Promoted:
		s.oracle.promoted(possible)
	case err == nil && len(possible) == 1, errors.As(err, &refused) && refused.Status == http.StatusConflict:
		s.oracle.promoted(before)
	}
}

// caller is a client: it repeats what it has no answer to, with the same id.
func (s *siege) caller(n int, random *rand.Rand) {
	for value := int64(1); ; value++ {
		w := &write{client: n, id: fmt.Sprintf("c%d-%d", n, s.serial.Add(1)), add: 1 + random.Int64N(1<<40)}
		if random.IntN(2) == 0 {
			w.add, w.put = 0, value
		}
		if !s.insists(w) {
			return
		}
	}
}

func (s *siege) insists(w *write) bool {
	for first := true; ; first = false {
		ctx, ok := s.gate.enter()
		if !ok {
			return false
		}
		if first {
			s.oracle.sent(w)
			s.sent.Add(1)
		}
		done := s.tries(ctx, w)
		s.gate.leave()
		if done {
			return true
		}
	}
}

// tries makes a call. It returns false if nobody knows whether it was carried out.
func (s *siege) tries(ctx context.Context, w *write) bool {
	text, header, err := s.client.Call(ctx, w.datum(), http.Header{serve.HeaderID: {w.id}})
	var refused *serve.RefusedError
	switch {
	case err == nil:
		w.lsn, err = strconv.ParseUint(header.Get(serve.HeaderLSN), 10, 64)
		if err != nil {
			s.t.Errorf("%s was answered %s without an LSN", w.id, text)
		}
		s.oracle.answered(w, true)
		s.answers.Add(1)
		s.bytes.Add(int64(len(w.datum())))
		return true
	case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
		// It was in the process when that was killed, twice: that is its answer.
		if !strings.Contains(refused.Message, "killed the agent twice") {
			s.t.Errorf("%s: %v", w.id, err)
		}
		s.oracle.answered(w, false)
		s.answers.Add(1)
		s.poisoned.Add(1)
		return true
	case errors.As(err, &refused):
		s.t.Errorf("%s: status %d: %v", w.id, refused.Status, err)
	}
	return false
}

// finish starts a last guard, checks it, ends it in order, and prints the figures.
func (s *siege) finish() {
	s.t.Helper()
	life, _ := s.start("", 0)
	if err := s.check(); err != nil {
		s.t.Fatal(err)
	}
	s.gate.open()
	time.Sleep(100 * time.Millisecond) // the clients repeat what was not answered
	s.gate.end()
	s.clients.Wait()
	_ = life.command.Process.Signal(syscall.SIGTERM)
	<-life.ended
	if code := life.command.ProcessState.ExitCode(); code != exitDone {
		s.t.Errorf("status %d after SIGTERM", code)
	}
	if report, err := s.verify(); err != nil || len(report.Faults) > 0 {
		s.t.Errorf("the journal at the end: %v %v", err, report.Faults)
	}
	waitForNone(s.t.(*testing.T), s.home)
	s.print()
}

func (s *siege) print() {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.kills)) {
		fmt.Fprintf(&text, "%6d  %s\n", s.kills[name], name)
	}
	sent, answered := s.sent.Load(), s.answers.Load()
	slices.Sort(s.startup)
	s.t.Logf("%d kills:\n%s%d calls sent, %d answered, %d of them by having killed the agent twice; %d acknowledged in batch mode were lost\na guard answered after %v in the median, %v at most",
		s.killed(), text.String(), sent, answered, s.poisoned.Load(), s.oracle.lost, s.startup[len(s.startup)/2], s.startup[len(s.startup)-1])
	if float64(answered) < 0.999*float64(sent)-callers { // one of each may be on its way at the end
		s.t.Errorf("%d of %d calls were answered", answered, sent)
	}
}
