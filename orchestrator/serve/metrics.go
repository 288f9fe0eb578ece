package serve

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"jird/orchestrator/guard"
)

// metrics serves what the guard counts, in Prometheus' text format.
func metrics(g *guard.Guard) http.Handler {
	r := prometheus.NewRegistry()
	counter := func(name, help string, f func(guard.Status) float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return f(g.Status()) }))
	}
	gauge := func(name, help string, f func(guard.Status) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return f(g.Status()) }))
	}
	counter("jird_calls_total", "Calls carried out and journaled.", func(s guard.Status) float64 { return float64(s.Calls) })
	counter("jird_calls_refused_total", "Calls refused since the queue was full.", func(s guard.Status) float64 { return float64(s.Counts.Refused) })
	counter("jird_calls_raised_total", "Calls in which the agent raised an exception.", func(s guard.Status) float64 { return float64(s.Counts.Raised) })
	counter("jird_calls_poisoned_total", "Calls that killed the agent twice.", func(s guard.Status) float64 { return float64(s.Counts.Poisoned) })
	counter("jird_restarts_total", "Deaths of the serving process.", func(s guard.Status) float64 { return float64(s.Live.Restarts) })
	counter("jird_rollbacks_total", "Automatic rollbacks.", func(s guard.Status) float64 { return float64(s.Counts.Rollbacks) })
	counter("jird_checkpoints_total", "Checkpoints made.", func(s guard.Status) float64 { return float64(s.Counts.Checkpoints) })
	counter("jird_checkpoint_errors_total", "Checkpoints that could not be made.", func(s guard.Status) float64 { return float64(s.Counts.CheckpointErrors) })
	counter("jird_promotions_total", "Promotions begun, by evidence or by force.", func(s guard.Status) float64 { return float64(s.Metrics.Attempts) })
	counter("jird_promotions_held_total", "Promotions that became live and were not undone.", func(s guard.Status) float64 { return float64(s.Metrics.Held) })
	gauge("jird_lsn", "Number of the last journal record.", func(s guard.Status) float64 { return float64(s.Live.LSN) })
	gauge("jird_queue_length", "Calls that wait.", func(s guard.Status) float64 { return float64(s.Waiting) })
	gauge("jird_read_only", "1 while only calls that change nothing are served.", func(s guard.Status) float64 { return truth(s.ReadOnly != "") })
	gauge("jird_live_resident_bytes", "Memory of the serving process.", func(s guard.Status) float64 { return float64(s.Live.Resident) })
	gauge("jird_live_cpu_seconds", "Processor time that the serving process has used.", func(s guard.Status) float64 { return s.Live.CPU })
	gauge("jird_memory_bytes", "Size of the agent's durable memory.", func(s guard.Status) float64 { return float64(s.Memory.Bytes) })
	gauge("jird_uptime_ratio", "Share of the time since the first start in which the agent served.", func(s guard.Status) float64 { return s.Metrics.Uptime })
	gauge("jird_recovery_seconds_p50", "Median time from a death to the next process ready.", func(s guard.Status) float64 { return s.Metrics.RecoveryP50 / 1000 })
	gauge("jird_loss_window_seconds", "Longest time for which an acknowledged record was not durable.", func(s guard.Status) float64 { return s.Metrics.LossWindow / 1000 })
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
