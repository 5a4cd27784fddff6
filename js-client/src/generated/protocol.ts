/** JSON-RPC error code of every error kind that the worker sends. */
export const ERROR_CODES = {
  ParseError: -32700,
  InvalidRequest: -32600,
  FrameTooLarge: -32600,
  MethodNotFound: -32601,
  InvalidParams: -32602,
  InternalError: -32603,
  ModelLoadError: -32001,
  GenerationError: -32002,
  TokenizerError: -32003,
  GuidanceError: -32004,
  ModelNotLoaded: -32005,
  QueueFull: -32006,
  Cancelled: -32007,
  ShuttingDown: -32007,
  ContextLengthExceeded: -32008,
  InsufficientMemory: -32009,
  Unsupported: -32010,
  Busy: -32011,
  RuntimeError: -32099,
} as const;

/** Class of a failure reported by the worker, as in `error.data.kind` on the wire. */
export type ErrorKind = keyof typeof ERROR_CODES;
