import { expect, test } from "vitest";
import { InvalidParamsError, type WorkerStatusEvent } from "../../src/index.js";
import { fakeEngine, rejection } from "./fake-engine.js";

test("worker:status follows the worker's life", async () => {
  const engine = fakeEngine();
  const seen: WorkerStatusEvent[] = [];
  engine.on("worker:status", (event) => seen.push(event));
  const { pid } = await engine.runtimeInfo();
  const error = await rejection(engine.generate({ model: "m", prompt: "die" }));
  await engine.ping();
  await engine.close();
  expect(seen.map(({ previousStatus, status }) => `${previousStatus} > ${status}`)).toEqual([
    "stopped > starting",
    "starting > ready",
    "ready > failed",
    "failed > starting",
    "starting > ready",
    "ready > stopped",
  ]);
  expect(seen[1]?.pid).toBe(pid);
  expect(seen[2]?.error).toBe(error);
  for (const { timestamp } of seen) expect(new Date(timestamp).getFullYear()).toBeGreaterThan(2024);
});

test("a generation that was sent has a start and an end", async () => {
  const engine = fakeEngine();
  const seen: unknown[] = [];
  engine.on("generation:started", ({ streamId, modelId }) => seen.push([streamId, modelId]));
  engine.on("generation:ended", ({ streamId, result, error }) => seen.push([streamId, result ?? error]));
  const result = await engine.generate({ model: "m", prompt: "p" }, { streamId: "one" });
  const error = await rejection(engine.generate({ model: "m", prompt: "fail" }, { streamId: "two" }));
  await rejection(engine.generate({ model: "m" } as never, { streamId: "not sent" }));
  expect(seen).toEqual([
    ["one", "m"],
    ["one", result],
    ["two", "m"],
    ["two", error],
  ]);
  for (const stream of engine.batchGenerate([{ model: "m", prompt: "p" }])) await stream;
  expect(seen).toHaveLength(6);
});

test("once, off, a listener that is added twice, and one that throws", async () => {
  const engine = fakeEngine();
  const seen: string[] = [];
  const twice = () => seen.push("twice");
  const removed = () => seen.push("removed");
  const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
  engine
    .once("model:loaded", () => {
      seen.push("once");
      throw new Error("a listener failed");
    })
    .on("model:loaded", twice)
    .on("model:loaded", twice)
    .on("model:loaded", removed)
    .off("model:loaded", removed);
  await engine.loadModel("a");
  await engine.loadModel("b");
  expect(seen).toEqual(["once", "twice", "twice"]);
  expect((await warning).message).toBe("a listener failed");
});

test("an unknown event and what is no listener are refused", () => {
  const engine = fakeEngine();
  expect(() => engine.on("model:load" as "model:loaded", () => {})).toThrow(InvalidParamsError);
  expect(() => engine.on("model:loaded", "f" as never)).toThrow(InvalidParamsError);
});
