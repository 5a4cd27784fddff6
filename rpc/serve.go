package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"mlx-worker/rpc/wire"
)

// Serve announces the worker, serves requests and returns when that is over:
//
//   - the client closed the input: all work is cancelled at once;
//   - a shutdown request or the end of ctx: no more work is taken, what runs may finish
//     within the request's drain_ms or Options.DrainTimeout, the rest is cancelled;
//   - nothing can be sent or read any more: the error says why.
//
// What the client can still be told it is told, and the streams are closed. The goroutines
// that Serve started have ended, except those that wait for a step or a load which the engine
// does not interrupt; Serve leaves those after EndTimeout. The batcher is shut down.
func Serve(ctx context.Context, opts Options) error {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.MaxFrameBytes = cmp.Or(opts.MaxFrameBytes, wire.DefaultMaxFrameBytes)
	s := newServer(opts)
	if err := s.announce(); err != nil {
		return errors.Join(err, s.end(0))
	}
	s.conn.Start()
	drain, err := s.wait(ctx)
	return errors.Join(err, s.end(drain))
}

// server is one run of Serve.
type server struct {
	opts    Options
	log     *slog.Logger
	conn    *wire.Conn
	started time.Time
	models  *models
	streams *streams
	tasks   *tasks

	work        context.Context // of tasks
	stopWork    context.CancelFunc
	sending     context.Context // of what is sent: ends last
	stopSending context.CancelFunc

	inputEnded chan error         // gets one value when the client closed the input
	shutdowns  chan time.Duration // gets the drain time of a shutdown request

	mu       sync.Mutex
	closing  bool          // no more work is taken
	waiting  []jsonrpc2.ID // shutdown requests to answer
	inputEOF bool
}

func newServer(opts Options) *server {
	s := &server{
		opts:       opts,
		log:        opts.Logger,
		started:    time.Now(),
		models:     newModels(),
		tasks:      newTasks(),
		inputEnded: make(chan error, 1),
		shutdowns:  make(chan time.Duration, 1),
	}
	s.opts.Info.Protocol = ProtocolVersion
	s.opts.Info.Capabilities = capabilities()
	s.work, s.stopWork = context.WithCancel(context.Background())
	s.sending, s.stopSending = context.WithCancel(context.Background())
	s.conn = wire.NewConn(wire.Config{
		In: opts.In, Out: opts.Out, MaxFrameBytes: opts.MaxFrameBytes, Logger: opts.Logger,
		Handle: s.handle,
		InputEnded: func(err error) {
			if opts.InputEnded != nil {
				opts.InputEnded()
			}
			s.inputEnded <- err
		},
	})
	s.streams = newStreams(s.sending, s.conn, opts.MaxFrameBytes, s.log)
	opts.Batcher.OnStep(s.streams.kick)
	return s
}

func (s *server) announce() error {
	params, err := wire.Marshal(s.opts.Info)
	if err != nil {
		return err
	}
	if err := s.conn.Notify(s.sending, "worker/ready", params); err != nil {
		return err
	}
	if s.opts.Ready != nil {
		s.opts.Ready()
	}
	return nil
}

// wait returns when it is time to end, and how long running streams may take to finish.
func (s *server) wait(ctx context.Context) (drain time.Duration, err error) {
	select {
	case err := <-s.inputEnded:
		return 0, s.noteInputEnd(err)
	case drain := <-s.shutdowns:
		return drain, nil
	case <-ctx.Done():
		return s.opts.DrainTimeout, nil
	case <-s.conn.Failed():
		return 0, fmt.Errorf("writing to the client: %w", s.conn.Err())
	}
}

// noteInputEnd returns the error of an input that failed rather than ended.
func (s *server) noteInputEnd(err error) error {
	s.mu.Lock()
	s.inputEOF = true
	s.mu.Unlock()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.log.Warn("the input ended inside a frame")
	case err != nil:
		return fmt.Errorf("reading from the client: %w", err)
	}
	return nil
}

// end finishes or cancels all work and closes the connection.
func (s *server) end(drain time.Duration) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()

	drainCtx, stopDraining := context.WithTimeout(context.Background(), drain)
	defer stopDraining()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if err := s.opts.Batcher.Shutdown(drainCtx); err != nil {
			s.log.Info("cancelled the streams that did not finish in time", "drain", drain)
		}
		<-s.tasks.stop()
	}()
	var inputErr error
	select {
	case <-drained:
	case <-drainCtx.Done():
	case err := <-s.inputEnded: // nobody is there to drain for
		inputErr = s.noteInputEnd(err)
	case <-s.conn.Failed():
	}
	stopDraining()

	select {
	case <-drained:
	case <-time.After(engineTimeout):
		s.log.Warn("the engine is still busy; ending without it")
	}
	s.stopWork() // what the batcher could not end

	last, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	defer context.AfterFunc(last, s.stopSending)()
	defer s.stopSending()
	s.streams.stop()
	s.models.close()
	s.answerShutdowns()
	err := s.conn.Close(last)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inputEOF || s.conn.Err() == nil {
		return inputErr // who has left need not read the last words
	}
	return errors.Join(inputErr, err)
}

// shutdown begins the end of Serve, which answers the request last of all.
func (s *server) shutdown(c *call, a args) (task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	if !c.request.Notification {
		s.waiting = append(s.waiting, c.request.ID)
	}
	select {
	case s.shutdowns <- time.Duration(a.int("drain_ms")) * time.Millisecond:
	default: // it is on its way
	}
	return nil, nil
}

func (s *server) answerShutdowns() {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, id := range waiting {
		result, err := wire.Marshal(struct {
			Success bool `msgpack:"success"`
		}{true})
		if err == nil {
			err = s.conn.Reply(s.sending, id, result)
		}
		if err != nil {
			s.log.Debug("could not answer shutdown", "error", err)
		}
	}
}

// refuseWork returns an error once no more work is taken.
func (s *server) refuseWork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return shuttingDown()
	}
	return nil
}
