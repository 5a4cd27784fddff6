import type { ChatMessage, FinishReason, ModelRef, Prompt, SamplingParams, Tool } from "./generate.js";

type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
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
      readonly promptTokens?: readonly number[] | undefined;
      readonly chatTemplateKwargs?: Readonly<Record<string, unknown>> | undefined;
    }> {
  readonly model?: ModelRef | undefined;
  /** The same as `model`. */
  readonly model_id?: ModelRef | undefined;
  readonly prompt?: Prompt | undefined;
  readonly messages?: readonly ChatMessage[] | undefined;
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
