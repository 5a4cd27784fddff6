package batcher

import "context"

// Engine is what the batcher needs of an inference engine; gpu implements it on MLX and
// tests on a table. Every method may be called from any goroutine; Dispatch and Wait by one
// goroutine at a time. Errors are *fault.Error where the kind is known.
type Engine interface {
	// Load reads the model at req.Path and makes it ready under req.ModelID. It returns
	// when the first token could be generated. progress is called from Load's goroutine.
	Load(ctx context.Context, req LoadRequest, progress func(LoadProgress)) (ModelInfo, error)

	// Unload frees a model that has no open sequences and returns the bytes given back.
	Unload(ctx context.Context, modelID string) (freedBytes int64, err error)

	// NewSequence prepares a sequence over a prompt of at least one token. Nothing is
	// computed before the first step.
	NewSequence(ctx context.Context, modelID string, prompt []int32, opts SequenceOptions) (Sequence, error)

	// Dispatch starts a step: it advances every row by one unit of work (see Row). The rows are
	// of one model. It returns as soon as the step is under way; an error fails all rows. ctx
	// ends when a shutdown has waited long enough.
	//
	// Before a step was waited for, at most StepsAhead more may be dispatched, which may hold the
	// same sequences: a decode continues from the token that the step before it samples.
	Dispatch(ctx context.Context, rows []Row) (Step, error)

	// StepsAhead is how many steps may be dispatched beyond the one that is waited for: 1 where
	// the device computes while the host prepares the next step, 0 where that gains nothing.
	StepsAhead() int

	// SequenceBytes is the device memory that the cache of a sequence of so many tokens takes,
	// 0 if the model is not loaded. It never waits for the engine thread.
	SequenceBytes(modelID string, tokens int) int64

	// Memory never waits for the engine thread.
	Memory() Memory

	// Close ends all sequences, unloads all models and stops the engine.
	Close() error
}

// Sequence is one prompt with its KV cache inside an Engine.
type Sequence interface {
	// Close frees the cache, or lets the steps under way that use it free it; it is idempotent,
	// may be called from any goroutine and never waits.
	Close()
}

// Step is a step under way.
type Step interface {
	// Wait returns one result per row, in order. A StepResult.Err fails its row alone; a returned
	// error fails all of them. Steps are waited for once, in the order of their dispatch.
	Wait(ctx context.Context) ([]StepResult, error)
}

// LoadRequest says which model to load. Path is a folder with config.json or a .gguf file.
type LoadRequest struct {
	ModelID       string
	Path          string
	ContextLength int    // tokens; 0: the model's own
	DType         string // "", "float32", "float16" or "bfloat16"; "": the model's own, or the backend's policy
	// Quantization is what dense matrices become while loading. The zero value leaves them as they
	// are; 0 bits and a group size of 0 are the mode's usual ones.
	Quantization Quantization
}

// LoadProgress reports the bytes of a phase: "read", "convert" or "warmup".
type LoadProgress struct {
	Phase       string
	LoadedBytes int64
	TotalBytes  int64
}

// ModelInfo describes a loaded model.
type ModelInfo struct {
	ModelID        string
	Architecture   string // config.json model_type or GGUF general.architecture, e.g. "llama"
	ContextLength  int    // tokens
	ParameterCount int64
	SizeBytes      int64  // device memory held by the weights
	DType          string // of activations
	Quantization   *Quantization
	VocabSize      int
	LoadMs         float64
}

// Quantization is a weight format: of most of a model's matrices, or to quantise to.
type Quantization struct {
	Mode      string // "affine", ...
	Bits      int
	GroupSize int
}

// SequenceOptions are fixed for a sequence's life.
type SequenceOptions struct {
	Sampling    Sampling
	LogProbs    bool // return the log-probability of each sampled token
	TopLogProbs int  // 0..20 alternatives per token, sorted by falling log-probability

	// Generated is how many of the prompt's last tokens were sampled by an earlier sequence that
	// this one continues: its draws are numbered from there.
	Generated int
}

// Sampling chooses a token from logits, in mlx-lm's order: logit bias and penalties, then, for
// a temperature above 0, top-p, min-p, XTC, top-k, temperature, categorical. Temperature 0 is
// greedy. The zero value of a field turns it off.
type Sampling struct {
	Temperature float64
	TopP        float64 // (0, 1]; 0 and 1: off
	TopK        int
	MinP        float64 // [0, 1)
	Seed        uint64

	XTCProbability float64
	XTCThreshold   float64 // [0, 0.5]
	XTCExempt      []int32 // ids that XTC never excludes: end of text and line feed

	LogitBias map[int32]float32 // added to the logits of ids

	// Penalties look at the last PenaltyTokens tokens, the prompt's included.
	PenaltyTokens     int
	RepetitionPenalty float64 // divides positive logits, multiplies negative ones; 0 and 1: off
	PresencePenalty   float64 // subtracted once for a token that occurs
	FrequencyPenalty  float64 // subtracted for each occurrence
}

// Row is one sequence's part in a step: a prefill chunk if PromptTokens > 0, else one decode.
//
// The batcher prefills in chunks until exactly one prompt token is left; the first decode
// consumes that token and yields the first completion token.
type Row struct {
	Sequence     Sequence
	PromptTokens int // prompt tokens to consume in this step; at most those left minus one
}

// StepResult is what a row gained: a token for a decode, nothing for a prefill chunk.
type StepResult struct {
	Token       int32
	LogProb     float32 // natural log; set if SequenceOptions.LogProbs
	TopLogProbs []TokenLogProb
	Err         error
}

// TokenLogProb is a candidate token with its natural log-probability.
type TokenLogProb struct {
	Token   int32
	LogProb float32
}

// Memory is the engine's memory in bytes.
type Memory struct {
	ActiveBytes int64
	CacheBytes  int64
	PeakBytes   int64
	LimitBytes  int64 // what weights and caches may take together; 0: unknown
}
