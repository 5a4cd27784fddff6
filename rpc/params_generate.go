package rpc

import (
	"math"
	"slices"
)

// generateParams is the table of generate's parameters, in the order of the documentation.
var generateParams = slices.Concat(
	[]Param{
		modelID,
		textParam("stream_id", 1, maxStreamID, "The client's name for the stream, unique among the active ones; default: a random one."),
		textParam("prompt", 1, math.MaxInt, "Text, encoded as it is; the model's special tokens are added unless it starts with them."),
		tokensParam("prompt_tokens", 1, math.MaxInt, "Token ids, used as they are."),
	},
	chatParams(messagesParam),
	[]Param{
		intParam("max_tokens", 1, maxContext, "Most tokens to generate, up to the model's context length. Where prompt and completion fill the context the stream ends with \"length\".").withDefault(int64(512)),

		numberParam("temperature", interval{low: 0, high: 2}, "0 is greedy decoding.").withDefault(0.7),
		numberParam("top_p", interval{low: 0, high: 1, lowOpen: true}, "Probability mass to sample from.").withDefault(1.0),
		intParam("top_k", 0, maxTopK, "Number of likeliest tokens to sample from; 0, or the size of the vocabulary and above: all.").withDefault(int64(0)),
		numberParam("min_p", interval{low: 0, high: 1, highOpen: true}, "Least probability relative to the likeliest token.").withDefault(0.0),
		numberParam("xtc_probability", interval{low: 0, high: 1}, "Probability, at each token, of excluding the top choices but the least likely of them. End of text and line feed are never excluded.").withDefault(0.0),
		numberParam("xtc_threshold", interval{low: 0, high: 0.5}, "Probability above which a token is a top choice; for xtc_probability.").withDefault(0.1),
		numberParam("repetition_penalty", interval{low: 0, high: 10, lowOpen: true}, "Divides the logits, or multiplies those below 0, of tokens that occurred; 1: none.").withDefault(1.0),
		intParam("repetition_context_size", 0, maxContext, "Last tokens, of prompt and completion, that the three penalties look at; 0: none, which turns them off.").withDefault(int64(20)),
		numberParam("presence_penalty", interval{low: -2, high: 2}, "Subtracted once from the logit of each token that occurred.").withDefault(0.0),
		numberParam("frequency_penalty", interval{low: -2, high: 2}, "Subtracted from the logit of a token for each time that it occurred.").withDefault(0.0),
		logitBiasParam(),
		intParam("seed", 0, maxSeed, "Makes sampling repeatable; default: another one for each stream."),

		textsParam("stop_sequences", maxStops, maxStopBytes, "Texts that end the generation and are not part of it."),
		tokensParam("stop_token_ids", 0, maxStopIDs, "Token ids that end the generation, beside the model's own."),
		boolParam("ignore_eos", false, "Go on after an end-of-text token; stop_token_ids still end."),

		boolParam("logprobs", false, "Report the log-probability of each token."),
		intParam("top_logprobs", 0, 20, "Alternatives to report with each token; above 0 it needs logprobs.").withDefault(int64(0)),

		choiceParam("priority", "default", []string{"default", "urgent", "background"}, "Place in the queue."),
		intParam("timeout_ms", 1, maxTimeout, "End with \"timeout\" after so long, waiting included; default: never."),
		guidanceParam(),
		textParam("draft_model", 1, maxIDBytes, "Id of a model that drafts tokens.").refusedUnless(never),
		intParam("num_draft_tokens", 1, 64, "Tokens drafted a step; for draft_model.").withDefault(int64(3)),
		boolParam("cache_prompt", true, "Keep the prompt's KV cache for prompts that begin alike. This build keeps none: cached_tokens is 0."),
		boolParam("stream", true, "Send a chunk a step; false: one chunk at the end."),
	},
)

func logitBiasParam() Param {
	p := objectParam("logit_bias", "Added to the logits of tokens of the vocabulary, before the penalties.")
	p.Type = "Readonly<Record<string, number>>"
	p.Accepts = logitBiasAccepts
	return p
}

func guidanceParam() Param {
	p := objectParam("guidance", "Constraint on the generated text: mode (\"json_schema\", \"json\", \"regex\" or \"lark\") and schema.").refusedUnless(never)
	p.Accepts = "an object with mode and schema"
	return p
}
