import { expect, test } from "vitest";
import { collect, fakeEngine } from "./fake-engine.js";

test("2000 streams at once each get their own tokens, all of them", async () => {
  const engine = fakeEngine();
  const controller = new AbortController();
  const generations = Array.from({ length: 2000 }, (_, i) =>
    engine.generate({ model: "m", prompt: "p", maxTokens: 1 + (i % 7) }, { signal: controller.signal }),
  );
  const read = await Promise.all(generations.map((generation) => collect(generation)));
  for (const [i, chunks] of read.entries()) {
    const tokens = Array.from({ length: 1 + (i % 7) }, (_, index) => 100 + index);
    expect(chunks.flatMap(({ tokenIds }) => tokenIds)).toEqual(tokens);
    expect((await generations[i])?.tokens).toEqual(tokens);
  }
  expect((await engine.runtimeState()).activeStreams).toBe(0);
});

test("2000 streams that are aborted together are all cancelled", async () => {
  const engine = fakeEngine();
  const controller = new AbortController();
  await engine.ping();
  const generations = Array.from({ length: 2000 }, () =>
    engine.generate({ model: "m", prompt: "silent" }, { signal: controller.signal }),
  );
  const settled = Promise.allSettled(generations);
  controller.abort("enough");
  expect(new Set((await settled).map((one) => one.status === "rejected" && one.reason))).toEqual(
    new Set(["enough"]),
  );
  expect((await engine.runtimeState()).activeStreams).toBe(0);
});
