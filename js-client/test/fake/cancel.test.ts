import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, type GenerateParams } from "../../src/index.js";
import { fakeEngine, rejection, requestsSeen } from "./fake-engine.js";

const prompt = (text: string): GenerateParams => ({ model: "m", prompt: text });
const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

const unhandled: unknown[] = [];
const record = (reason: unknown): void => void unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", record);
});

afterEach(async () => {
  // Rejections are reported after the microtasks of the turn they happened in.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", record);
  expect(unhandled).toEqual([]);
});

/** Ids of the streams that the worker was asked to cancel, once it has answered everything before. */
async function cancelled(engine: Engine): Promise<unknown[]> {
  const seen = await requestsSeen(engine);
  return seen.filter(({ method }) => method === "cancel").map(({ params }) => params.stream_id);
}

describe("AbortSignal", () => {
  test("an aborted signal rejects every call with its reason and starts nothing", async () => {
    const engine = createEngine({ workerPath: "/nowhere" });
    const signal = AbortSignal.abort("no");
    const calls: PromiseLike<unknown>[] = [
      engine.ping({ signal }),
      engine.loadModel("m", { signal }),
      engine.unloadModel("m", { signal }),
      engine.tokenize({ model: "m", text: "t" }, { signal }),
      engine.batchTokenize({ model: "m", texts: ["t"] }, { signal }),
      engine.detokenize({ model: "m", tokens: [1] }, { signal }),
      engine.applyChatTemplate({ model: "m", messages: [] }, { signal }),
      engine.runtimeInfo({ signal }),
      engine.runtimeState({ signal }),
      engine.stats({ signal }),
      engine.generate(prompt("p"), { signal }),
      ...engine.batchGenerate([prompt("p")], { signal }),
      engine.createGenerator({ model: "m", prompt: "p" }, { signal }).next(),
    ];
    for (const call of calls) expect(await rejection(call)).toBe("no");
  });

  test("a pending call rejects at once; its answer is dropped", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const load = engine.loadModel("slow", { signal: controller.signal });
    await engine.ping();
    controller.abort();
    expect(await rejection(load)).toBe(controller.signal.reason);
    await engine.ping();
  });

  test("the listener is removed however a call ends", async () => {
    const engine = fakeEngine();
    const { signal } = new AbortController();
    await engine.ping({ signal });
    await rejection(engine.loadModel("missing", { signal }));
    await engine.generate(prompt("p"), { signal });
    await rejection(engine.generate(prompt("fail"), { signal }));
    await rejection(engine.generate(prompt("refuse"), { signal }));
    const hanging = engine.generate(prompt("hang"), { signal });
    expect(listeners(signal)).toBe(1);
    hanging.cancel();
    await hanging;
    expect(listeners(signal)).toBe(0);
  });

  test("many calls may share a signal without a warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const engine = fakeEngine();
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 20 }, () => engine.ping({ signal })));
    await Promise.all(
      engine.batchGenerate(
        Array.from({ length: 20 }, () => prompt("p")),
        { signal },
      ),
    );
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
    expect(listeners(signal)).toBe(0);
  });

  test("aborting a generation rejects promise and iteration and cancels it in the worker", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const generation = engine.generate(prompt("hang"), { signal: controller.signal });
    const seen: string[] = [];
    const loop = (async () => {
      for await (const chunk of generation) {
        seen.push(chunk.text);
        controller.abort(new Error("enough"));
      }
    })();
    expect(await rejection(loop)).toEqual(new Error("enough"));
    expect(await rejection(generation)).toEqual(new Error("enough"));
    expect(seen).toEqual(["t0 "]);
    expect(await cancelled(engine)).toEqual([generation.streamId]);
    expect((await engine.runtimeState()).activeStreams).toBe(0);
    expect(listeners(controller.signal)).toBe(0);
  });

  test("aborting while the worker starts keeps the request from being sent", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const calls = [
      engine.generate(prompt("p"), { signal: controller.signal, streamId: "s" }),
      engine.tokenize({ model: "m", text: "t" }, { signal: controller.signal }),
      ...engine.batchGenerate([prompt("p"), prompt("p")], { signal: controller.signal }),
    ];
    controller.abort("early");
    for (const call of calls) expect(await rejection(call)).toBe("early");
    expect((await requestsSeen(engine)).map(({ method }) => method)).toEqual(["runtime/stats"]);
    expect((await engine.generate(prompt("p"), { streamId: "s" })).finishReason).toBe("length");
  });

  test("aborting createGenerator throws the reason", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const chunks = engine.createGenerator({ model: "m", prompt: "hang" }, { signal: controller.signal });
    await chunks.next();
    const pending = chunks.next();
    controller.abort("enough");
    expect(await rejection(pending)).toBe("enough");
    expect(await cancelled(engine)).toHaveLength(1);
  });

  test("aborting after the end does nothing", async () => {
    const engine = fakeEngine();
    const controller = new AbortController();
    const generation = engine.generate(prompt("p"), { signal: controller.signal });
    await generation;
    controller.abort();
    expect((await generation).finishReason).toBe("length");
    expect(await cancelled(engine)).toEqual([]);
  });
});

describe("leaving an iteration", () => {
  test("break cancels, and the promise has what there was", async () => {
    const engine = fakeEngine();
    const generation = engine.generate(prompt("hang"));
    for await (const _ of generation) break;
    expect(await generation).toMatchObject({ finishReason: "cancelled", text: "t0 late " });
    expect(await cancelled(engine)).toEqual([generation.streamId]);
    expect((await engine.runtimeState()).activeStreams).toBe(0);
  });

  test("an exception in the loop cancels", async () => {
    const engine = fakeEngine();
    const loop = (async () => {
      for await (const _ of engine.generate(prompt("hang"))) throw new Error("mine");
    })();
    expect(await rejection(loop)).toEqual(new Error("mine"));
    expect(await cancelled(engine)).toHaveLength(1);
  });

  test("throw() of an iterator cancels and throws", async () => {
    const engine = fakeEngine();
    const iterator = engine.generate(prompt("hang"))[Symbol.asyncIterator]();
    await iterator.next();
    expect(await rejection(iterator.throw?.(new Error("mine")) ?? Promise.resolve())).toEqual(
      new Error("mine"),
    );
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(await cancelled(engine)).toHaveLength(1);
  });

  test("a loop that ends by itself cancels nothing", async () => {
    const engine = fakeEngine();
    for await (const _ of engine.generate(prompt("p")));
    for await (const _ of engine.createGenerator({ model: "m", prompt: "p" }));
    expect(await cancelled(engine)).toEqual([]);
  });

  test("cancel() is sent once and only while the generation runs", async () => {
    const engine = fakeEngine();
    const generation = engine.generate(prompt("hang"));
    generation.cancel();
    generation.cancel();
    expect((await generation).finishReason).toBe("cancelled");
    generation.cancel();
    expect(await cancelled(engine)).toEqual([generation.streamId]);
  });

  test("break, return() and throw() of createGenerator cancel", async () => {
    const engine = fakeEngine();
    const hang = () => engine.createGenerator({ model: "m", prompt: "hang" });
    for await (const _ of hang()) break;
    const returned = hang();
    await returned.next();
    expect(await returned.return()).toEqual({ done: true, value: undefined });
    const thrown = hang();
    await thrown.next();
    expect(await rejection(thrown.throw(new Error("mine")))).toEqual(new Error("mine"));
    expect(await cancelled(engine)).toHaveLength(3);
    expect((await engine.runtimeState()).activeStreams).toBe(0);
  });

  test("return() of createGenerator ends a next() that waits for a token", async () => {
    const engine = fakeEngine();
    const chunks = engine.createGenerator({ model: "m", prompt: "silent" });
    const pending = chunks.next();
    await engine.ping();
    const returned = chunks.return();
    expect(await pending).toMatchObject({
      value: { type: "metadata", stats: { finishReason: "cancelled" } },
    });
    expect(await returned).toEqual({ done: true, value: undefined });
  });
});

test("failures that nobody waits for are not unhandled rejections", async () => {
  const engine = fakeEngine();
  engine.generate(prompt("fail"));
  engine.generate(prompt("refuse"));
  engine.generate({ model: "m" } as never);
  engine.batchGenerate([prompt("fail"), prompt("refuse")]);
  const dropped = engine.generate(prompt("hang"))[Symbol.asyncIterator]();
  await dropped.next();
  await dropped.return?.();
  await engine.ping();
  engine.generate(prompt("silent"));
  engine.generate(prompt("die"));
  await rejection(engine.ping());
});
