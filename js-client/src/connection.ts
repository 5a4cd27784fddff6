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
  /** The worker is ready; gets the parameters of `worker/ready`. */
  readonly onReady?: ((info: WireObject) => void) | undefined;
  /**
   * The connection is over, for this reason; called before the pending calls reject, so that these may connect anew.
   */
  readonly onClose: (reason: MlxWorkerError) => void;
}

/** How a request is sent. */
export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Something that has to come first, on this connection: the request waits for it, and rejects if it does. */
  readonly after?: Promise<unknown> | undefined;
}

/** A request that waits for the worker to be ready or, if there is such, for `after`. */
interface Unsent {
  readonly frame: Buffer;
  readonly after: Promise<unknown> | undefined;
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
  /** Requests that were not sent yet, by their id. */
  readonly #unsent = new Map<number, Unsent>();
  /** Parameters of `worker/ready`; undefined until it comes. */
  #ready: WireObject | undefined;
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

  /** Parameters of `worker/ready`; undefined while the worker starts. */
  get ready(): WireObject | undefined {
    return this.#ready;
  }

  /**
   * Sends a request and resolves with its result. An aborted call rejects at once with the signal's reason;
   * its request is not sent if it was still waiting for the worker, and its response is dropped otherwise.
   */
  request(method: string, params: WireObject, options: RequestOptions = {}): Promise<unknown> {
    return this.#send(method, params, options).result;
  }

  /** Starts a stream: registers its sink, then sends `generate` with the sink's stream id. */
  startStream(sink: StreamSink, params: WireObject, after?: Promise<unknown>): void {
    this.#openStreams("generate", params, [sink], after, () => {});
  }

  /**
   * Starts several streams by one `batch_generate` request. `onResult` gets its result, so that items that
   * were refused can be failed; an error of the whole request fails every sink.
   */
  startStreams(
    sinks: readonly StreamSink[],
    params: WireObject,
    after: Promise<unknown> | undefined,
    onResult: (result: unknown) => void,
  ): void {
    this.#openStreams("batch_generate", params, sinks, after, onResult);
  }

  /** Asks the worker to cancel a stream, which then ends with its event. Does nothing for unknown ids. */
  cancelStream(streamId: string): void {
    const requestId = this.#streams.requestOf(streamId);
    if (requestId === undefined) return;
    // Behind the request that starts the stream, whatever that waits for.
    const after = this.#unsent.get(requestId)?.after;
    this.request("cancel", { stream_id: streamId }, { after }).catch((error: unknown) => {
      debug("cancel of stream %s failed: %o", streamId, error);
    });
  }

  /** Cancels a stream that nobody listens to any more; its late notifications are dropped. */
  abandonStream(streamId: string): void {
    const requestId = this.#streams.abandon(streamId);
    if (requestId === undefined) return;
    if (!this.#unsent.has(requestId)) this.cancelStream(streamId);
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
      if (this.#ready === undefined) {
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

  #send(
    method: string,
    params: WireObject,
    { signal, after }: RequestOptions,
  ): { id: number; result: Promise<unknown> } {
    const id = this.#nextId++;
    const result = new Promise<unknown>((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      if (this.#closedWith !== undefined) throw this.#closedWith;
      const frame = this.#encoder.encode({ jsonrpc: "2.0", id, method, params });

      let stopListening = (): void => {};
      const settle = (done: () => void): void => {
        stopListening();
        this.#pending.delete(id);
        this.#unsent.delete(id);
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
      if (this.#ready !== undefined && after === undefined) {
        this.#process.write(frame);
        return;
      }
      this.#unsent.set(id, { frame, after });
      after?.then(
        () => this.#sendNow(id),
        (error: unknown) => this.#pending.get(id)?.reject(error),
      );
    });
    return { id, result };
  }

  #sendNow(id: number): void {
    const unsent = this.#unsent.get(id);
    if (unsent === undefined) return;
    this.#unsent.delete(id);
    this.#process.write(unsent.frame);
  }

  #openStreams(
    method: string,
    params: WireObject,
    sinks: readonly StreamSink[],
    after: Promise<unknown> | undefined,
    onResult: (result: unknown) => void,
  ): void {
    this.#streams.requireFree(sinks);
    const { id, result } = this.#send(method, params, { after });
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
    if (this.#ready === undefined) this.#onFirstMessage(method, params);
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
    this.#ready = params;
    for (const [id, { after }] of [...this.#unsent]) if (after === undefined) this.#sendNow(id);
    for (const streamId of this.#streams.abandoned()) this.cancelStream(streamId);
    this.#options.onReady?.(params);
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
    const error =
      this.#failure ??
      (this.#ready === undefined ? startError(exit, spawnError) : new WorkerCrashedError(exit));
    this.#closedWith = error;
    this.#options.onClose(error);
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
