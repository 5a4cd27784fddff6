import { MlxWorkerError, type MlxWorkerErrorKind, UnsupportedError } from "../errors.js";
import type { EngineError } from "./types.js";

/** Every value of {@link EngineClientError.code}. */
export type EngineErrorCode =
  | "ParseError"
  | "InvalidRequest"
  | "MethodNotFound"
  | "InvalidParams"
  | "ValidationError"
  | "InternalError"
  | "ServerError"
  | "ModelLoadError"
  | "GenerationError"
  | "TokenizerError"
  | "GuidanceError"
  | "ModelNotLoaded"
  | "RuntimeError"
  | "TransportError"
  | "Timeout"
  | "Cancelled"
  | "UnknownError";

/** The code that stands for a kind of error; each kind that is new has the code of what it is closest to. */
const CODES: Readonly<Record<MlxWorkerErrorKind, EngineErrorCode>> = {
  ParseError: "ParseError",
  InvalidRequest: "InvalidRequest",
  FrameTooLarge: "InvalidRequest",
  MethodNotFound: "MethodNotFound",
  InvalidParams: "InvalidParams",
  ContextLengthExceeded: "InvalidParams",
  Unsupported: "InvalidParams",
  InternalError: "InternalError",
  ModelLoadError: "ModelLoadError",
  GenerationError: "GenerationError",
  TokenizerError: "TokenizerError",
  GuidanceError: "GuidanceError",
  ModelNotLoaded: "ModelNotLoaded",
  Cancelled: "Cancelled",
  ShuttingDown: "Cancelled",
  QueueFull: "RuntimeError",
  InsufficientMemory: "RuntimeError",
  Busy: "RuntimeError",
  RuntimeError: "RuntimeError",
  WorkerNotFound: "TransportError",
  WorkerStartFailed: "TransportError",
  WorkerCrashed: "TransportError",
  WorkerCrashLoop: "TransportError",
  ProtocolError: "TransportError",
  EngineClosed: "TransportError",
};

/** What every call of this entry rejects with. `cause` is mlx-worker's own error, `details.kind` its kind. */
export class EngineClientError extends Error implements EngineError {
  override name = "EngineError";
  readonly code: EngineErrorCode;
  readonly details?: Record<string, unknown>;

  constructor(code: EngineErrorCode, message: string, details?: Record<string, unknown>, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    if (details !== undefined) this.details = details;
  }

  /** The error as plain data. */
  toObject(): EngineError {
    const { code, message, details } = this;
    return details === undefined ? { code, message } : { code, message, details };
  }
}

/** A generation took longer than its `timeoutMs`. */
export class TimeoutError extends EngineClientError {
  override name = "TimeoutError";
  readonly method: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly requestId?: string;

  constructor(method: string, timeout: number, requestId: string) {
    super("Timeout", `Request timed out after ${timeout}ms: ${method} (id: ${requestId})`, {
      method,
      timeout,
      requestId,
    });
    this.method = method;
    this.timeout = timeout;
    this.requestId = requestId;
  }
}

/** The code that stands for a kind of error, known or not. */
export function codeOfKind(kind: string): EngineErrorCode {
  return (CODES as Readonly<Record<string, EngineErrorCode>>)[kind] ?? "UnknownError";
}

/** Any error as one of this entry; `signal` is that of the call. */
export function toEngineError(error: unknown, signal?: AbortSignal): EngineClientError {
  if (error instanceof EngineClientError) return error;
  if (error instanceof MlxWorkerError) {
    const details = { ...error.data, kind: error.kind };
    return new EngineClientError(codeOfKind(error.kind), error.message, details, error);
  }
  const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
  if (name === "TimeoutError") return new EngineClientError("Timeout", message, undefined, error);
  if (name === "AbortError" || signal?.aborted)
    return new EngineClientError("Cancelled", message || "Operation aborted by caller", undefined, error);
  return new EngineClientError("UnknownError", message, undefined, error);
}

/** The error for something that mlx-serving had, or announced, and the worker has not. */
export function unsupported(what: string): EngineClientError {
  return toEngineError(
    new UnsupportedError(`${what}: not offered by this worker`, { kind: "Unsupported", data: { what } }),
  );
}
