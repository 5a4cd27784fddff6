import type { ChatMessage, FinishReason, ModelRef, Prompt, SamplingParams, Tool } from "./generate.js";

/** A camelCase name in snake_case. */
export type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? Head extends Uppercase<Head>
    ? Head extends Lowercase<Head>
      ? `${Head}${SnakeCase<Tail>}`
      : `_${Lowercase<Head>}${SnakeCase<Tail>}`
    : `${Head}${SnakeCase<Tail>}`
  : S;

/** The same fields under their camelCase and snake_case names. */
export type EitherCase<T> = T & { readonly [K in keyof T as SnakeCase<K & string>]?: T[K] | undefined };

/**
 * Parameters of `createGenerator`: those of `generate` under their camelCase or their snake_case names
 * (camelCase wins), with the older spellings of model, token prompt and streaming.
 */
export interface GeneratorParams
  extends EitherCase<SamplingParams>,
    EitherCase<{
      /** Token ids in place of `prompt`. */
      readonly promptTokens?: readonly number[] | undefined;
      /** Further variables of the chat template, for example `enable_thinking`. */
      readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
    }> {
  /** A loaded model. */
  readonly model?: ModelRef | undefined;
  /** The same as `model`. */
  readonly model_id?: ModelRef | undefined;
  /** Text or token ids, used as they are; or `messages`. */
  readonly prompt?: Prompt | undefined;
  /** A conversation, rendered by the model's chat template; or `prompt`. */
  readonly messages?: readonly ChatMessage[] | undefined;
  /** Functions that the template tells the model of. */
  readonly tools?: readonly Tool[] | undefined;
  /** The same as `stream`. */
  readonly streaming?: boolean | undefined;
}

/** One generated token. */
export interface TokenChunk {
  readonly type: "token";
  /** Text that became complete with this token; may be empty. */
  readonly token: string;
  /** Absent for text that was held back and came out at the end. */
  readonly tokenId?: number;
  readonly logprob?: number;
  /** Always false: the stream ends with its metadata. */
  readonly isFinal: false;
  /** All text so far. */
  readonly cumulativeText: string;
}

/** Figures of the whole generation; follows the last token. */
export interface MetadataChunk {
  readonly type: "metadata";
  readonly stats: {
    readonly modelId: string;
    readonly tokensGenerated: number;
    readonly tokensPerSecond: number;
    /** Seconds. */
    readonly timeToFirstToken: number;
    /** Seconds. */
    readonly totalTime: number;
    readonly draftTokensAccepted: number;
    readonly finishReason: FinishReason;
  };
}

/** The generation failed after it had started; nothing follows. */
export interface ErrorChunk {
  readonly type: "error";
  readonly error: {
    /** Kind of the error, for example "GenerationError". */
    readonly code: string;
    readonly message: string;
    readonly details: Readonly<Record<string, unknown>>;
  };
}

/** What `createGenerator` yields. */
export type GeneratorChunk = TokenChunk | MetadataChunk | ErrorChunk;
