package rpc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"

	"mlx-worker/batcher"
	"mlx-worker/rpc/wire"
)

// streams holds the active streams and sends what they collect.
type streams struct {
	conn    *wire.Conn
	log     *slog.Logger
	sending context.Context

	wake     chan struct{} // there may be something to send
	stopping chan struct{} // closed by stop
	stopOnce sync.Once
	ended    chan struct{} // closed when the emitter has ended

	mu    sync.Mutex
	byID  map[string]*stream
	ready []*stream // to look at; each one once

	frame chunkFrame // owned by the emitter
}

func newStreams(sending context.Context, conn *wire.Conn, maxFrameBytes int, log *slog.Logger) *streams {
	h := &streams{
		conn: conn, log: log, sending: sending,
		wake:     make(chan struct{}, 1),
		stopping: make(chan struct{}),
		ended:    make(chan struct{}),
		byID:     map[string]*stream{},
		frame:    newChunkFrame(maxFrameBytes),
	}
	go h.emit()
	return h
}

// add registers a stream, unless its id is taken.
func (h *streams) add(s *stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.byID[s.id]; taken {
		return false
	}
	h.byID[s.id] = s
	return true
}

// remove forgets a stream and lets go of what it holds.
func (h *streams) remove(s *stream) {
	h.mu.Lock()
	delete(h.byID, s.id)
	h.mu.Unlock()
	s.cancel()
	if s.model != nil {
		s.model.release()
		s.model = nil
	}
}

// cancel cancels the stream of this id and reports whether it was active.
func (h *streams) cancel(id string) bool {
	h.mu.Lock()
	s := h.byID[id]
	h.mu.Unlock()
	return s != nil && s.stop()
}

// list puts s on the list of streams to look at. The emitter does so when it is kicked.
func (h *streams) list(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = append(h.ready, s)
}

// kick makes the emitter look. It is called after each step.
func (h *streams) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// stop sends what is left and ends the emitter. No stream may get more tokens by then.
func (h *streams) stop() {
	h.stopOnce.Do(func() { close(h.stopping) })
	<-h.ended
}

func (h *streams) emit() {
	defer close(h.ended)
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("the emitter panicked", "panic", r, "stack", string(debug.Stack()))
			h.conn.Fail(errors.New("an internal fault while sending notifications"))
		}
	}()
	for {
		select {
		case <-h.wake:
			h.flush()
		case <-h.stopping:
			h.flush()
			return
		}
	}
}

// flush sends what the streams have collected: one frame of chunks for all (more only if
// there is very much), then the end of those that have ended.
func (h *streams) flush() {
	h.mu.Lock()
	ready := h.ready
	h.ready = nil
	h.mu.Unlock()

	type end struct {
		stream *stream
		portion
	}
	var ends []end
	for _, s := range ready {
		p, ok := s.take()
		if !ok {
			continue
		}
		for len(p.text) > 0 || len(p.tokens) > 0 {
			if h.frame.add(s, &p) {
				h.send("stream.chunk", h.frame.params())
			}
		}
		if p.finish != nil {
			ends = append(ends, end{s, p})
		}
	}
	if h.frame.rows > 0 {
		h.send("stream.chunk", h.frame.params())
	}
	for _, e := range ends {
		h.finish(e.stream, e.portion)
	}
}

// send sends params, waiting for a slow client. What cannot be sent is lost: then the
// connection has failed, or the worker ends.
func (h *streams) send(method string, params []byte) {
	if err := h.conn.Notify(h.sending, method, params); err != nil {
		h.log.Warn("could not send a notification", "method", method, "error", err)
	}
}

type streamStats struct {
	StreamID         string  `msgpack:"stream_id"`
	PromptTokens     int     `msgpack:"prompt_tokens"`
	CachedTokens     int     `msgpack:"cached_tokens"`
	CompletionTokens int     `msgpack:"completion_tokens"`
	QueueMs          float64 `msgpack:"queue_ms"`
	PrefillMs        float64 `msgpack:"prefill_ms"`
	TTFTMs           float64 `msgpack:"ttft_ms"`
	DecodeMs         float64 `msgpack:"decode_ms"`
	TotalMs          float64 `msgpack:"total_ms"`
	TokensPerSecond  float64 `msgpack:"tokens_per_second"`
	DraftTokens      int     `msgpack:"draft_tokens"`
	DraftAccepted    int     `msgpack:"draft_accepted"`
}

type streamEvent struct {
	StreamID     string      `msgpack:"stream_id"`
	Event        string      `msgpack:"event"`
	FinishReason string      `msgpack:"finish_reason"`
	StopSequence *string     `msgpack:"stop_sequence,omitempty"`
	StopTokenID  *int32      `msgpack:"stop_token_id,omitempty"`
	Error        *errorValue `msgpack:"error,omitempty"`
}

// finish sends a stream's last two notifications.
func (h *streams) finish(s *stream, p portion) {
	stats, err := wire.Marshal(newStreamStats(s.id, p.finish.Stats))
	if err != nil {
		h.log.Error("encoding the stats of a stream", "error", err)
	}
	event, err := wire.Marshal(h.event(s.id, p))
	if err != nil {
		h.log.Error("encoding the event of a stream", "error", err)
	}
	// Before the client hears of the end, as it may use the id again at once.
	h.remove(s)
	h.send("stream.stats", stats)
	h.send("stream.event", event)
}

func newStreamStats(id string, s batcher.Stats) streamStats {
	stats := streamStats{
		StreamID:         id,
		PromptTokens:     s.PromptTokens,
		CachedTokens:     s.CachedTokens,
		CompletionTokens: s.CompletionTokens,
		QueueMs:          ms(s.Queue),
		PrefillMs:        ms(s.Prefill),
		TTFTMs:           ms(s.TTFT),
		DecodeMs:         ms(s.Decode),
		TotalMs:          ms(s.Total),
	}
	// The first token is the prefill's: its time is not the decoding's.
	if s.CompletionTokens > 1 && s.Decode > 0 {
		stats.TokensPerSecond = float64(s.CompletionTokens-1) / s.Decode.Seconds()
	}
	return stats
}

func (h *streams) event(id string, p portion) streamEvent {
	e := streamEvent{StreamID: id, FinishReason: string(p.finish.Reason), StopTokenID: p.finish.StopTokenID}
	switch p.finish.Reason {
	case batcher.FinishStop, batcher.FinishLength:
		e.Event = "completed"
	case batcher.FinishError:
		e.Event = "error"
	default:
		e.Event = "cancelled"
	}
	if p.stop != "" {
		e.StopSequence = &p.stop
	}
	if err := p.finish.Err; err != nil {
		e.Error = newErrorValue(h.log, err)
	}
	return e
}
