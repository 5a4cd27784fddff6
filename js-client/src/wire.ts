/**
 * The messages of the protocol as they are on the wire (snake_case). Shapes of results that only change
 * their spelling on the way to the caller are not repeated here: see `casing.ts`.
 */

/** Version of the protocol that this client speaks. */
export const PROTOCOL_VERSION = 1;

/** The frame limit of both sides unless told otherwise, in bytes. */
export const DEFAULT_MAX_FRAME_BYTES: number = 64 * 1024 * 1024;

export type WireObject = Readonly<Record<string, unknown>>;

export interface WireError {
  readonly code: number;
  readonly message: string;
  readonly data?: WireObject | null;
}

export interface WireTokenLogprob {
  readonly token_id: number;
  readonly logprob: number;
  readonly top?:
    | readonly { readonly token_id: number; readonly text: string; readonly logprob: number }[]
    | null;
}

/** One row of `stream.chunk`. */
export interface WireChunk {
  readonly stream_id: string;
  readonly index: number;
  readonly text: string;
  readonly token_ids: readonly number[];
  readonly logprobs?: readonly WireTokenLogprob[] | null;
}

/** `stream.stats`. */
export interface WireStats {
  readonly stream_id: string;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  readonly queue_ms: number;
  readonly prefill_ms: number;
  readonly ttft_ms: number;
  readonly decode_ms: number;
  readonly total_ms: number;
  readonly tokens_per_second: number;
  readonly draft_tokens: number;
  readonly draft_accepted: number;
}

/** `stream.event`, the last notification of a stream. */
export interface WireEvent {
  readonly stream_id: string;
  readonly event: "completed" | "cancelled" | "error";
  readonly finish_reason: "stop" | "length" | "cancelled" | "timeout" | "error";
  readonly stop_sequence?: string | null;
  readonly stop_token_id?: number | null;
  readonly error?: WireError | null;
}

/** Item of `batch_generate` and `batch_tokenize` results. */
export interface WireBatchItem {
  readonly success: boolean;
  readonly result?: WireObject | null;
  readonly error?: WireError | null;
}

/** Whether a decoded value is a msgpack map. */
export function isWireObject(value: unknown): value is WireObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** Whether a decoded value is a JSON-RPC error object. */
export function isWireError(value: unknown): value is WireError {
  return isWireObject(value) && typeof value.code === "number" && typeof value.message === "string";
}
