// Package exporter serves a batcher's figures over HTTP on the loopback interface: /metrics for
// Prometheus, /stats as JSON, /health and /ready for supervisors.
//
// Everything is computed when it is asked for, from a snapshot that takes no lock which a step
// holds: nobody asking costs nothing, and asking makes no step wait.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"mlx-worker/batcher"
)

const (
	// closeGrace is how long Close lets answers under way finish.
	closeGrace = 250 * time.Millisecond

	// A client on the same machine sends a request and takes an answer within these times, or is
	// cut off.
	headerTimeout = 5 * time.Second
	readTimeout   = 5 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = 2 * time.Minute

	maxHeaderBytes = 16 << 10
)

// Options say where an Exporter listens and what it shows. The functions are called from any
// number of goroutines at a time, once a request, and must not block.
type Options struct {
	Port     int                     // TCP port on 127.0.0.1; 0: any free one, see Exporter.Addr
	Snapshot func() batcher.Snapshot // required
	Memory   func() batcher.Memory   // required
	// Ready decides the answer of /ready: whether a generate could be served now, which needs a
	// loaded model. nil: ready from the start.
	Ready  func() bool
	Logger *slog.Logger // receives failures of the server; nil: none
}

// Exporter is a running server.
type Exporter struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{} // closed when the accepting goroutine has ended
}

// Start listens and serves until Close. A port that can't be listened on, because something else
// does or the system forbids it, is an error that names the address.
func Start(o Options) (*Exporter, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port))
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("metrics server: %w", err) // net's message names the address
	}
	return serve(listener, o), nil
}

func serve(listener net.Listener, o Options) *Exporter {
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	errorLog := slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	e := &Exporter{
		listener: listener,
		server: &http.Server{
			Handler:           newHandler(o, errorLog),
			ErrorLog:          errorLog,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
		},
		served: make(chan struct{}),
	}
	go func() {
		defer close(e.served)
		if err := e.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Warn("the metrics server ended", "error", err)
		}
	}()
	return e
}

// Addr is the address that the exporter listens on, host:port.
func (e *Exporter) Addr() string { return e.listener.Addr().String() }

// Close stops listening, lets answers under way finish for a quarter of a second and then cuts
// every connection. It is idempotent and may be called from any goroutine.
func (e *Exporter) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if err != nil { // a client keeps a connection busy
		err = e.server.Close()
	}
	<-e.served
	return err
}
