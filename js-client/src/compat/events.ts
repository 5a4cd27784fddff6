import type { EngineError, GenerationStats, ModelHandle } from "./types.js";

/** Times are in milliseconds since the epoch. */
export interface ModelLoadedEvent {
  modelId: string;
  handle: ModelHandle;
  timestamp: number;
}

export interface ModelUnloadedEvent {
  modelId: string;
  timestamp: number;
}

/** The worker that held the model is gone: it has to be loaded again. */
export interface ModelInvalidatedEvent {
  modelId: string;
  reason: "python_restart" | "unload" | "error";
  timestamp: number;
}

export interface GenerationStartedEvent {
  streamId: string;
  modelId: string;
  /** Empty for a prompt of token ids. */
  prompt: string;
  timestamp: number;
}

export interface TokenGeneratedEvent {
  streamId: string;
  token: string;
  logprob?: number;
  timestamp: number;
}

export interface GenerationCompletedEvent {
  streamId: string;
  stats: GenerationStats;
  timestamp: number;
}

/** A call failed; it also rejects. */
export interface ErrorEvent {
  error: EngineError;
  /** Name of the method. */
  context?: string;
  timestamp: number;
}

export interface RuntimeStatusEvent {
  status: "starting" | "ready" | "error" | "stopped";
  previousStatus?: string;
  timestamp: number;
}

/** Listeners by the name of their event. */
export interface EngineEvents {
  "model:loaded": (event: ModelLoadedEvent) => void;
  "model:unloaded": (event: ModelUnloadedEvent) => void;
  "model:invalidated": (event: ModelInvalidatedEvent) => void;
  "generation:started": (event: GenerationStartedEvent) => void;
  "generation:token": (event: TokenGeneratedEvent) => void;
  "generation:completed": (event: GenerationCompletedEvent) => void;
  error: (event: ErrorEvent) => void;
  "runtime:status": (event: RuntimeStatusEvent) => void;
}

export type EngineEventName = keyof EngineEvents;

export type EngineEventHandler<Name extends EngineEventName> = EngineEvents[Name];

/** The same events as Node's `EventEmitter` wants them: arguments by name. */
export type EngineEventMap = { [Name in EngineEventName]: Parameters<EngineEvents[Name]> };
