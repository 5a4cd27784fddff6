import type { WireChunk, WireEvent, WireStats } from "./wire.js";
import { invalidParam } from "./wire-errors.js";

/** Receives one stream's notifications, in the worker's order. */
export interface StreamSink {
  readonly streamId: string;
  onChunk(chunk: WireChunk): void;
  onStats(stats: WireStats): void;
  /** The last notification. */
  onEvent(event: WireEvent): void;
  /** The stream cannot go on, and nothing follows. */
  onFailure(error: unknown): void;
}

/** What is held while somebody listens to a stream. */
export interface Holder {
  hold(): void;
  release(): void;
}

interface Entry {
  /** Undefined once the stream was abandoned: late notifications are dropped until its event arrives. */
  sink: StreamSink | undefined;
  /** The request that started it, alone or with others. */
  readonly requestId: number;
}

/** The active streams of a connection, by stream id. */
export class StreamTable {
  readonly #entries = new Map<string, Entry>();
  readonly #holder: Holder;

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  has(streamId: string): boolean {
    return this.#entries.has(streamId);
  }

  /** The request that started an active stream. */
  requestOf(streamId: string): number | undefined {
    return this.#entries.get(streamId)?.requestId;
  }

  /** @throws InvalidParamsError when a stream of one of these ids is active already */
  requireFree(sinks: readonly StreamSink[]): void {
    const ids = new Set<string>();
    for (const { streamId } of sinks) {
      if (this.has(streamId) || ids.has(streamId)) {
        throw invalidParam("streamId", `streamId: a stream ${JSON.stringify(streamId)} is active already`);
      }
      ids.add(streamId);
    }
  }

  /** Adds streams that a request starts. */
  add(sinks: readonly StreamSink[], requestId: number): void {
    for (const sink of sinks) {
      this.#holder.hold();
      this.#entries.set(sink.streamId, { sink, requestId });
    }
  }

  /** Forgets a stream and returns its sink if somebody still listens. */
  take(streamId: string): StreamSink | undefined {
    const entry = this.#entries.get(streamId);
    if (entry === undefined) return undefined;
    this.#entries.delete(streamId);
    if (entry.sink !== undefined) this.#holder.release();
    return entry.sink;
  }

  /** Stops listening to a stream; returns the request that started it, or undefined if nobody listened. */
  abandon(streamId: string): number | undefined {
    const entry = this.#entries.get(streamId);
    if (entry?.sink === undefined) return undefined;
    entry.sink = undefined;
    this.#holder.release();
    return entry.requestId;
  }

  /** Ids of the abandoned streams. */
  abandoned(): string[] {
    return [...this.#entries].filter(([, entry]) => entry.sink === undefined).map(([id]) => id);
  }

  /** Forgets the streams of a request if all of them are abandoned; whether they were. */
  forgetAbandoned(requestId: number): boolean {
    const entries = [...this.#entries].filter(([, entry]) => entry.requestId === requestId);
    if (entries.some(([, entry]) => entry.sink !== undefined)) return false;
    for (const [id] of entries) this.#entries.delete(id);
    return true;
  }

  /** Ends every stream with an error. */
  failAll(error: unknown): void {
    for (const id of [...this.#entries.keys()]) this.take(id)?.onFailure(error);
  }

  onChunks(chunks: readonly WireChunk[]): void {
    for (const chunk of chunks) this.#entries.get(chunk.stream_id)?.sink?.onChunk(chunk);
  }

  onStats(stats: WireStats): void {
    this.#entries.get(stats.stream_id)?.sink?.onStats(stats);
  }

  onEvent(event: WireEvent): void {
    this.take(event.stream_id)?.onEvent(event);
  }
}
