import { onAbort } from "./abort.js";
import {
  EngineClosedError,
  type MlxWorkerError,
  ProtocolError,
  WorkerCrashedError,
  type WorkerExit,
  WorkerStartError,
} from "./errors.js";
import { BodyDecoder, FrameEncoder, FrameReader } from "./framing.js";
import { debug, notify } from "./notices.js";
import { type StreamSink, StreamTable } from "./stream-table.js";
import {
  isWireError,
  isWireObject,
  PROTOCOL_VERSION,
  type WireChunk,
  type WireEvent,
  type WireObject,
  type WireStats,
} from "./wire.js";
import { errorFromWire } from "./wire-errors.js";
import { WorkerProcess } from "./worker-process.js";

/** Time between the steps of the ladder shutdown → end of stdin → SIGTERM → SIGKILL, in milliseconds. */
const STOP_GRACE_MS = 1000;

/** Receives `model.progress` notifications. */
export type ProgressListener = (params: WireObject) => void;

export interface ConnectionOptions {
  readonly command: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string | undefined;
  readonly maxFrameBytes: number;
  /** Time for the worker to become ready in milliseconds; 0: no limit. */
  readonly startTimeoutMs: number;
  readonly onStderr?: ((text: string) => void) | undefined;
  /** The connection is over; called before the pending calls reject, so that these may connect anew. */
  readonly onClose: () => void;
}

interface PendingCall {
  readonly method: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * JSON-RPC with one worker process, from its start to its end. Calls made before the worker is ready are
 * sent as soon as it is; when the worker ends, whatever is pending rejects.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #process: WorkerProcess;
  readonly #encoder: FrameEncoder;
  readonly #reader: FrameReader;
  readonly #decoder = new BodyDecoder();
  readonly #pending = new Map<number, PendingCall>();
  readonly #streams: StreamTable;
  readonly #progressListeners = new Set<ProgressListener>();
  /** Frames that wait for `worker/ready`, by request id; undefined once it has come. */
  #outbox: Map<number, Buffer> | undefined = new Map();
  #startTimer: NodeJS.Timeout | undefined;
  #nextId = 1;
  /** Why the connection ends, where that is more than the end of the process. */
  #failure: MlxWorkerError | undefined;
  /** What later calls reject with; set when the process is gone. */
  #closedWith: MlxWorkerError | undefined;
  #resolveClosed: () => void = () => {};
  /** Resolves when the process is gone and every pending call has been rejected. */
  readonly closed: Promise<void> = new Promise((resolve) => {
    this.#resolveClosed = resolve;
  });

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#encoder = new FrameEncoder(options.maxFrameBytes);
    this.#reader = new FrameReader(options.maxFrameBytes);
    this.#process = new WorkerProcess({
      command: options.command,
      env: options.env,
      cwd: options.cwd,
      onStdout: (chunk) => this.#onStdout(chunk),
      onStderr: options.onStderr && ((text) => notify(options.onStderr, text)),
      onClose: (exit, spawnError) => this.#onClose(exit, spawnError),
    });
    this.#streams = new StreamTable(this.#process);
    if (options.startTimeoutMs > 0) {
      this.#startTimer = setTimeout(() => this.#onStartTimeout(), options.startTimeoutMs);
      this.#startTimer.unref();
    }
  }

  /**
   * Sends a request and resolves with its result. An aborted call rejects at once with the signal's reason;
   * its request is not sent if it was still waiting for the worker, and its response is dropped otherwise.
   */
  request(method: string, params: WireObject, signal?: AbortSignal): Promise<unknown> {
    return this.#send(method, params, signal).result;
  }

  /** Starts a stream: registers its sink, then sends `generate` with the sink's stream id. */
  startStream(sink: StreamSink, params: WireObject): void {
    this.#openStreams("generate", params, [sink], () => {});
  }

  /**
   * Starts several streams by one `batch_generate` request. `onResult` gets its result, so that items that
   * were refused can be failed; an error of the whole request fails every sink.
   */
  startStreams(sinks: readonly StreamSink[], params: WireObject, onResult: (result: unknown) => void): void {
    this.#openStreams("batch_generate", params, sinks, onResult);
  }

  /** Asks the worker to cancel a stream, which then ends with its event. Does nothing for unknown ids. */
  cancelStream(streamId: string): void {
    if (!this.#streams.has(streamId)) return;
    this.request("cancel", { stream_id: streamId }).catch((error: unknown) => {
      debug("cancel of stream %s failed: %o", streamId, error);
    });
  }

  /** Cancels a stream that nobody listens to any more; its late notifications are dropped. */
  abandonStream(streamId: string): void {
    const requestId = this.#streams.abandon(streamId);
    if (requestId === undefined) return;
    if (this.#outbox?.has(requestId) !== true) this.cancelStream(streamId);
    // The request has not been sent: take it back, unless it is a batch that others wait for.
    else if (this.#streams.forgetAbandoned(requestId)) this.#pending.get(requestId)?.resolve(undefined);
  }

  /** Fails one stream of a batch that the worker refused. */
  refuseStream(streamId: string, error: unknown): void {
    this.#streams.take(streamId)?.onFailure(error);
  }

  addProgressListener(listener: ProgressListener): void {
    this.#progressListeners.add(listener);
  }

  removeProgressListener(listener: ProgressListener): void {
    this.#progressListeners.delete(listener);
  }

  /**
   * Ends the worker: asks it to finish what is running within `drainMs`, then ever less politely. Resolves
   * when the process is gone.
   */
  async shutdown(drainMs: number): Promise<void> {
    if (this.#closedWith !== undefined) return this.closed;
    this.#failure ??= new EngineClosedError();
    this.#process.hold();
    try {
      if (this.#outbox !== undefined) {
        this.#process.kill("SIGKILL");
        return await this.closed;
      }
      // Its input stays open until it has answered, which it does last: the end of stdin would cancel what
      // is to be drained.
      const answered = this.request("shutdown", { drain_ms: drainMs }).then(ignore, ignore);
      await within(drainMs + STOP_GRACE_MS, this.closed, answered);
      this.#process.endInput();
      if (await within(STOP_GRACE_MS, this.closed)) return;
      this.#process.kill("SIGTERM");
      if (await within(STOP_GRACE_MS, this.closed)) return;
      this.#process.kill("SIGKILL");
      await this.closed;
    } finally {
      this.#process.release();
    }
  }

  #send(method: string, params: WireObject, signal?: AbortSignal): { id: number; result: Promise<unknown> } {
    const id = this.#nextId++;
    const result = new Promise<unknown>((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      if (this.#closedWith !== undefined) throw this.#closedWith;
      const frame = this.#encoder.encode({ jsonrpc: "2.0", id, method, params });

      let stopListening = (): void => {};
      const settle = (done: () => void): void => {
        stopListening();
        this.#pending.delete(id);
        this.#outbox?.delete(id);
        this.#process.release();
        done();
      };
      if (signal !== undefined) stopListening = onAbort(signal, () => settle(() => reject(signal.reason)));
      this.#process.hold();
      this.#pending.set(id, {
        method,
        resolve: (value) => settle(() => resolve(value)),
        reject: (error) => settle(() => reject(error)),
      });
      if (this.#outbox === undefined) this.#process.write(frame);
      else this.#outbox.set(id, frame);
    });
    return { id, result };
  }

  #openStreams(
    method: string,
    params: WireObject,
    sinks: readonly StreamSink[],
    onResult: (result: unknown) => void,
  ): void {
    this.#streams.requireFree(sinks);
    const { id, result } = this.#send(method, params);
    this.#streams.add(sinks, id);
    result.then(onResult).catch((error: unknown) => {
      for (const { streamId } of sinks) this.refuseStream(streamId, error);
    });
  }

  #onStdout(chunk: Buffer): void {
    if (this.#failure instanceof ProtocolError) return;
    try {
      this.#reader.push(chunk, (body) => this.#onMessage(this.#decoder.decode(body)));
    } catch (error) {
      // Whatever is wrong with a message, the answers behind it cannot be relied on.
      this.#fail(
        error instanceof ProtocolError
          ? error
          : new ProtocolError("the worker sent a message of an unknown shape", { cause: error }),
      );
    }
  }

  #onMessage(message: WireObject): void {
    const { id, method, params, error } = message;
    if (this.#outbox !== undefined) this.#onFirstMessage(method, params);
    else if (typeof method === "string") this.#onNotification(method, params);
    else if (typeof id === "number") this.#onResponse(id, message);
    else {
      // An error without an id says that the worker could not read what this client sent.
      const problem = isWireError(error)
        ? `could not read a frame: ${error.message}`
        : "sent an unknown message";
      throw new ProtocolError(`the worker ${problem}`);
    }
  }

  #onFirstMessage(method: unknown, params: unknown): void {
    if (method !== "worker/ready" || !isWireObject(params)) {
      throw new ProtocolError("the worker's first message is not worker/ready: this is not an mlx-worker");
    }
    if (params.protocol !== PROTOCOL_VERSION) {
      throw new ProtocolError(
        `the worker (version ${String(params.version)}) speaks protocol ${String(params.protocol)}, this client speaks ${PROTOCOL_VERSION}: install matching versions`,
        { data: { worker: params.protocol, client: PROTOCOL_VERSION } },
      );
    }
    clearTimeout(this.#startTimer);
    const waiting = this.#outbox ?? [];
    this.#outbox = undefined;
    for (const [, frame] of waiting) this.#process.write(frame);
    for (const streamId of this.#streams.abandoned()) this.cancelStream(streamId);
  }

  #onNotification(method: string, params: unknown): void {
    switch (method) {
      case "stream.chunk":
        this.#streams.onChunks((params as { chunks: WireChunk[] }).chunks);
        return;
      case "stream.stats":
        this.#streams.onStats(params as WireStats);
        return;
      case "stream.event":
        this.#streams.onEvent(params as WireEvent);
        return;
      case "model.progress":
        for (const listener of this.#progressListeners) notify(listener, params as WireObject);
        return;
      default:
        debug("notification %s is not known to this client", method);
    }
  }

  #onResponse(id: number, message: WireObject): void {
    const call = this.#pending.get(id);
    if (call === undefined) {
      debug("response to request %d, which is not pending (an aborted call)", id);
      return;
    }
    const error = message.error;
    if (error === undefined || error === null) call.resolve(message.result);
    else if (isWireError(error)) call.reject(errorFromWire(error));
    else throw new ProtocolError(`the worker answered ${call.method} with an error of an unknown shape`);
  }

  #onStartTimeout(): void {
    const { startTimeoutMs } = this.#options;
    this.#fail(
      new WorkerStartError(`not ready within ${startTimeoutMs} ms (startTimeoutMs)`, {
        exitCode: null,
        signal: null,
        stderrTail: this.#process.stderrTail,
      }),
    );
  }

  /** Ends the process; what is pending rejects with `error` when it is gone. */
  #fail(error: MlxWorkerError): void {
    this.#failure ??= error;
    this.#process.kill("SIGKILL");
  }

  #onClose(exit: WorkerExit, spawnError: Error | undefined): void {
    clearTimeout(this.#startTimer);
    const starting = this.#outbox !== undefined;
    const error = this.#failure ?? (starting ? startError(exit, spawnError) : new WorkerCrashedError(exit));
    this.#closedWith = error;
    this.#options.onClose();
    for (const call of [...this.#pending.values()]) call.reject(error);
    this.#streams.failAll(error);
    this.#resolveClosed();
  }
}

function startError(exit: WorkerExit, spawnError: Error | undefined): WorkerStartError {
  return spawnError === undefined
    ? new WorkerStartError("the process ended before it was ready", exit)
    : new WorkerStartError(spawnError.message, exit, spawnError);
}

function ignore(): void {}

/** Waits for the first of the promises, at most `ms`; whether one of them came in time. */
async function within(ms: number, ...promises: readonly Promise<void>[]): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([...promises.map((promise) => promise.then(() => true)), late]);
  } finally {
    clearTimeout(timer);
  }
}
