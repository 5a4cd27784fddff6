package rpc

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"mlx-worker/batcher"
	"mlx-worker/rpc/wire"
)

const (
	maxBiases = 1024 // entries of logit_bias
	maxBias   = 100.0
)

// newSampling checks what depends on the model and makes the batcher's options of sampling.
func newSampling(m *model, a args) (batcher.Sampling, error) {
	sampling := batcher.Sampling{
		Temperature: a.number("temperature"),
		TopP:        a.number("top_p"),
		TopK:        a.int("top_k"),
		MinP:        a.number("min_p"),
		Seed:        uint64(a.int("seed")),

		XTCProbability: a.number("xtc_probability"),
		XTCThreshold:   a.number("xtc_threshold"),

		PenaltyTokens:     a.int("repetition_context_size"),
		RepetitionPenalty: a.number("repetition_penalty"),
		PresencePenalty:   a.number("presence_penalty"),
		FrequencyPenalty:  a.number("frequency_penalty"),
	}
	if !a.given["seed"] {
		sampling.Seed = rand.Uint64N(maxSeed)
	}
	var err error
	if sampling.LogitBias, err = logitBias(a.value("logit_bias"), m.info.VocabSize); err != nil {
		return batcher.Sampling{}, err
	}
	if sampling.XTCProbability > 0 {
		if sampling.XTCExempt, err = xtcExempt(m); err != nil {
			return batcher.Sampling{}, err
		}
	}
	return sampling, nil
}

// logitBias decodes the parameter logit_bias, which may be absent.
func logitBias(object wire.Value, vocabSize int) (map[int32]float32, error) {
	if object == nil || object.Len() == 0 {
		return nil, nil
	}
	invalid := func(format string, values ...any) error {
		return invalidParam("logit_bias", logitBiasAccepts, format, values...)
	}
	if object.Len() > maxBiases {
		return nil, invalid("it has %d entries", object.Len())
	}
	biases := make(map[int32]float32, object.Len())
	for key, value := range object.Entries() {
		id, err := strconv.ParseUint(key, 10, 31)
		if err != nil || key != strconv.FormatUint(id, 10) {
			return nil, invalid("%s is not a token id", wire.Quote(key))
		}
		if int(id) >= vocabSize {
			return nil, invalid("id %d is not in the vocabulary, 0 to %d", id, vocabSize-1)
		}
		if _, twice := biases[int32(id)]; twice {
			return nil, invalid("id %d is given twice", id)
		}
		bias, ok := value.Float()
		if !ok || !(bias >= -maxBias && bias <= maxBias) {
			return nil, invalid("%s of id %d is not accepted", describe(value), id)
		}
		biases[int32(id)] = float32(bias)
	}
	return biases, nil
}

var logitBiasAccepts = fmt.Sprintf("an object of at most %d numbers from %v to %v by token id", maxBiases, -maxBias, maxBias)

// xtcExempt returns the ids that XTC never excludes, those of mlx-lm: without the end of text
// and the line feed among the choices, a text would go on for ever.
func xtcExempt(m *model) ([]int32, error) {
	lineFeed, err := m.text.Encode("\n", false)
	if err != nil {
		return nil, err
	}
	var exempt []int32
	for _, id := range append(lineFeed, m.text.EOSIDs()...) {
		if int(id) < m.info.VocabSize { // a tokenizer may know more tokens than its model
			exempt = append(exempt, id)
		}
	}
	return exempt, nil
}
