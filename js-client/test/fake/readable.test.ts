import { expect, test } from "vitest";
import { InvalidParamsError } from "../../src/index.js";
import { collect, fakeEngine, rejection, requestsSeen, TWO_TOKEN_CHUNKS } from "./fake-engine.js";

test("a generation as a stream of its chunks, more than once", async () => {
  const generation = fakeEngine().generate({ model: "m", prompt: "p", maxTokens: 2 });
  expect(await collect(generation.toReadableStream())).toEqual(TWO_TOKEN_CHUNKS);
  expect(await collect(generation.toReadableStream({ format: "chunks" }))).toEqual(TWO_TOKEN_CHUNKS);
});

test("its text as the body of a response", async () => {
  const generation = fakeEngine().generate({ model: "m", prompt: "p", maxTokens: 3 });
  const response = new Response(generation.toReadableStream({ format: "bytes" }));
  expect(await response.text()).toBe("t0 t1 t2 ");
});

test.each(["chunks", "bytes"] as const)(
  "cancelling the stream of %s cancels the generation",
  async (format) => {
    const engine = fakeEngine();
    const generation = engine.generate({ model: "m", prompt: "hang" });
    const reader = generation.toReadableStream({ format } as { format: "bytes" }).getReader();
    await reader.read();
    await reader.cancel();
    expect((await generation).finishReason).toBe("cancelled");
    expect((await requestsSeen(engine)).map(({ method }) => method)).toContain("cancel");
  },
);

test("an error is the stream's", async () => {
  const engine = fakeEngine();
  const failed = engine.generate({ model: "m", prompt: "fail" });
  const error = await rejection(collect(failed.toReadableStream()));
  expect(error).toMatchObject({ kind: "GenerationError" });
  expect(await rejection(failed)).toBe(error);

  const controller = new AbortController();
  const aborted = engine.generate({ model: "m", prompt: "silent" }, { signal: controller.signal });
  const read = rejection(collect(aborted.toReadableStream({ format: "bytes" })));
  controller.abort("enough");
  expect(await read).toBe("enough");
});

test("a stream that is not read leaves nothing behind; another format is refused", async () => {
  const generation = fakeEngine().generate({ model: "m", prompt: "fail" });
  generation.toReadableStream();
  expect(() => generation.toReadableStream({ format: "text" } as never)).toThrow(InvalidParamsError);
  await rejection(generation);
});
