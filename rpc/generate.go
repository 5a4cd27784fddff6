package rpc

import (
	"context"
	crand "crypto/rand"
	"time"

	"mlx-worker/batcher"
	"mlx-worker/rpc/wire"
)

type generateResult struct {
	StreamID  string  `msgpack:"stream_id"`
	StartedAt float64 `msgpack:"started_at"`

	stream *stream
}

func (r *generateResult) replied() { r.stream.announce() }

// generate registers the stream on the reader's goroutine, so that a cancel that follows finds
// it, and leaves the rest to a task.
func (s *server) generate(_ *call, a args) (task, error) {
	if err := s.refuseWork(); err != nil {
		return nil, err
	}
	st, err := s.newStream(a)
	if err != nil {
		return nil, err
	}
	// The scheduler may hold a request for one that is known to come.
	submitted := s.opts.Batcher.Announce()
	return func(context.Context) (any, error) {
		defer submitted()
		r, err := s.startStream(st, a)
		if err != nil {
			return nil, err
		}
		return r, nil
	}, nil
}

// newStream registers a stream under the request's id, or a random one.
func (s *server) newStream(a args) (*stream, error) {
	id := a.text("stream_id")
	if id == "" {
		id = crand.Text()
	}
	st := &stream{id: id, hub: s.streams, whole: !a.bool("stream"), logProbs: a.bool("logprobs")}
	// Not a child of s.work: at the end it is the batcher that cancels streams, and says why.
	st.ctx, st.cancel = context.WithCancel(context.Background())
	if !s.streams.add(st) {
		st.cancel()
		return nil, invalidParam("stream_id", "an id that no active stream has", "%s is in use", wire.Quote(id))
	}
	return st, nil
}

// startStream hands a registered stream to the batcher. A stream that cannot start is gone.
func (s *server) startStream(st *stream, a args) (r *generateResult, err error) {
	defer func() {
		if r == nil { // also where this panics
			s.streams.remove(st)
		}
	}()
	started := time.Now()
	st.model, err = s.models.use(a.text("model_id"))
	if err != nil {
		return nil, err
	}
	request, err := newRequest(st.model, a)
	if err != nil {
		return nil, err
	}
	st.detokenizer = st.model.text.NewDetokenizer()
	if stops := a.texts("stop_sequences"); len(stops) > 0 {
		st.stops = s.opts.NewStopMatcher(stops)
	}
	request.Output = st
	handle, err := s.opts.Batcher.Submit(st.ctx, request)
	if err != nil {
		return nil, err
	}
	st.admitted(handle)
	return &generateResult{StreamID: st.id, StartedAt: float64(started.UnixMicro()) / 1e6, stream: st}, nil
}

// newRequest checks what depends on the model and makes the batcher's request.
func newRequest(m *model, a args) (batcher.Request, error) {
	var none batcher.Request
	if limit := m.info.ContextLength; limit > 0 && a.given["max_tokens"] && a.int("max_tokens") > limit {
		return none, invalidParam("max_tokens", intRange(1, int64(limit)), "%d is more than the model's context", a.int("max_tokens"))
	}
	if a.int("top_logprobs") > 0 && !a.bool("logprobs") {
		return none, invalidParam("top_logprobs", "0 unless logprobs is true", "%d without logprobs", a.int("top_logprobs"))
	}
	stopIDs := a.tokens("stop_token_ids")
	if err := checkTokens("stop_token_ids", stopIDs, m.info.VocabSize); err != nil {
		return none, err
	}
	sampling, err := newSampling(m, a)
	if err != nil {
		return none, err
	}
	prompt, err := promptTokens(m, a)
	if err != nil {
		return none, err
	}
	return batcher.Request{
		ModelID:   a.text("model_id"),
		Prompt:    prompt,
		MaxTokens: a.int("max_tokens"),
		Sequence: batcher.SequenceOptions{
			Sampling:    sampling,
			LogProbs:    a.bool("logprobs"),
			TopLogProbs: a.int("top_logprobs"),
		},
		EOSIDs:    m.text.EOSIDs(),
		StopIDs:   stopIDs,
		IgnoreEOS: a.bool("ignore_eos"),
		Priority:  priorities[a.text("priority")],
		Timeout:   time.Duration(a.int("timeout_ms")) * time.Millisecond,
	}, nil
}

var priorities = map[string]batcher.Priority{
	"default":    batcher.PriorityDefault,
	"urgent":     batcher.PriorityUrgent,
	"background": batcher.PriorityBackground,
}

func (s *server) cancelStream(a args) (any, error) {
	return struct {
		Cancelled bool `msgpack:"cancelled"`
	}{s.streams.cancel(a.text("stream_id"))}, nil
}

// batchItem is the outcome of one request of a batch.
type batchItem struct {
	Success bool        `msgpack:"success"`
	Result  any         `msgpack:"result,omitempty"`
	Error   *errorValue `msgpack:"error,omitempty"`
}

type batchResult struct {
	Results []batchItem `msgpack:"results"`
}

// replied passes on that the response was sent.
func (r *batchResult) replied() {
	for _, item := range r.Results {
		if inner, ok := item.Result.(afterReply); ok {
			inner.replied()
		}
	}
}

func (s *server) batchItem(result any, err error) batchItem {
	if err == nil {
		return batchItem{Success: true, Result: result}
	}
	return batchItem{Error: newErrorValue(s.log, err)}
}

// batchGenerate registers all streams on the reader's goroutine and starts them on another.
func (s *server) batchGenerate(_ *call, a args) (task, error) {
	if err := s.refuseWork(); err != nil {
		return nil, err
	}
	type item struct {
		args   args
		stream *stream
		err    error
	}
	var items []item
	for request := range a.value("requests").Items() {
		var i item
		if i.args, i.err = decodeArgs(generateParams, request); i.err == nil {
			i.stream, i.err = s.newStream(i.args)
		}
		items = append(items, i)
	}
	submitted := s.opts.Batcher.Announce()
	return func(context.Context) (any, error) {
		defer submitted()
		result := new(batchResult)
		for _, i := range items {
			if i.err != nil {
				result.Results = append(result.Results, s.batchItem(nil, i.err))
				continue
			}
			err := s.protect("batch_generate", func() error {
				r, err := s.startStream(i.stream, i.args)
				if err == nil {
					result.Results = append(result.Results, s.batchItem(r, nil))
				}
				return err
			})
			if err != nil {
				result.Results = append(result.Results, s.batchItem(nil, err))
			}
		}
		return result, nil
	}, nil
}
