package exporter

import (
	"encoding/json"
	"log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newHandler routes the four paths. The patterns' GET includes HEAD; other methods are answered
// with 405, other paths with 404.
func newHandler(o Options, errorLog *log.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{o.Snapshot, o.Memory})

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:           errorLog,
		DisableCompression: true, // the client is on the same machine
	}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, status{"ok"})
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready() {
			writeJSON(w, http.StatusOK, status{"ready"})
			return
		}
		writeJSON(w, http.StatusServiceUnavailable, status{"not ready"})
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, newStats(o.Snapshot(), o.Memory(), time.Now()))
	})
	return mux
}

type status struct {
	Status string `json:"status"`
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// An error is a client that is gone: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(value)
}
