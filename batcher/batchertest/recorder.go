package batchertest

import (
	"slices"
	"sync"
	"testing"

	"mlx-worker/batcher"
)

// Recorder is an Output that keeps what it was told, and fails the test for a second Done or
// a Token after it.
type Recorder struct {
	// OnToken, if set, decides Token's answer.
	OnToken func(batcher.Token) (stop bool)

	t    testing.TB
	done chan struct{}

	mu     sync.Mutex
	tokens []batcher.Token
	finish *batcher.Finish
}

// NewRecorder returns an empty recorder.
func NewRecorder(t testing.TB) *Recorder { return &Recorder{t: t, done: make(chan struct{})} }

// Token implements batcher.Output.
func (r *Recorder) Token(token batcher.Token) (stop bool) {
	r.mu.Lock()
	if r.finish != nil {
		r.t.Errorf("token %d after Done", token.ID)
	}
	r.tokens = append(r.tokens, token)
	r.mu.Unlock()
	return r.OnToken != nil && r.OnToken(token)
}

// Done implements batcher.Output.
func (r *Recorder) Done(f batcher.Finish) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finish != nil {
		r.t.Errorf("Done twice: %+v after %+v", f, *r.finish)
		return
	}
	r.finish = &f
	close(r.done)
}

// Wait returns the finish once it is there.
func (r *Recorder) Wait() batcher.Finish {
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.finish
}

// Ended is closed when the request has ended.
func (r *Recorder) Ended() <-chan struct{} { return r.done }

// Tokens returns the tokens so far.
func (r *Recorder) Tokens() []batcher.Token {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tokens)
}

// IDs returns the tokens' ids so far.
func (r *Recorder) IDs() []int32 {
	tokens := r.Tokens()
	ids := make([]int32, len(tokens))
	for i, t := range tokens {
		ids[i] = t.ID
	}
	return ids
}
