package batcher

import (
	"context"
	"errors"

	"mlx-worker/internal/fault"
)

// asFault gives err a kind. A fault in its chain keeps kind, message and data. The text of any
// other error may hold paths or addresses: it goes to the log, and the client is told what
// failed.
func (b *Batcher) asFault(what string, err error, kind fault.Kind) *fault.Error {
	if f, ok := err.(*fault.Error); ok {
		return f
	}
	var inner *fault.Error
	switch {
	case errors.As(err, &inner):
		return &fault.Error{Kind: inner.Kind, Message: inner.Message, Data: inner.Data, Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Cancelled, Message: what + " was cancelled", Err: err}
	}
	b.cfg.Logger.Error("untyped error", "in", what, "error", err)
	return &fault.Error{Kind: kind, Message: what + " failed unexpectedly; the worker's log tells more", Err: err}
}

func notLoaded(id string, m *model) *fault.Error {
	if m == nil {
		return fault.New(fault.ModelNotLoaded, "model %q is not loaded", id).With("model_id", id)
	}
	return fault.New(fault.ModelNotLoaded, "model %q is not ready: it is %s", id, m.phase).
		With("model_id", id).With("state", string(m.phase))
}
