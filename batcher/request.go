package batcher

import "time"

// Priority orders waiting requests. Among requests of one priority the order is arrival.
type Priority int

// The priorities of the contract; the zero value is the default one.
const (
	PriorityDefault Priority = iota
	PriorityUrgent
	PriorityBackground
)

// Request is one prompt to complete. The batcher keeps the slices and does not change them;
// the caller must not change them before Done.
type Request struct {
	ModelID   string
	Prompt    []int32 // at least one token
	MaxTokens int     // completion tokens, at least 1; the model's context may end it earlier
	Sequence  SequenceOptions

	EOSIDs    []int32 // the model's end-of-text ids: they end the completion unless IgnoreEOS
	StopIDs   []int32 // the client's stop ids: they always end the completion
	IgnoreEOS bool    // EOSIDs are tokens like any other

	Priority Priority
	Timeout  time.Duration // from Submit to the last token; 0: none
	Output   Output        // required
}

// Output receives a request's progress from the scheduler's goroutine, in order. Its methods
// must not block: every stream waits for them. They may call Stream.Cancel.
type Output interface {
	// Token delivers the next completion token. stop reports that the token completed a
	// stop sequence: the request then finishes with FinishStop.
	Token(t Token) (stop bool)
	// Done is called exactly once, after the last Token.
	Done(f Finish)
}

// Token is one completion token.
type Token struct {
	ID          int32
	LogProb     float32        // natural log; set if SequenceOptions.LogProbs
	TopLogProbs []TokenLogProb // by falling LogProb; the receiver may keep it
	EndOfText   bool           // ID is one of EOSIDs or StopIDs and ended the request: it counts, but is no text
}

// FinishReason says why a request ended. The values are the contract's finish_reason.
type FinishReason string

// The reasons a request ends for.
const (
	FinishStop      FinishReason = "stop"      // an end-of-text id, a stop id or a stop sequence
	FinishLength    FinishReason = "length"    // MaxTokens or the context is used up
	FinishCancelled FinishReason = "cancelled" // Stream.Cancel, its context, a forced unload or shutdown
	FinishTimeout   FinishReason = "timeout"   // Request.Timeout passed, while queued or running
	FinishError     FinishReason = "error"     // see Finish.Err
)

// Finish is the end of a request.
type Finish struct {
	Reason      FinishReason
	StopTokenID *int32 // the id that ended it, if an id did
	// Err is set for FinishError, and for FinishCancelled where it was not the client who
	// cancelled (a forced unload, shutdown). It is always a *fault.Error.
	Err   error
	Stats Stats
}

// Stats are the figures of one request. Durations of phases that were not reached are 0.
type Stats struct {
	PromptTokens     int
	CachedTokens     int           // prompt tokens whose KV was reused and not computed
	CompletionTokens int           // includes an end-of-text token, as mlx-lm counts
	Queue            time.Duration // Submit to the first step
	Prefill          time.Duration // first step to the first token (the step that yields it included)
	TTFT             time.Duration // time to first token: Submit to the first token
	Decode           time.Duration // first to last token
	Total            time.Duration // Submit to Done
}
