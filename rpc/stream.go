package rpc

import (
	"context"
	"sync"

	"mlx-worker/batcher"
)

// stream is one generation as its client sees it. It is the batcher's Output: the scheduler's
// goroutine adds tokens, which only collects them; the emitter takes what was collected.
type stream struct {
	id       string
	hub      *streams
	ctx      context.Context // of the request in the batcher
	cancel   context.CancelFunc
	model    *model // in use until the stream's last notification
	whole    bool   // one chunk at the end
	logProbs bool

	detokenizer Detokenizer
	stops       StopMatcher // nil: no stop sequences

	mu        sync.Mutex
	handle    *batcher.Stream // nil until the batcher has admitted it
	announced bool            // the response to generate is on its way
	listed    bool            // in the emitter's list of streams to look at

	text         []byte          // not yet sent
	tokens       []batcher.Token // not yet sent
	stopSequence string          // that ended the stream
	finish       *batcher.Finish // set at the end

	chunks int // sent so far; owned by the emitter
}

// tokenText returns the text of one token alone.
func (s *stream) tokenText(id int32) string {
	text, err := s.model.text.Decode([]int32{id}, false)
	if err != nil {
		return "" // the id is there for programs, the text for people
	}
	return text
}

// Token takes the next token from the scheduler.
func (s *stream) Token(t batcher.Token) (stop bool) {
	s.update(func() {
		s.tokens = append(s.tokens, t)
		if !t.EndOfText {
			stop = s.addText(s.detokenizer.Push(t.ID)) || s.detokenizer.Err() != nil
		}
	})
	return stop
}

// update changes the stream and sees to it that the emitter looks at it, once: a stream that
// was listed after the emitter took its end would end twice.
func (s *stream) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if !s.listed {
		s.listed = true
		s.hub.list(s)
	}
}

// addText adds text up to a stop sequence and reports whether there was one. s.mu is held.
func (s *stream) addText(text string) (stop bool) {
	if s.stopSequence != "" {
		return true
	}
	if s.stops == nil || text == "" {
		s.text = append(s.text, text...)
		return false
	}
	emit, matched, done := s.stops.Push(text)
	s.text = append(s.text, emit...)
	if done {
		s.stopSequence = matched
	}
	return done
}

// Done takes the end from the scheduler.
func (s *stream) Done(f batcher.Finish) {
	s.update(func() {
		stopped := s.stopSequence != ""
		switch {
		case !s.addText(s.detokenizer.Flush()):
			if s.stops != nil {
				s.text = append(s.text, s.stops.Flush()...)
			}
		case !stopped && f.Reason == batcher.FinishLength:
			f.Reason = batcher.FinishStop // what was held back completed a stop sequence
		}
		if err := s.detokenizer.Err(); err != nil {
			f.Reason, f.Err = batcher.FinishError, err
		}
		s.finish = &f
	})
	s.hub.kick() // a request that ends in the queue ends outside any step
}

// announce lets notifications follow the response that was just sent.
func (s *stream) announce() {
	s.update(func() { s.announced = true })
	s.hub.kick()
}

// admitted keeps the batcher's end of the stream.
func (s *stream) admitted(handle *batcher.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = handle
}

// stop cancels the stream and reports whether it was still active.
func (s *stream) stop() bool {
	s.mu.Lock()
	handle, finished := s.handle, s.finish != nil
	s.mu.Unlock()
	switch {
	case finished:
		return false
	case handle != nil:
		return handle.Cancel()
	}
	s.cancel() // generate has not been answered yet
	return true
}

// portion is what the emitter takes of a stream.
type portion struct {
	text   []byte
	tokens []batcher.Token
	finish *batcher.Finish
	stop   string
}

// take returns what is to be sent; ok is false if that is nothing yet.
func (s *stream) take() (p portion, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = false
	if !s.announced || s.whole && s.finish == nil {
		return portion{}, false
	}
	p = portion{text: s.text, tokens: s.tokens, finish: s.finish, stop: s.stopSequence}
	s.text, s.tokens = nil, nil
	return p, true
}
