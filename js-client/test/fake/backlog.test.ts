import { describe, expect, test } from "vitest";
import { MOST_SEPARATE_CHUNKS } from "../../src/chunk-log.js";
import type { GenerateChunk } from "../../src/index.js";
import { collect, fakeEngine } from "./fake-engine.js";

const TOKENS = 4000;
const IDS = Array.from({ length: TOKENS }, (_, n) => 100 + n);

const flood = { model: "m", prompt: "flood", maxTokens: TOKENS } as const;

function expectAll(chunks: readonly GenerateChunk[]): void {
  expect(chunks.flatMap((chunk) => chunk.tokenIds)).toEqual(IDS);
  expect(chunks.flatMap((chunk) => (chunk.logprobs ?? []).map(({ tokenId }) => tokenId))).toEqual(IDS);
  expect(chunks.map((chunk) => chunk.text).join("")).toBe(IDS.map((id) => `t${id - 100} `).join(""));
  expect(chunks.map((chunk) => chunk.index)).toEqual(chunks.map((_, i) => i));
}

describe("a stream that is not read", () => {
  test("becomes a few chunks, and loses nothing", async () => {
    const generation = fakeEngine().generate(flood);
    generation.cancel();
    expect((await generation).tokens).toEqual(IDS);
    const chunks = await collect(generation);
    expect(chunks.length).toBeLessThanOrEqual(MOST_SEPARATE_CHUNKS + 1);
    expectAll(chunks);
  });

  test("loses nothing when its reader stops in the middle and goes on", async () => {
    const engine = fakeEngine();
    const generation = engine.generate(flood);
    const chunks: GenerateChunk[] = [];
    for await (const chunk of generation) {
      chunks.push(chunk);
      if (chunks.length !== 1) continue;
      generation.cancel();
      await generation;
    }
    expectAll(chunks);
  });

  test("does not stall the others, nor keep them from ending", async () => {
    const engine = fakeEngine();
    const unread = [engine.generate(flood), engine.generate(flood)];
    const read = Array.from({ length: 8 }, () => engine.generate({ model: "m", prompt: "p", maxTokens: 50 }));
    for (const chunks of await Promise.all(read.map(collect))) {
      expect(chunks.flatMap((chunk) => chunk.tokenIds)).toEqual(IDS.slice(0, 50));
    }
    for (const generation of unread) generation.cancel();
    for (const generation of unread) expect((await generation).tokens).toEqual(IDS);
  });

  test("reads the same from createGenerator, token by token", async () => {
    const engine = fakeEngine();
    const generator = engine.createGenerator(flood, { streamId: "s" });
    const first = await generator.next();
    expect(first.value).toMatchObject({ type: "token", tokenId: 100 });
    // Everything that is on its way has come when a later call is answered.
    await engine.ping();
    const ids: unknown[] = [];
    for await (const chunk of generator) {
      if (chunk.type !== "token") continue;
      ids.push(chunk.tokenId);
      if (ids.length === TOKENS / 2 - 1) break;
    }
    expect([100, ...ids]).toEqual(IDS.slice(0, TOKENS / 2));
  });
});
