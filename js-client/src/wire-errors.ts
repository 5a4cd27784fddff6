import {
  BusyError,
  CancelledError,
  ContextLengthExceededError,
  FrameTooLargeError,
  GenerationError,
  GuidanceError,
  InsufficientMemoryError,
  InvalidParamsError,
  MlxWorkerError,
  type MlxWorkerErrorOptions,
  ModelLoadError,
  ModelNotLoadedError,
  QueueFullError,
  TokenizerError,
  UnsupportedError,
} from "./errors.js";
import { ERROR_CODES, type ErrorKind } from "./generated/protocol.js";
import type { WireError } from "./wire.js";

type ErrorClass = new (message: string, options: MlxWorkerErrorOptions) => MlxWorkerError;

/** Kinds with a class of their own; the others are plain {@link MlxWorkerError}. */
const CLASSES: Readonly<Partial<Record<ErrorKind, ErrorClass>>> = {
  InvalidParams: InvalidParamsError,
  FrameTooLarge: FrameTooLargeError,
  ModelLoadError: ModelLoadError,
  GenerationError: GenerationError,
  TokenizerError: TokenizerError,
  GuidanceError: GuidanceError,
  ModelNotLoaded: ModelNotLoadedError,
  QueueFull: QueueFullError,
  Cancelled: CancelledError,
  ShuttingDown: CancelledError,
  ContextLengthExceeded: ContextLengthExceededError,
  InsufficientMemory: InsufficientMemoryError,
  Unsupported: UnsupportedError,
  Busy: BusyError,
};

function isErrorKind(kind: unknown): kind is ErrorKind {
  return typeof kind === "string" && Object.hasOwn(ERROR_CODES, kind);
}

/** The kind that a code stands for, for errors without a (known) `data.kind`. */
function kindOfCode(code: number): ErrorKind {
  for (const [kind, kindCode] of Object.entries(ERROR_CODES)) {
    if (kindCode === code && isErrorKind(kind)) return kind;
  }
  return "RuntimeError";
}

/** The typed error of a wire error; kinds that this client does not know become their code's kind. */
export function errorFromWire(error: WireError): MlxWorkerError {
  const data = error.data ?? {};
  const kind = isErrorKind(data.kind) ? data.kind : kindOfCode(error.code);
  const Class = CLASSES[kind] ?? MlxWorkerError;
  return new Class(error.message, { kind, code: error.code, data });
}

/** An {@link InvalidParamsError} for a parameter that is refused before anything is sent. */
export function invalidParam(param: string, message: string, accepted?: string): InvalidParamsError {
  const data = accepted === undefined ? { param } : { param, accepted };
  return new InvalidParamsError(accepted === undefined ? message : `${message}; accepted: ${accepted}`, {
    kind: "InvalidParams",
    data,
  });
}
