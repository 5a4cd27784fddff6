import { describe, expect, test } from "vitest";
import { ChunkLog, LOG_START, MOST_SEPARATE_CHUNKS, type ReadPosition } from "../../src/chunk-log.js";
import type { GenerateChunk } from "../../src/index.js";

const chunkOf = (n: number): GenerateChunk => ({
  index: n,
  text: `t${n} `,
  tokenIds: [2 * n, 2 * n + 1],
  logprobs: [
    { tokenId: 2 * n, logprob: -n },
    { tokenId: 2 * n + 1, logprob: -n },
  ],
});

function logOf(chunks: number): ChunkLog {
  const log = new ChunkLog();
  for (let n = 0; n < chunks; n++) log.add(chunkOf(n));
  return log;
}

/** Everything from a position on, and where that ends. */
function readAll(
  log: ChunkLog,
  from: ReadPosition = LOG_START,
): { chunks: GenerateChunk[]; end: ReadPosition } {
  const chunks: GenerateChunk[] = [];
  let end = from;
  for (let found = log.read(end); found !== undefined; found = log.read(end)) {
    chunks.push(found.chunk);
    end = found.next;
  }
  return { chunks, end };
}

const joined = (chunks: readonly GenerateChunk[]) => ({
  text: chunks.map((chunk) => chunk.text).join(""),
  tokenIds: chunks.flatMap((chunk) => chunk.tokenIds),
  logprobs: chunks.flatMap((chunk) => chunk.logprobs ?? []),
});

describe("ChunkLog", () => {
  test("a reader that keeps up gets every chunk as it came", () => {
    const log = new ChunkLog();
    let position = LOG_START;
    for (let n = 0; n < 3 * MOST_SEPARATE_CHUNKS; n++) {
      log.add(chunkOf(n));
      const found = log.read(position);
      expect(found?.chunk).toEqual(chunkOf(n));
      position = found?.next ?? LOG_START;
      expect(log.read(position)).toBeUndefined();
    }
  });

  test("chunks are kept apart up to the limit", () => {
    const log = logOf(MOST_SEPARATE_CHUNKS);
    expect(readAll(log).chunks).toHaveLength(MOST_SEPARATE_CHUNKS);
  });

  test("what nobody reads is joined, without loss and within the limit", () => {
    const log = logOf(10_000);
    expect(log.separate).toBe(MOST_SEPARATE_CHUNKS);
    const { chunks } = readAll(log);
    expect(chunks).toHaveLength(MOST_SEPARATE_CHUNKS + 1);
    expect(chunks.map(({ index }) => index)).toEqual(chunks.map((_, i) => i));
    const all = Array.from({ length: 10_000 }, (_, n) => chunkOf(n));
    expect(joined(chunks)).toEqual(joined(all));
    expect(log.output()).toEqual(joined(all));
  });

  test("a reader that falls behind now and then gets each token once", () => {
    const log = new ChunkLog();
    const read: GenerateChunk[] = [];
    let position = LOG_START;
    for (let n = 0; n < 500; n++) {
      log.add(chunkOf(n));
      // Pauses of all lengths from none to more than the limit.
      if (n % 97 < 50) continue;
      const found = log.read(position);
      if (found === undefined) continue;
      read.push(found.chunk);
      position = found.next;
    }
    read.push(...readAll(log, position).chunks);
    expect(joined(read)).toEqual(joined(Array.from({ length: 500 }, (_, n) => chunkOf(n))));
    expect(read.length).toBeLessThan(500);
  });

  test("chunks without log probabilities have none, joined or apart", () => {
    const log = new ChunkLog();
    for (let n = 0; n < 2 * MOST_SEPARATE_CHUNKS; n++) log.add({ text: "a", tokenIds: [n] });
    for (const chunk of readAll(log).chunks) expect(chunk).not.toHaveProperty("logprobs");
    expect(log.output()).not.toHaveProperty("logprobs");
  });

  test("nothing is left after clear, for readers at any position", () => {
    const log = logOf(100);
    const { end } = readAll(log);
    log.clear();
    expect(log.read(LOG_START)).toBeUndefined();
    expect(log.read(end)).toBeUndefined();
    expect(log.output().tokenIds).toEqual([]);
  });
});
