package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// health is what the last check of the storage said. Until there was one it is good, as Dex's.
type health struct {
	failures atomic.Int64
}

// healthPeriod is the time between checks: Dex's own, or what tests have the patience for.
func healthPeriod() (time.Duration, error) {
	if given := os.Getenv("STANDIN_HEALTH_PERIOD"); given != "" {
		return time.ParseDuration(given)
	}
	return 15 * time.Second, nil
}

// follow checks at once and after each period, for as long as the process lives.
func (state *health) follow(check storage, period time.Duration) {
	for ; ; time.Sleep(period) {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "storage:", err)
			state.failures.Add(1)
		} else {
			state.failures.Store(0)
		}
	}
}

// telemetry is what Dex answers on that address alone: there, and not below the issuer, are `live` and `ready`.
func telemetry(state *health) http.Handler {
	ready := func(answer http.ResponseWriter, _ *http.Request) {
		failures := state.failures.Load()
		answer.Header().Set("Content-Type", "application/json")
		if failures > 0 {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
		content := map[string]any{"storage": map[string]any{"contiguousFailures": failures}}
		if err := json.NewEncoder(answer).Encode(content); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", ready)
	mux.HandleFunc("GET /healthz/ready", ready)
	mux.HandleFunc("GET /healthz/live", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(answer, "ok")
	})
	return mux
}
