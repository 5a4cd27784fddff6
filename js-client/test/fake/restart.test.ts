import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  type Engine,
  type EngineEventName,
  type EngineEvents,
  ModelLoadError,
  WorkerCrashedError,
  WorkerCrashLoopError,
  WorkerStartError,
} from "../../src/index.js";
import { debug } from "../../src/notices.js";
import { fakeEngine, rejection, requestsSeen } from "./fake-engine.js";

vi.mock("../../src/notices.js", async (original) => ({ ...(await original<object>()), debug: vi.fn() }));

const crash = (engine: Engine) => rejection(engine.generate({ model: "m", prompt: "die" }));

/** An engine that reloads, whose worker crashed with the model "held": the next one has it when a ping comes. */
async function engineWithoutItsModel(): Promise<Engine> {
  const engine = fakeEngine("normal", { autoReload: true });
  const load = engine.loadModel("held");
  await engine.ping();
  await load;
  await crash(engine);
  return engine;
}

/** The payloads of an event, as they come. */
function eventsOf<Name extends EngineEventName>(engine: Engine, name: Name): EngineEvents[Name][] {
  const seen: EngineEvents[Name][] = [];
  engine.on(name, (event) => seen.push(event));
  return seen;
}

const methodsSeen = async (engine: Engine): Promise<string[]> =>
  (await requestsSeen(engine)).map(({ method }) => method);

describe("a crash loop", () => {
  test("of three within a minute stops new starts", async () => {
    const engine = fakeEngine();
    for (let i = 0; i < 3; i += 1) expect(await crash(engine)).toBeInstanceOf(WorkerCrashedError);
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(WorkerCrashLoopError);
    expect((error as Error).cause).toBeInstanceOf(WorkerCrashedError);
    expect(await crash(engine)).toBeInstanceOf(WorkerCrashLoopError);
    expect(await engine.healthCheck()).toMatchObject({ status: "unhealthy", worker: "crash-loop" });
    await engine.close();
  });

  test("of workers that do not start says what the last one said", async () => {
    const engine = fakeEngine("exit-early", { maxCrashes: 2 });
    for (let i = 0; i < 2; i += 1) expect(await rejection(engine.ping())).toBeInstanceOf(WorkerStartError);
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(WorkerCrashLoopError);
    expect((error as Error).message).toContain("MLX_GPU_SCHEDULER_WINDOW_MS=9: accepted: 0.75 to 5");
  });

  test("is not made by workers that somebody else asked to end, however often", async () => {
    const engine = fakeEngine("normal", { maxCrashes: 1 });
    for (let i = 0; i < 3; i += 1) {
      const { pid } = await engine.runtimeInfo();
      const ended = rejection(engine.generate({ model: "m", prompt: "silent" }));
      process.kill(pid, "SIGTERM");
      expect(await ended).toMatchObject({ kind: "WorkerCrashed", exitCode: 0 });
    }
    await engine.ping();
  });

  test("is not made by calls that are refused, nor looked for with maxCrashes 0", async () => {
    const engine = fakeEngine("normal", { maxCrashes: 0 });
    for (let i = 0; i < 4; i += 1) expect(await crash(engine)).toBeInstanceOf(WorkerCrashedError);
    const refused = fakeEngine();
    for (let i = 0; i < 4; i += 1) await rejection(refused.loadModel("missing"));
    await Promise.all([engine.ping(), refused.ping()]);
  });
});

describe("models after a crash", () => {
  test("are gone: the engine tells, and does not load them by itself", async () => {
    const engine = fakeEngine();
    const loaded = eventsOf(engine, "model:loaded");
    const invalidated = eventsOf(engine, "model:invalidated");
    await engine.loadModel("a");
    const error = await crash(engine);
    expect(loaded).toMatchObject([{ modelId: "a", reloaded: false, model: { modelId: "a" } }]);
    expect(invalidated).toMatchObject([{ modelId: "a", error }]);
    expect(await methodsSeen(engine)).toEqual(["runtime/stats"]);
  });

  test("are loaded again with autoReload, before the calls that name them, and nothing is generated again", async () => {
    const engine = fakeEngine("normal", { autoReload: true });
    const loaded = eventsOf(engine, "model:loaded");
    const loads = [engine.loadModel("a"), engine.loadModel({ model: "held", contextLength: 7 })];
    await engine.ping();
    await Promise.all(loads);
    await crash(engine);

    const generation = engine.generate({ model: "held", prompt: "p" });
    const tokens = engine.tokenize({ model: "held", text: "t" });
    const batch = engine.batchGenerate([
      { model: "a", prompt: "p" },
      { model: "held", prompt: "p" },
    ]);
    const other = engine.tokenize({ model: "never loaded", text: "t" });
    await other;
    // "held" is loaded when a ping comes; what needs it has not been sent.
    const before = await requestsSeen(engine);
    expect(before.filter(({ method }) => method === "load_model").map(({ params }) => params)).toEqual([
      { model_id: "a" },
      { model_id: "held", context_length: 7 },
    ]);
    expect(before.map(({ method }) => method)).not.toContain("generate");
    expect(before.map(({ method }) => method)).not.toContain("batch_generate");

    await engine.ping();
    await Promise.all([generation, tokens, ...batch]);
    expect((await methodsSeen(engine)).filter((method) => method.endsWith("generate"))).toHaveLength(2);
    expect(loaded.map(({ modelId, reloaded }) => [modelId, reloaded])).toEqual([
      ["a", false],
      ["held", false],
      ["a", true],
      ["held", true],
    ]);
  });

  test("are loaded from where they were, also when a later call only named them", async () => {
    const engine = fakeEngine("normal", { autoReload: true });
    const loaded = eventsOf(engine, "model:loaded");
    await engine.loadModel({ model: "a", localPath: "/a" });
    expect((await engine.loadModel("a")).cached).toBe(true);
    expect(loaded).toHaveLength(1);
    await crash(engine);
    expect(await requestsSeen(engine)).toMatchObject([
      { method: "load_model", params: { model_id: "a", local_path: "/a" } },
      { method: "runtime/stats" },
    ]);
  });

  test("that cannot be loaded again fail the calls that waited, and are not tried a second time", async () => {
    const file = join(tmpdir(), `mlx-worker-model-${process.pid}`);
    writeFileSync(file, "");
    onTestFinished(() => rmSync(file, { force: true }));
    const engine = fakeEngine("normal", { autoReload: true });
    await engine.loadModel({ model: "file", localPath: file });
    rmSync(file);
    await crash(engine);
    const error = await rejection(engine.generate({ model: "file", prompt: "p" }));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(debug).toHaveBeenCalledWith(expect.stringContaining("was not loaded again"), "file", error);
    await crash(engine);
    expect(await methodsSeen(engine)).toEqual(["runtime/stats"]);
  });

  test("that were unloaded stay so", async () => {
    const engine = fakeEngine("normal", { autoReload: true });
    const unloaded = eventsOf(engine, "model:unloaded");
    await engine.loadModel("a");
    await engine.unloadModel("a");
    expect(unloaded).toMatchObject([{ modelId: "a" }]);
    await crash(engine);
    expect(await methodsSeen(engine)).toEqual(["runtime/stats"]);
  });

  test("abort and cancel of a call that waits for its model", async () => {
    const engine = await engineWithoutItsModel();
    const controller = new AbortController();
    const aborted = engine.generate({ model: "held", prompt: "silent" }, { signal: controller.signal });
    const abortedCall = engine.detokenize({ model: "held", tokens: [1] }, { signal: controller.signal });
    const cancelled = engine.generate({ model: "held", prompt: "silent" });
    cancelled.cancel();
    controller.abort("stop");
    expect(await rejection(aborted)).toBe("stop");
    expect(await rejection(abortedCall)).toBe("stop");
    await engine.ping();
    expect((await cancelled).finishReason).toBe("cancelled");
    expect((await methodsSeen(engine)).filter((method) => method !== "runtime/stats")).toEqual([
      "load_model",
      "ping",
      "generate",
      "cancel",
    ]);
  });

  test("a crash while they are loaded again rejects what waits", async () => {
    const engine = await engineWithoutItsModel();
    const waiting = rejection(engine.generate({ model: "held", prompt: "p" }));
    await crash(engine);
    expect(await waiting).toBeInstanceOf(WorkerCrashedError);
    const reload = engine.tokenize({ model: "held", text: "t" });
    await engine.ping();
    expect((await reload).count).toBe(1);
  });
});
