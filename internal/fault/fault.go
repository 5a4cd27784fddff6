// Package fault is the error type that every layer shares: what went wrong (a Kind
// that a program can branch on), a sentence for a person, and structured data.
//
// Layers below rpc create faults; only rpc turns a Kind into a wire code.
package fault

import (
	"errors"
	"fmt"
	"maps"
)

// Kind names a class of failure. The wire code of each kind is in rpc's error table.
type Kind string

// The kinds of docs: contract "Errors".
const (
	InvalidParams         Kind = "InvalidParams"
	ModelLoad             Kind = "ModelLoadError"
	Generation            Kind = "GenerationError"
	Tokenizer             Kind = "TokenizerError"
	Guidance              Kind = "GuidanceError"
	ModelNotLoaded        Kind = "ModelNotLoaded"
	QueueFull             Kind = "QueueFull"
	Cancelled             Kind = "Cancelled"
	ShuttingDown          Kind = "ShuttingDown"
	ContextLengthExceeded Kind = "ContextLengthExceeded"
	InsufficientMemory    Kind = "InsufficientMemory"
	Unsupported           Kind = "Unsupported"
	Busy                  Kind = "Busy"
	Internal              Kind = "InternalError"
	Runtime               Kind = "RuntimeError"
)

// Data is the structured part of an error, sent as error.data beside "kind".
// Values are strings, integers, floats, booleans or slices and maps of these.
type Data map[string]any

// Error is a failure with a kind. Message is for a person and holds no path outside
// the request, no address and no stack.
type Error struct {
	Kind    Kind
	Message string
	Data    Data
	Err     error // cause; part of Error() but never sent to the client
}

// New returns a fault of the given kind with a formatted message. A %w verb sets the
// cause, whose text is then part of the message.
func New(kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

// With returns a copy of e with one more data field.
func (e *Error) With(key string, value any) *Error {
	copied := *e
	copied.Data = maps.Clone(e.Data)
	if copied.Data == nil {
		copied.Data = Data{}
	}
	copied.Data[key] = value
	return &copied
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first fault in err's chain, or Runtime if there is none.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return Runtime
}

// Is reports whether err's chain holds a fault of the given kind.
func Is(err error, kind Kind) bool {
	var f *Error
	return errors.As(err, &f) && f.Kind == kind
}
