import type { EngineError, GenerationStats, ModelHandle } from "./types.js";

/** Payload of `model:loaded`. The `timestamp` of all events is in milliseconds since the epoch. */
export interface ModelLoadedEvent {
  modelId: string;
  handle: ModelHandle;
  timestamp: number;
}

/** Payload of `model:unloaded`: a call unloaded the model. */
export interface ModelUnloadedEvent {
  modelId: string;
  timestamp: number;
}

/** Payload of `model:invalidated`: the worker that held the model is gone. Without `autoReload` it has to be loaded again. */
export interface ModelInvalidatedEvent {
  modelId: string;
  reason: "python_restart" | "unload" | "error";
  timestamp: number;
}

/** Payload of `generation:started`: the first chunk was asked for. */
export interface GenerationStartedEvent {
  streamId: string;
  modelId: string;
  /** Empty for a prompt of token ids. */
  prompt: string;
  timestamp: number;
}

/** Payload of `generation:token`: a token was read from the generator. */
export interface TokenGeneratedEvent {
  streamId: string;
  token: string;
  /** Natural logarithm of the token's probability, with the parameter `logprobs`. */
  logprob?: number;
  timestamp: number;
}

/** Payload of `generation:completed`: the generation ended without an error. */
export interface GenerationCompletedEvent {
  streamId: string;
  stats: GenerationStats;
  timestamp: number;
}

/** Payload of `error`: a call failed, which also rejects. Nothing is thrown when nobody listens. */
export interface ErrorEvent {
  error: EngineError;
  /** Name of the method. */
  context?: string;
  timestamp: number;
}

/** Payload of `runtime:status`: the worker was started, is ready, or ended; "error" when nobody asked for its end. */
export interface RuntimeStatusEvent {
  status: "starting" | "ready" | "error" | "stopped";
  previousStatus?: string;
  timestamp: number;
}

/** Listeners by the name of their event. */
export interface EngineEvents {
  /** A model was loaded, or loaded again. */
  "model:loaded": (event: ModelLoadedEvent) => void;
  /** A call unloaded a model. */
  "model:unloaded": (event: ModelUnloadedEvent) => void;
  /** The worker that held the model is gone. */
  "model:invalidated": (event: ModelInvalidatedEvent) => void;
  /** The first chunk of a generation was asked for. */
  "generation:started": (event: GenerationStartedEvent) => void;
  /** A token was read from a generator. */
  "generation:token": (event: TokenGeneratedEvent) => void;
  /** A generation ended without an error. */
  "generation:completed": (event: GenerationCompletedEvent) => void;
  /** A call failed. */
  error: (event: ErrorEvent) => void;
  /** The worker was started, is ready, or ended. */
  "runtime:status": (event: RuntimeStatusEvent) => void;
}

/** Name of an event. */
export type EngineEventName = keyof EngineEvents;

/** Listener of an event. */
export type EngineEventHandler<Name extends EngineEventName> = EngineEvents[Name];

/** The same events as Node's `EventEmitter` wants them: arguments by name. */
export type EngineEventMap = { [Name in EngineEventName]: Parameters<EngineEvents[Name]> };
