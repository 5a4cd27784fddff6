import type { MlxWorkerError } from "../errors.js";
import type { ModelHandle } from "./engine.js";
import type { GenerateResult } from "./generate.js";

interface Timestamped {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
}

/** What the worker of an engine is: not there, started, ready, or gone for a reason that nobody asked for. */
export type WorkerStatus = "stopped" | "starting" | "ready" | "failed";

/** Payload of `worker:status`. */
export interface WorkerStatusEvent extends Timestamped {
  readonly status: WorkerStatus;
  readonly previousStatus: WorkerStatus;
  /** Process id, with "ready". */
  readonly pid?: number;
  /** How the worker ended, with "failed". */
  readonly error?: MlxWorkerError;
}

/** Payload of `model:loaded`. */
export interface ModelLoadedEvent extends Timestamped {
  readonly modelId: string;
  readonly model: ModelHandle;
  /** Whether the engine loaded it again after a restart of the worker (`autoReload`). */
  readonly reloaded: boolean;
}

/** Payload of `model:unloaded`. */
export interface ModelUnloadedEvent extends Timestamped {
  readonly modelId: string;
}

/** Payload of `model:invalidated`: the worker that held the model is gone. */
export interface ModelInvalidatedEvent extends Timestamped {
  readonly modelId: string;
  readonly error: MlxWorkerError;
}

/** Payload of `generation:started`: the request is on its way to the worker. */
export interface GenerationStartedEvent extends Timestamped {
  readonly streamId: string;
  readonly modelId: string;
}

/** Payload of `generation:ended`; exactly one of result and error is set. */
export interface GenerationEndedEvent extends Timestamped {
  readonly streamId: string;
  readonly modelId: string;
  readonly result?: GenerateResult;
  /** What the generation rejected with. */
  readonly error?: unknown;
}

/** Events of an engine and what their listeners get. */
export interface EngineEvents {
  /** The worker was started, is ready, or ended. */
  readonly "worker:status": WorkerStatusEvent;
  /** A model was loaded that was not, by a call or, after a crash, by the engine itself. */
  readonly "model:loaded": ModelLoadedEvent;
  /** A call unloaded a model. */
  readonly "model:unloaded": ModelUnloadedEvent;
  /** The worker that held the model ended unexpectedly; once for each of its models. */
  readonly "model:invalidated": ModelInvalidatedEvent;
  /** A generation was sent to the worker. */
  readonly "generation:started": GenerationStartedEvent;
  /** A generation that was announced by `generation:started` resolved or rejected. */
  readonly "generation:ended": GenerationEndedEvent;
}

/** Name of an event. */
export type EngineEventName = keyof EngineEvents;

/** Listener of an event. What it throws becomes a process warning. */
export type EngineListener<Name extends EngineEventName> = (event: EngineEvents[Name]) => void;
