import { ERROR_CODES, type ErrorKind } from "./generated/protocol.js";

/** Failures that the client itself detects; the worker never sends them. */
export type ClientErrorKind =
  | "WorkerNotFound"
  | "WorkerStartFailed"
  | "WorkerCrashed"
  | "WorkerCrashLoop"
  | "ProtocolError"
  | "EngineClosed";

/** Every value of {@link MlxWorkerError.kind}: branch on it, never on a message. */
export type MlxWorkerErrorKind = ErrorKind | ClientErrorKind;

/** What an error is made of, apart from its message. */
export interface MlxWorkerErrorOptions {
  /** Class of the failure. */
  readonly kind: MlxWorkerErrorKind;
  /** JSON-RPC code; by default the code of `kind`, absent for client-side kinds. */
  readonly code?: number | undefined;
  /** Structured details. Default: none. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
  /** What led to it, as of every `Error`. */
  readonly cause?: unknown;
}

/**
 * Base of everything that this package throws, except an aborted call, which rejects with its
 * signal's own reason.
 *
 * @example
 * ```ts
 * try {
 *   await engine.generate({ model: "smollm2", prompt: "Hello" });
 * } catch (error) {
 *   if (error instanceof MlxWorkerError && error.kind === "QueueFull") retryLater(error.data);
 *   else throw error;
 * }
 * ```
 */
export class MlxWorkerError extends Error {
  override readonly name: string = "MlxWorkerError";
  /** Class of the failure. */
  readonly kind: MlxWorkerErrorKind;
  /** JSON-RPC error code; undefined for failures that only the client knows. */
  readonly code: number | undefined;
  /** Structured details as the worker sent them (snake_case keys). */
  readonly data: Readonly<Record<string, unknown>>;

  constructor(message: string, options: MlxWorkerErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind;
    this.code = options.code ?? (ERROR_CODES as Partial<Record<string, number>>)[options.kind];
    this.data = options.data ?? {};
  }

  /** A number of {@link data}, or undefined. */
  protected numberField(key: string): number | undefined {
    const value = this.data[key];
    return typeof value === "number" ? value : undefined;
  }

  /** A string of {@link data}, or undefined. */
  protected stringField(key: string): string | undefined {
    const value = this.data[key];
    return typeof value === "string" ? value : undefined;
  }
}

/** A model could not be loaded: missing file, bad config, unknown architecture, corrupt weights. */
export class ModelLoadError extends MlxWorkerError {
  override readonly name: string = "ModelLoadError";
}

/** A generation failed after it was admitted. */
export class GenerationError extends MlxWorkerError {
  override readonly name: string = "GenerationError";
}

/** Text could not be encoded or decoded, or a chat template could not be rendered. */
export class TokenizerError extends MlxWorkerError {
  override readonly name: string = "TokenizerError";
}

/** A schema or grammar could not be compiled. */
export class GuidanceError extends MlxWorkerError {
  override readonly name: string = "GuidanceError";
}

/** The model of a call is not loaded in the worker; after a crash every model has to be loaded again. */
export class ModelNotLoadedError extends MlxWorkerError {
  override readonly name: string = "ModelNotLoadedError";
}

/** The worker's queue is full. */
export class QueueFullError extends MlxWorkerError {
  override readonly name: string = "QueueFullError";
  /** Requests that the queue holds at most. */
  get limit(): number | undefined {
    return this.numberField("limit");
  }
  /** Requests that were waiting. */
  get queued(): number | undefined {
    return this.numberField("queued");
  }
  /** Milliseconds after which a retry is reasonable. */
  get retryAfterMs(): number | undefined {
    return this.numberField("retry_after_ms");
  }
}

/** The worker cancelled the work: on request of another caller (kind "Cancelled") or because it is stopping ("ShuttingDown"). */
export class CancelledError extends MlxWorkerError {
  override readonly name: string = "CancelledError";
}

/** The prompt does not fit the model's context. */
export class ContextLengthExceededError extends MlxWorkerError {
  override readonly name: string = "ContextLengthExceededError";
  /** Tokens that fit. */
  get limit(): number | undefined {
    return this.numberField("limit");
  }
  /** Tokens of the prompt. */
  get promptTokens(): number | undefined {
    return this.numberField("prompt_tokens");
  }
}

/** A generation, or a load whose matrices have to become dense, was refused because its memory is not available. */
export class InsufficientMemoryError extends MlxWorkerError {
  override readonly name: string = "InsufficientMemoryError";
  /** Bytes that the request, or the load, may come to need. */
  get requiredBytes(): number | undefined {
    return this.numberField("required_bytes");
  }
  /** Bytes that are left for it. */
  get availableBytes(): number | undefined {
    return this.numberField("available_bytes");
  }
}

/** A known option, method or model feature that this worker cannot do. */
export class UnsupportedError extends MlxWorkerError {
  override readonly name: string = "UnsupportedError";
  /** Name of what is not supported. */
  get what(): string | undefined {
    return this.stringField("what");
  }
}

/** The model is in use, for example when it is unloaded without `force`. */
export class BusyError extends MlxWorkerError {
  override readonly name: string = "BusyError";
}

/** A parameter is unknown, missing, of the wrong type or out of range. */
export class InvalidParamsError extends MlxWorkerError {
  override readonly name: string = "InvalidParamsError";
  /** Name of the parameter. */
  get param(): string | undefined {
    return this.stringField("param");
  }
}

/** A message is larger than the frame limit; nothing of it was sent. */
export class FrameTooLargeError extends MlxWorkerError {
  override readonly name: string = "FrameTooLargeError";
  /** Largest frame body, in bytes. */
  get limit(): number | undefined {
    return this.numberField("limit");
  }
}

/** No worker executable was found; {@link WorkerNotFoundError.tried} has every place that was looked at. */
export class WorkerNotFoundError extends MlxWorkerError {
  override readonly name: string = "WorkerNotFoundError";
  /** Every place that was looked at, in order, with what was wrong there. */
  readonly tried: readonly string[];

  constructor(message: string, tried: readonly string[]) {
    super(message, { kind: "WorkerNotFound", data: { tried } });
    this.tried = tried;
  }
}

/** How a worker process ended. */
export interface WorkerExit {
  /** Exit code; null when a signal ended the process, it never started, or its end was not seen. */
  readonly exitCode: number | null;
  /** Signal that ended the process, or null. */
  readonly signal: string | null;
  /** The last 8 KiB or so of the worker's stderr. */
  readonly stderrTail: string;
}

/** How the process ended, as far as it is known, and what it said last. */
function describeExit(exit: WorkerExit): string {
  const parts: string[] = [];
  if (exit.signal !== null) parts.push(` (ended by ${exit.signal})`);
  else if (exit.exitCode !== null) parts.push(` (exit code ${exit.exitCode})`);
  const tail = exit.stderrTail.trim();
  if (tail !== "") parts.push(`; its last output on stderr:\n${tail}`);
  return parts.join("");
}

/** The worker could not be started, ended before it was ready, or was not ready in time. */
export class WorkerStartError extends MlxWorkerError implements WorkerExit {
  override readonly name: string = "WorkerStartError";
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;

  constructor(reason: string, exit: WorkerExit, cause?: unknown) {
    super(`mlx-worker did not start: ${reason}${describeExit(exit)}`, { kind: "WorkerStartFailed", cause });
    this.exitCode = exit.exitCode;
    this.signal = exit.signal;
    this.stderrTail = exit.stderrTail;
  }
}

/**
 * The worker ended while calls were pending. The next call starts a new worker, in which models have to
 * be loaded again; nothing is repeated by itself.
 */
export class WorkerCrashedError extends MlxWorkerError implements WorkerExit {
  override readonly name: string = "WorkerCrashedError";
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;

  constructor(exit: WorkerExit) {
    super(`mlx-worker ended unexpectedly${describeExit(exit)}`, { kind: "WorkerCrashed" });
    this.exitCode = exit.exitCode;
    this.signal = exit.signal;
    this.stderrTail = exit.stderrTail;
  }
}

/**
 * The worker ended unexpectedly too often: for a while no new one is started, so that a broken setup does not keep a
 * machine busy. `cause` is how the last one ended.
 */
export class WorkerCrashLoopError extends MlxWorkerError {
  override readonly name: string = "WorkerCrashLoopError";
  /** Workers that ended unexpectedly within the window. */
  readonly crashes: number;
  /** Milliseconds after which a call starts a worker again. */
  readonly retryAfterMs: number;

  constructor(crashes: number, windowMs: number, retryAfterMs: number, cause: MlxWorkerError) {
    super(
      `mlx-worker ended unexpectedly ${crashes} times in ${windowMs / 1000} s; the next one may start in ${Math.ceil(retryAfterMs / 1000)} s. The last one: ${cause.message}`,
      { kind: "WorkerCrashLoop", data: { crashes, windowMs, retryAfterMs }, cause },
    );
    this.crashes = crashes;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The peer does not speak this protocol: another version, or something that is no frame on its stdout. */
export class ProtocolError extends MlxWorkerError {
  override readonly name: string = "ProtocolError";

  constructor(
    message: string,
    options: { readonly data?: Record<string, unknown>; readonly cause?: unknown } = {},
  ) {
    super(message, { kind: "ProtocolError", ...options });
  }
}

/** The engine was closed before or during the call. */
export class EngineClosedError extends MlxWorkerError {
  override readonly name: string = "EngineClosedError";

  constructor() {
    super("the engine is closed", { kind: "EngineClosed" });
  }
}
