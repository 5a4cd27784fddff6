package sample

import "mlx-worker/gpu/mlx"

// Options choose a token from logits. Logit bias and penalties apply always, the others to a
// temperature above 0; temperature 0 is greedy. The zero value of a field turns it off.
type Options struct {
	Temperature float64
	TopP        float64 // (0, 1]; 0 and 1: off
	TopK        int     // 0, or the vocabulary size and above: off
	MinP        float64 // [0, 1]
	Seed        uint64

	XTCProbability float64 // [0, 1]: of excluding the top choices at a draw
	XTCThreshold   float64 // [0, 0.5]: a more probable token is a top choice
	XTCExempt      []int32 // ids that XTC never excludes

	LogitBias map[int32]float32 // added to the logits of ids, which are in the vocabulary

	// Penalties look at the last PenaltyTokens tokens; 0: they are off.
	PenaltyTokens     int
	RepetitionPenalty float64 // divides positive logits, multiplies negative ones; 0 and 1: off
	PresencePenalty   float64 // subtracted once for a token that occurs
	FrequencyPenalty  float64 // subtracted for each occurrence
}

// Row is one row's part in [Sample].
type Row struct {
	Options

	// Draw is the number of the draw: equal seeds and numbers draw equal tokens from equal logits.
	Draw uint64
	// History holds the tokens before the newest one, the prompt's included; of those, the last
	// PenaltyTokens-1 are enough. It is read only where penalties are on, and not kept.
	History []int32
	// LogProb asks for the log-probability of the sampled token.
	LogProb bool
	// Top asks for so many likeliest tokens.
	Top int
}

// Result holds lazy arrays of the scope that [Sample] was called with. Log-probabilities are
// natural, of the whole vocabulary: after bias and penalties, before filters and temperature.
type Result struct {
	// Tokens is int32 [n].
	Tokens mlx.Array
	// LogProbs is float32 [a], of the rows with LogProb, in order; null if there are none.
	LogProbs mlx.Array
	// TopIDs, int32 [b, k], and TopValues, float32 [b, k], are of the rows with Top above 0, in
	// order; null if there are none. k is the greatest Top, at most the vocabulary size. The order
	// within a row is unspecified; a row that asked for fewer has its own number of likeliest
	// tokens and -Inf as the value of the others.
	TopIDs, TopValues mlx.Array
}

// sampled tells whether the row's token is drawn at random.
func (r *Row) sampled() bool { return r.Temperature > 0 }

// repetition returns the factor of the repetition penalty, 1 if it is off.
func (r *Row) repetition() float64 {
	if r.RepetitionPenalty == 0 {
		return 1
	}
	return r.RepetitionPenalty
}

// penalised tells whether tokens of the context change the row's logits.
func (r *Row) penalised() bool {
	return r.PenaltyTokens > 0 && (r.repetition() != 1 || r.PresencePenalty != 0 || r.FrequencyPenalty != 0)
}

// context returns the tokens before the newest one that penalties look at.
func (r *Row) context() []int32 {
	return r.History[max(0, len(r.History)-(r.PenaltyTokens-1)):]
}
