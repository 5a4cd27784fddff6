package rpc

import (
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"mlx-worker/batcher"
)

// ProtocolVersion is the version of the wire protocol, sent in worker/ready.
const ProtocolVersion = 1

// TextModel is the text side of one model. All methods but Close may be called by many
// goroutines at once; errors are *fault.Error where the kind is known.
type TextModel interface {
	// Encode returns the token ids of text, with the special tokens around it if addSpecial.
	Encode(text string, addSpecial bool) ([]int32, error)
	// EncodePrompt is Encode with special tokens unless text starts with them already.
	EncodePrompt(text string) ([]int32, error)
	// Decode returns the text of ids, without special tokens if skipSpecial.
	Decode(ids []int32, skipSpecial bool) (string, error)
	// TokenString returns the vocabulary's entry of id.
	TokenString(id int32) (string, bool)
	// VocabSize is the number of ids.
	VocabSize() int
	// EOSIDs are the ids that end a completion.
	EOSIDs() []int32
	// HasChatTemplate tells whether RenderChat can work.
	HasChatTemplate() bool
	// RenderChat renders a conversation by the model's chat template.
	RenderChat(c Chat) (string, error)
	// NewDetokenizer returns a detokenizer for one completion.
	NewDetokenizer() Detokenizer
	// Close frees the model; nothing else is called after it.
	Close()
}

// Chat is a conversation for a chat template. The JSON keeps the order of keys that the
// client sent, as templates print it.
type Chat struct {
	Messages            json.RawMessage // array of objects
	Tools               json.RawMessage // array of objects; nil: none
	Kwargs              json.RawMessage // object: further variables of the template; nil: none
	AddGenerationPrompt bool
}

// Detokenizer turns the tokens of one completion into text. Not safe for concurrent use.
type Detokenizer interface {
	// Push returns the text that id completed: whole UTF-8, possibly none.
	Push(id int32) string
	// Flush returns what was held back at the end.
	Flush() string
	// Err returns the error after which Push and Flush returned nothing.
	Err() error
}

// StopMatcher looks for stop sequences in the text of one completion. Not safe for
// concurrent use.
type StopMatcher interface {
	// Push takes more text and returns what is certainly not part of a stop sequence. When a
	// stop sequence is complete, done is true and matched says which; nothing follows.
	Push(text string) (emit, matched string, done bool)
	// Flush returns what was held back at the end.
	Flush() string
}

// Device is what the engine computes on.
type Device struct {
	Name             string `msgpack:"name"`
	MemoryBytes      int64  `msgpack:"memory_bytes"`
	RecommendedBytes int64  `msgpack:"recommended_bytes,omitempty"` // 0: unknown
}

// Info describes the worker; it is the params of worker/ready.
type Info struct {
	Protocol     int      `msgpack:"protocol"` // set by Serve
	Version      string   `msgpack:"version"`  // of the worker
	MLXVersion   string   `msgpack:"mlx_version"`
	MLXCVersion  string   `msgpack:"mlx_c_version"`
	Backend      string   `msgpack:"backend"` // "metal", "cuda" or "cpu"
	Device       Device   `msgpack:"device"`
	PID          int      `msgpack:"pid"`
	Capabilities []string `msgpack:"capabilities"` // set by Serve: the methods that this build offers
}

// Options are the surroundings of Serve. Those without a default are required.
type Options struct {
	In  io.ReadCloser
	Out io.WriteCloser

	// Batcher runs the requests. Serve sets its OnStep and shuts it down.
	Batcher *batcher.Batcher
	// OpenText opens the text side of the model at path, as returned by ResolveModel.
	OpenText func(path string) (TextModel, error)
	// NewStopMatcher returns a matcher for one completion; stops are not empty.
	NewStopMatcher func(stops []string) StopMatcher
	// ResolveModel finds the folder or file of a model. localPath and revision may be empty.
	// Its errors name no path that the request did not.
	ResolveModel func(modelID, localPath, revision string) (path string, err error)
	// Memory returns the engine's memory without waiting for it.
	Memory func() batcher.Memory
	// RSS returns the resident memory of the process in bytes.
	RSS  func() int64
	Info Info

	MaxFrameBytes int           // 0: wire.DefaultMaxFrameBytes
	DrainTimeout  time.Duration // time for running streams after Serve's ctx ended
	Ready         func()        // called when worker/ready was sent; nil: nothing
	// InputEnded is called when the client has closed the input, from the reader's goroutine.
	// Serve then returns within EndTimeout, unless the process is ended sooner; nil: nothing.
	InputEnded func()
	Logger     *slog.Logger // nil: slog.Default()
}

// EndTimeout bounds the time that Serve takes to end once nothing is left to wait for.
const EndTimeout = engineTimeout + sendTimeout

const (
	// engineTimeout is for a step or a load that the engine cannot interrupt.
	engineTimeout = 400 * time.Millisecond
	// sendTimeout is for what the client is still to be told, if it reads.
	sendTimeout = 200 * time.Millisecond
)
