import type { GenerateChunk } from "./types/generate.js";

/**
 * A web stream over an iterator, which it pulls as it is read and returns when it is cancelled. The iterator's errors
 * are the stream's.
 */
export function readableOf<T>(iterator: AsyncIterator<T, undefined>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller): Promise<void> {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel(): Promise<void> {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The chunks' text in UTF-8, without those that have none. */
export function readableBytes(chunks: AsyncIterator<GenerateChunk, undefined>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return readableOf({
    next: async () => {
      for (;;) {
        const { done, value } = await chunks.next();
        if (done) return { done, value };
        if (value.text !== "") return { done: false, value: encoder.encode(value.text) };
      }
    },
    return: async () => {
      await chunks.return?.();
      return { done: true, value: undefined };
    },
  });
}
