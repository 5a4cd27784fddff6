package rpc

import (
	"context"
	"errors"
	"log/slog"
	"maps"

	"mlx-worker/internal/fault"
	"mlx-worker/rpc/wire"
)

// ErrorKind is one row of the table of errors.
type ErrorKind struct {
	Kind string // error.data.kind
	Code int    // error.code
	Doc  string // when it happens
	Data string // what error.data holds beside kind; "": nothing
}

// Errors is the table of every error that the worker sends. It must not be changed.
var Errors = []ErrorKind{
	{"ParseError", -32700, "A frame is empty or is not exactly one MessagePack map. The id is null.", ""},
	{"InvalidRequest", -32600, "A message is no JSON-RPC 2.0 request, or its id is neither a string nor an integer from 0 to 2^53-1.", ""},
	{"FrameTooLarge", -32600, "A frame is longer than `MLX_MAX_FRAME_BYTES`. A request that is gets id null; its body is skipped.", "`limit`"},
	{"MethodNotFound", -32601, "There is no such method.", ""},
	{string(fault.InvalidParams), -32602, "A parameter is unknown, missing, of the wrong type or out of range.", "`param`, `accepted`"},
	{string(fault.Internal), -32603, "A fault of the worker. The log on stderr tells more.", ""},
	{string(fault.ModelLoad), -32001, "A model cannot be loaded: file missing, bad config, unknown architecture, corrupt weights.", ""},
	{string(fault.Generation), -32002, "A step failed.", "`cause`"},
	{string(fault.Tokenizer), -32003, "A tokenizer or chat template cannot be loaded or fails on an input.", ""},
	{string(fault.Guidance), -32004, "A schema or grammar cannot be compiled. Generation never falls back to free text.", ""},
	{string(fault.ModelNotLoaded), -32005, "No model is loaded under the id.", "`model_id`"},
	{string(fault.QueueFull), -32006, "Too many generations wait (`MLX_MAX_QUEUE`), or 1024 requests of any kind are being worked on.", "`limit`, `queued`, `retry_after_ms`"},
	{string(fault.Cancelled), -32007, "The request was cancelled before it started, or its model was unloaded by force while the stream ran.", ""},
	{string(fault.ShuttingDown), -32007, "The worker takes no more work, or ends before a running stream has finished.", ""},
	{string(fault.ContextLengthExceeded), -32008, "The prompt does not leave room for one token in the model's context.", "`limit`, `prompt_tokens`"},
	{string(fault.InsufficientMemory), -32009, "Refused for lack of memory: a generation at admission, or a load whose quantised matrices have to become dense.", "`required_bytes`, `available_bytes`"},
	{string(fault.Unsupported), -32010, "A known method, option or model feature that this build does not offer.", "`what`"},
	{string(fault.Busy), -32011, "What the request would change is in use: a model by streams, by a load or an unload, an id by another model.", "one of `streams` (how many use the model), `state` (of the model), `model_id`"},
	{string(fault.Runtime), -32099, "Anything else. The log on stderr tells more.", ""},
}

// codes maps the kinds of Errors to their codes.
var codes = func() map[string]int {
	m := make(map[string]int, len(Errors))
	for _, e := range Errors {
		m[e.Kind] = e.Code
	}
	return m
}()

func methodNotFound(method string) *wire.Error {
	const kind = "MethodNotFound"
	return &wire.Error{
		Code:    codes[kind],
		Message: "there is no method " + wire.Quote(method),
		Data:    map[string]any{"kind": kind},
	}
}

// wireError turns err into what the client gets. The text of an error that is no
// *fault.Error stays here, as it may hold paths or addresses; known is then false.
func wireError(err error) (e *wire.Error, known bool) {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
	case errors.Is(err, context.Canceled):
		f = fault.New(fault.Cancelled, "the request was cancelled")
	default:
		e, _ = wireError(fault.New(fault.Runtime, "the worker failed unexpectedly; its log tells more"))
		return e, false
	}
	code, ok := codes[string(f.Kind)]
	if !ok {
		code = codes[string(fault.Runtime)]
	}
	data := map[string]any{}
	maps.Copy(data, f.Data)
	data["kind"] = string(f.Kind)
	return &wire.Error{Code: code, Message: f.Message, Data: data}, true
}

// errorValue is an error inside a result or a notification.
type errorValue struct {
	Code    int            `msgpack:"code"`
	Message string         `msgpack:"message"`
	Data    map[string]any `msgpack:"data"`
}

// newErrorValue turns err into what the client gets and logs what it does not get.
func newErrorValue(log *slog.Logger, err error) *errorValue {
	e, known := wireError(err)
	if !known {
		log.Error("part of a request failed", "error", err)
	}
	return &errorValue{e.Code, e.Message, e.Data}
}

func unsupported(what, why string) *fault.Error {
	return fault.New(fault.Unsupported, "%s is not supported: %s", what, why).With("what", what)
}

func notLoaded(modelID string) *fault.Error {
	return fault.New(fault.ModelNotLoaded, "no model is loaded as %s", wire.Quote(modelID)).With("model_id", modelID)
}

func shuttingDown() *fault.Error {
	return fault.New(fault.ShuttingDown, "the worker is shutting down")
}
