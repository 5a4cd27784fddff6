/** A model, by the id it was loaded under or by the handle that `loadModel` returned. */
export type ModelRef = string | { readonly modelId: string };

/**
 * A prompt that is used as it is, without chat template: text, which gets the model's special tokens unless
 * it starts with them, or token ids, which get nothing added.
 */
export type Prompt = string | { readonly tokens: readonly number[] };

/**
 * One message of a conversation. It reaches the model's chat template as it is: fields beyond these are the
 * template's affair.
 */
export interface ChatMessage {
  /** Who says it, in the template's words: mostly "system", "user", "assistant" or "tool". */
  readonly role: string;
  /** What is said: text, or parts where the template knows parts. */
  readonly content: string | null | readonly Readonly<Record<string, unknown>>[];
  /** Name of who says it, or of the tool. */
  readonly name?: string | undefined;
  /** Calls that the assistant made. */
  readonly tool_calls?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** Call that a message of role "tool" is the result of. */
  readonly tool_call_id?: string | undefined;
  readonly [field: string]: unknown;
}

/** A function that a model may call, in the form that chat templates expect (JSON Schema parameters). */
export type Tool = Readonly<Record<string, unknown>>;

/** A constraint on the generated text. */
export interface Guidance {
  /** What `schema` is; "json" is any JSON. */
  readonly mode: "json_schema" | "json" | "regex" | "lark";
  /** JSON schema, regular expression or grammar; not for mode "json". */
  readonly schema?: string | Readonly<Record<string, unknown>> | undefined;
}

/** What decides how tokens are chosen and when a generation ends. */
export interface SamplingParams {
  /** Most tokens to generate. Default 512; at most what the context leaves. */
  readonly maxTokens?: number | undefined;
  /** Default 0.7; 0 is greedy decoding. */
  readonly temperature?: number | undefined;
  /** Probability mass to sample from. Default 1. */
  readonly topP?: number | undefined;
  /** Number of most likely tokens to sample from. Default 0: all; so does the vocabulary's size and above. */
  readonly topK?: number | undefined;
  /** Least probability relative to the most likely token. Default 0. */
  readonly minP?: number | undefined;
  /**
   * Probability, at each token, of excluding the top choices but the least likely of them; end of text and
   * line feed stay. Default 0.
   */
  readonly xtcProbability?: number | undefined;
  /** Probability above which a token is a top choice, up to 0.5. Default 0.1. */
  readonly xtcThreshold?: number | undefined;
  /** Divides positive logits of tokens that occurred, multiplies negative ones; above 0, up to 10. Default 1: none. */
  readonly repetitionPenalty?: number | undefined;
  /** Last tokens that the three penalties look at, the prompt's included; 0: none. Default 20. */
  readonly repetitionContextSize?: number | undefined;
  /** Subtracted once from the logits of tokens that occurred, -2 to 2. Default 0. */
  readonly presencePenalty?: number | undefined;
  /** Subtracted for each occurrence, -2 to 2. Default 0. */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of these token ids: at most 1024, -100 to 100. */
  readonly logitBias?: Readonly<Record<number, number>> | undefined;
  /** Makes sampling repeatable. Default: another one for every request. */
  readonly seed?: number | undefined;
  /** Texts that end the generation; they are not part of the result. At most 16. */
  readonly stopSequences?: readonly string[] | undefined;
  /** Token ids that end the generation, besides the model's own. */
  readonly stopTokenIds?: readonly number[] | undefined;
  /** Goes on after an end-of-text token. Default false. */
  readonly ignoreEos?: boolean | undefined;
  /** Reports the log probability of every token. Default false. */
  readonly logprobs?: boolean | undefined;
  /** Number of alternatives reported with every token, 0 to 20. Default 0. */
  readonly topLogprobs?: number | undefined;
  /** Constraint on the text. This build refuses it (`UnsupportedError`). */
  readonly guidance?: Guidance | undefined;
  /** Model that drafts tokens for speculative decoding. This build refuses it (`UnsupportedError`). */
  readonly draftModel?: string | undefined;
  /** Tokens drafted a step. Default 3. */
  readonly numDraftTokens?: number | undefined;
  /** Keeps the prompt's KV cache for later prompts with the same beginning. Default true. */
  readonly cachePrompt?: boolean | undefined;
  /** False: the text comes as one chunk at the end. Default true. */
  readonly stream?: boolean | undefined;
}

interface ModelParams extends SamplingParams {
  /** A loaded model. */
  readonly model: ModelRef;
}

/** Parameters of `Engine.generate` for a prompt that is used as it is. */
export interface PromptParams extends ModelParams {
  /** Text or token ids. */
  readonly prompt: Prompt;
  readonly messages?: undefined;
}

/** Parameters of `Engine.generate` for a conversation. */
export interface MessagesParams extends ChatParams {
  /** A conversation, rendered by the model's chat template. */
  readonly messages: readonly ChatMessage[];
  readonly prompt?: undefined;
}

/** Parameters of `chat`, besides the conversation. */
export interface ChatParams extends ModelParams {
  /** Functions that the template tells the model of. */
  readonly tools?: readonly Tool[] | undefined;
  /** Further variables of the chat template, for example `enable_thinking`. */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** What to generate from, exactly one of `prompt` and `messages`, and how. */
export type GenerateParams = PromptParams | MessagesParams;

/** How a generation is run, as opposed to what it produces. */
export interface GenerateOptions {
  /** Cancels the generation; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Name of the stream, unique among the active ones. Default: a random one. */
  readonly streamId?: string | undefined;
  /** Ends the generation with finish reason "timeout" after so many milliseconds. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Place in the queue: "urgent" before "default" before "background". Default "default". */
  readonly priority?: "default" | "urgent" | "background" | undefined;
}

/** Log probability of a generated token. */
export interface TokenLogprob {
  readonly tokenId: number;
  /** Natural logarithm of the token's probability. */
  readonly logprob: number;
  /** The most likely tokens at this position, with `topLogprobs`. */
  readonly top?: readonly { readonly tokenId: number; readonly text: string; readonly logprob: number }[];
}

/**
 * What one or more decode steps added to a generation: one as long as the reader keeps up. Steps that a slow reader has
 * not read are joined, so that a stream which is not read does not pile up chunks.
 */
export interface GenerateChunk {
  /** Position among the chunks of this iteration, from 0. */
  readonly index: number;
  /** Whole characters; never part of a stop sequence. Empty while a character or a stop sequence is open. */
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** One entry a token id, with `logprobs`. */
  readonly logprobs?: readonly TokenLogprob[];
}

/** Token counts of a generation. */
export interface Usage {
  readonly promptTokens: number;
  /** Prompt tokens whose KV cache was there already. */
  readonly cachedTokens: number;
  /** Generated tokens, an end-of-text token included. */
  readonly completionTokens: number;
  readonly draftTokens: number;
  readonly draftAccepted: number;
}

/** Where the time of a generation went, as measured by the worker. */
export interface Timings {
  readonly queueMs: number;
  readonly prefillMs: number;
  /** Time to first token: from the request's arrival. */
  readonly ttftMs: number;
  readonly decodeMs: number;
  readonly totalMs: number;
  /** Decode throughput. */
  readonly tokensPerSecond: number;
}

/** Why a generation ended. */
export type FinishReason = "stop" | "length" | "cancelled" | "timeout";

/** A finished generation. */
export interface GenerateResult {
  readonly streamId: string;
  readonly text: string;
  /** Ids of the generated tokens. */
  readonly tokens: readonly number[];
  readonly logprobs?: readonly TokenLogprob[];
  readonly finishReason: FinishReason;
  /** The stop sequence that ended the generation. */
  readonly stopSequence?: string;
  /** The token that ended the generation. */
  readonly stopTokenId?: number;
  readonly usage: Usage;
  readonly timings: Timings;
}

/**
 * A running generation: a promise of its result and, independently of that, an iterable of its chunks.
 * Every iteration starts at the first token. Leaving a loop early (`break`, `return`, `throw`) cancels the
 * generation. One that fails without anybody waiting for it is not an unhandled rejection.
 *
 * @example
 * ```ts
 * const generation = engine.generate({ model, prompt: "Once upon a time" });
 * for await (const chunk of generation) process.stdout.write(chunk.text);
 * const { usage, finishReason } = await generation;
 * ```
 */
export interface Generation extends Promise<GenerateResult>, AsyncIterable<GenerateChunk> {
  readonly streamId: string;
  /**
   * Asks the worker to stop. The promise then resolves with what there is and finish reason "cancelled" (or
   * with the complete result if that was faster).
   */
  cancel(): void;

  /**
   * The chunks, from the first one on, as a web stream, for example to answer an HTTP request: as they are, or their
   * text in UTF-8 with `{ format: "bytes" }`. Cancelling the stream cancels the generation.
   *
   * @example
   * ```ts
   * return new Response(engine.generate({ model, prompt }).toReadableStream({ format: "bytes" }));
   * ```
   */
  toReadableStream(options?: { readonly format?: "chunks" | undefined }): ReadableStream<GenerateChunk>;
  /** The text of the chunks in UTF-8 as a web stream; the same otherwise. */
  toReadableStream(options: { readonly format: "bytes" }): ReadableStream<Uint8Array>;
}
