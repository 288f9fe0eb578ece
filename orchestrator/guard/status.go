package guard

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"jird/snapshots"
)

// Status is what a guard says of itself. Times are in milliseconds.
type Status struct {
	Agent      string         `json:"agent"`
	Live       LiveStatus     `json:"live"`
	Ready      bool           `json:"ready"`
	ReadOnly   string         `json:"read_only"` // why, or empty
	Warm       snapshots.ID   `json:"warm"`      // the version before, kept running; or empty
	Canary     *CanaryStatus  `json:"canary"`    // null when no promotion is under way
	Waiting    int            `json:"waiting"`   // calls in the queue
	Calls      uint64         `json:"calls"`     // carried out since the agent was first served
	Remembered int            `json:"remembered"`
	Memory     MemoryStatus   `json:"memory"`
	Proposals  int            `json:"proposals"`
	Checkpoint uint64         `json:"checkpoint"` // LSN of the newest one
	Counts     Counts         `json:"counts"`
	Metrics    SuccessMetrics `json:"metrics"`
}

// Counts are since this guard was started.
type Counts struct {
	Refused          uint64 `json:"refused"`
	Raised           uint64 `json:"raised"`
	Poisoned         uint64 `json:"poisoned"`
	Rollbacks        uint64 `json:"rollbacks"`
	Checkpoints      uint64 `json:"checkpoints"`
	CheckpointErrors uint64 `json:"checkpoint_errors"`
}

// LiveStatus is the process that serves.
type LiveStatus struct {
	PID      int          `json:"pid"`
	Zygote   int          `json:"zygote"` // the process that it was forked from; 0: none
	Version  snapshots.ID `json:"version"`
	Restarts int          `json:"restarts"` // since the agent was first served
	LSN      uint64       `json:"lsn"`
	Resident int64        `json:"resident_bytes"`
	CPU      float64      `json:"cpu_seconds"`
	Beat     uint64       `json:"heartbeat"` // as the process shows it, ten times a second
	Begun    uint64       `json:"calls_begun"`
	Done     uint64       `json:"calls_done"`
}

// CanaryStatus is the promotion under way.
type CanaryStatus struct {
	Number    int          `json:"number"`
	Candidate snapshots.ID `json:"candidate"`
	Kind      string       `json:"kind"`
	Step      string       `json:"step"` // empty while the candidate starts
	Calls     int          `json:"calls"`
	Differing int          `json:"differing"` // mirrored calls answered otherwise
}

// MemoryStatus is the agent's durable memory.
type MemoryStatus struct {
	Bytes int    `json:"bytes"`
	Sets  uint64 `json:"sets"`
}

// SuccessMetrics are the five of ADR-001, as measured.
type SuccessMetrics struct {
	RecoveryP50 float64 `json:"recovery_ms_p50"` // from a death to the next process ready, of this guard's
	RecoveryMax float64 `json:"recovery_ms_max"`
	LossWindow  float64 `json:"loss_window_ms"` // longest time for which an acknowledged record was not durable
	Losses      int     `json:"losses"`         // times that somebody accepted that records may be missing
	Attempts    int     `json:"promotions_attempted"`
	Held        int     `json:"promotions_held"`
	Uptime      float64 `json:"uptime"`           // share of the time since the agent was first served
	Overhead    float64 `json:"overhead_ms_mean"` // of a call: what the guard adds to the agent's own time
}

// counters are what is counted without the core.
type counters struct {
	refused, poisoned, rollbacks, checkpoints, checkpointErrors, answered, raised atomic.Uint64
	resident, cpu                                                                 atomic.Int64

	mu         sync.Mutex
	recoveries []time.Duration // the last few
	agent      time.Duration   // spent by the agent in calls
	whole      time.Duration   // spent in calls, from taken to kept
}

// keptRecoveries is how many of the last recoveries are remembered.
const keptRecoveries = 1000

func (c *counters) recovery(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.recoveries) == keptRecoveries {
		c.recoveries = c.recoveries[1:]
	}
	c.recoveries = append(c.recoveries, took)
}

func (c *counters) served(took time.Duration, raised bool) {
	c.answered.Add(1)
	if raised {
		c.raised.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent += took
}

// kept counts the time of a call from the core's taking it to its being journaled.
func (c *counters) kept(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole += took
}

// Status is the newest that the core has published, at most a quarter of a second
// old.
func (g *Guard) Status() Status { return *g.status.Load() }

// publish makes the status of this moment readable by everybody.
func (g *Guard) publish() {
	t, l := g.state.Totals, g.state.LSN
	s := &Status{
		Agent: g.cfg.Agent, Ready: !g.down, Warm: g.warmID, Waiting: len(g.calls), Calls: t.Calls,
		Live:       LiveStatus{PID: g.live.PID(), Zygote: g.live.Zygote(), Version: g.version, Restarts: t.Restarts, LSN: l, Resident: g.counts.resident.Load(), CPU: time.Duration(g.counts.cpu.Load()).Seconds()},
		Remembered: g.state.Calls.Len(), Memory: MemoryStatus{g.state.Memory.Bytes(), g.state.Sets},
		Proposals: len(g.state.Proposals), Checkpoint: g.saved.lsn, Metrics: g.metrics(),
		Counts: Counts{
			g.counts.refused.Load(), g.counts.raised.Load(), g.counts.poisoned.Load(), g.counts.rollbacks.Load(),
			g.counts.checkpoints.Load(), g.counts.checkpointErrors.Load(),
		},
	}
	if c, ok := g.live.Counters(); ok {
		s.Live.Beat, s.Live.Begun, s.Live.Done = c.Beat, c.Begun, c.Done
	}
	if g.readOnly != nil {
		s.ReadOnly = g.readOnly.Error()
	}
	if k := g.canary; k != nil {
		s.Canary = &CanaryStatus{Number: k.n, Candidate: k.To, Kind: string(k.Kind), Calls: k.own.calls, Differing: k.differ}
		if !k.since.IsZero() {
			s.Canary.Step = g.cfg.Canary.Steps[k.at].String()
		}
	}
	g.status.Store(s)
}

func (g *Guard) metrics() SuccessMetrics {
	t := g.state.Totals
	m := SuccessMetrics{Losses: len(t.Losses), Attempts: t.Attempts, Held: t.Held, Uptime: 1}
	if alive := (g.now() - t.Since) * 1000; t.Since > 0 && alive > 0 {
		m.Uptime = max(0, 1-float64(t.DownMicro)/float64(alive))
	}
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	if n := len(g.counts.recoveries); n > 0 {
		sorted := slices.Sorted(slices.Values(g.counts.recoveries))
		m.RecoveryP50, m.RecoveryMax = milliseconds(sorted[n/2]), milliseconds(sorted[n-1])
	}
	if g.log != nil {
		m.LossWindow = milliseconds(g.log.LossWindow())
	}
	if n := g.counts.answered.Load(); n > 0 {
		m.Overhead = milliseconds(g.counts.whole-g.counts.agent) / float64(n)
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
