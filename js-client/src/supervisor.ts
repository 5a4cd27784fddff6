import { Connection } from "./connection.js";
import { CrashBreaker } from "./crash-breaker.js";
import { EngineClosedError, type MlxWorkerError, WorkerCrashedError } from "./errors.js";
import type { EventHub } from "./event-hub.js";
import { KeptModels } from "./kept-models.js";
import { resolveWorker } from "./resolve-worker.js";
import type { WorkerStatus, WorkerStatusEvent } from "./types/events.js";

const DEFAULT_MAX_CRASHES = 3;

export interface SupervisorOptions {
  readonly workerPath: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string | undefined;
  readonly maxFrameBytes: number;
  /** Milliseconds; 0: no limit. */
  readonly startTimeoutMs: number;
  readonly autoReload: boolean | undefined;
  readonly maxCrashes: number | undefined;
  readonly onStderr: ((text: string) => void) | undefined;
  readonly hub: EventHub;
}

/** Sees to it that an engine has at most one worker process, started when it is needed. */
export class WorkerSupervisor {
  readonly models: KeptModels;
  readonly #options: SupervisorOptions;
  readonly #breaker: CrashBreaker;
  #connection: Connection | undefined;
  #startedAt = 0;
  #starts = 0;
  #status: WorkerStatus = "stopped";
  #closed: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#breaker = new CrashBreaker(options.maxCrashes ?? DEFAULT_MAX_CRASHES);
    this.models = new KeptModels(options.hub, options.autoReload === true);
  }

  /** The connection to the current worker, if there is one. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Workers that were started after the first one. */
  get restartCount(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** Milliseconds since the current worker was started; 0 without one. */
  get uptimeMs(): number {
    return this.#connection === undefined ? 0 : performance.now() - this.#startedAt;
  }

  /** Why no worker can be started now. */
  get refusal(): MlxWorkerError | undefined {
    return this.closed ? new EngineClosedError() : this.#breaker.refusal;
  }

  /** The connection to the worker, which the first call after a start or a crash spawns. */
  connect(signal: AbortSignal | undefined): Connection {
    if (signal?.aborted) throw signal.reason;
    if (this.#connection !== undefined && !this.closed) return this.#connection;
    const { refusal } = this;
    if (refusal !== undefined) throw refusal;

    const { workerPath, env, cwd, maxFrameBytes, startTimeoutMs, onStderr } = this.#options;
    const connection = new Connection({
      command: resolveWorker({ workerPath, env }),
      env,
      cwd,
      maxFrameBytes,
      startTimeoutMs,
      onStderr,
      onReady: ({ pid }) => this.#setStatus("ready", typeof pid === "number" ? { pid } : {}),
      onClose: (reason) => this.#onClose(connection, reason),
    });
    this.#connection = connection;
    this.#startedAt = performance.now();
    this.#starts += 1;
    this.#setStatus("starting");
    this.models.restore(connection);
    return connection;
  }

  /** Ends the worker for good; a second call returns the same promise. */
  close(drainMs: number): Promise<void> {
    this.#closed ??= this.#connection?.shutdown(drainMs) ?? Promise.resolve();
    return this.#closed;
  }

  #onClose(connection: Connection, reason: MlxWorkerError): void {
    if (this.#connection === connection) this.#connection = undefined;
    if (reason instanceof EngineClosedError) {
      this.#setStatus("stopped");
      return;
    }
    if (!wasAskedToEnd(reason)) this.#breaker.record(reason);
    this.#setStatus("failed", { error: reason });
    this.models.invalidate(reason);
  }

  #setStatus(status: WorkerStatus, details: Pick<WorkerStatusEvent, "pid" | "error"> = {}): void {
    const previousStatus = this.#status;
    this.#status = status;
    this.#options.hub.emit("worker:status", { status, previousStatus, ...details });
  }
}

/**
 * Whether somebody else ended the worker by SIGTERM, such as a service manager that signals a whole group: a worker that
 * was ready ends with exit code 0 when it is asked to, and never by a fault.
 */
function wasAskedToEnd(reason: MlxWorkerError): boolean {
  return reason instanceof WorkerCrashedError && reason.exitCode === 0;
}
