import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Engine,
  type Generation,
  ModelNotLoadedError,
  WorkerCrashedError,
  WorkerStartError,
  type WorkerStatusEvent,
} from "../../src/index.js";
import { isAlive, rejection } from "../fake/fake-engine.js";
import { MODEL_FILE, ROOT } from "./paths.js";
import { expectServes, loadTestModel, realEngine } from "./real-engine.js";

/** A generation that only ends when it is stopped, as far as a test is concerned. */
const ENDLESS = { model: "smollm2", prompt: "Once upon a time", maxTokens: 1900, ignoreEos: true };

const activeStreams = async (engine: Engine): Promise<number> => (await engine.runtimeState()).activeStreams;

describe("stopping", () => {
  let engine: Engine;

  beforeAll(async () => {
    engine = realEngine();
    await loadTestModel(engine);
  });

  afterAll(() => engine.close());

  test("break cancels and frees the stream", async () => {
    const generation = engine.generate(ENDLESS);
    for await (const chunk of generation) if (chunk.index === 2) break;
    const result = await generation;
    expect(result.finishReason).toBe("cancelled");
    expect(result.tokens.length).toBeGreaterThanOrEqual(3);
    expect(result.tokens.length).toBeLessThan(100);
    await expect.poll(() => activeStreams(engine), { timeout: 20_000 }).toBe(0);
    await expectServes(engine);
  });

  test("break out of createGenerator cancels", async () => {
    for await (const _ of engine.createGenerator(ENDLESS)) break;
    await expect.poll(() => activeStreams(engine), { timeout: 20_000 }).toBe(0);
  });

  test("an AbortSignal rejects with its reason and cancels", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const generation = engine.generate(ENDLESS, { signal: controller.signal });
    const loop = (async () => {
      for await (const _ of generation) controller.abort(reason);
    })();
    expect(await rejection(loop)).toBe(reason);
    expect(await rejection(generation)).toBe(reason);
    await expect.poll(() => activeStreams(engine), { timeout: 20_000 }).toBe(0);
    await expectServes(engine);
  });

  test.each(["abort", "cancel"] as const)("%s: the worker starts at most one more step", async (how) => {
    for (let chunks = 1; chunks <= 8; chunks += 1) {
      const controller = new AbortController();
      const generation = engine.generate(ENDLESS, { signal: controller.signal });
      await readChunks(generation, chunks);
      if (how === "abort") controller.abort();
      else generation.cancel();
      // Sent behind the cancel, so it counts every step that was dispatched before the worker got that.
      const { stepsTotal } = await engine.stats();
      await Promise.allSettled([generation]);
      await expect.poll(() => activeStreams(engine), { timeout: 20_000 }).toBe(0);
      expect((await engine.stats()).stepsTotal - stepsTotal).toBeLessThanOrEqual(1);
    }
  });

  test("cancelling one of several streams leaves the others", async () => {
    const kept = engine.generate({ ...ENDLESS, maxTokens: 24 });
    const stopped = engine.generate(ENDLESS);
    for await (const _ of stopped) break;
    expect((await kept).tokens).toHaveLength(24);
    expect((await stopped).finishReason).toBe("cancelled");
  });

  test("a loaded model is busy while it generates; force cancels", async () => {
    await engine.loadModel({ model: "other", localPath: MODEL_FILE });
    const generation = engine.generate({ ...ENDLESS, model: "other" });
    const rejected = rejection(generation);
    await readChunks(generation);
    expect(await rejection(engine.unloadModel("other"))).toMatchObject({ kind: "Busy" });
    await engine.unloadModel("other", { force: true });
    expect(await rejected).toMatchObject({ kind: "Cancelled" });
    await expectServes(engine);
  });

  test("ping answers while a generation runs", async () => {
    const generation = engine.generate(ENDLESS);
    await Promise.all(Array.from({ length: 20 }, () => engine.ping()));
    generation.cancel();
    expect((await generation).finishReason).toBe("cancelled");
  });
});

/** Waits until a generation is under way, without leaving an iteration, which would cancel it. */
async function readChunks(generation: Generation, count = 1): Promise<void> {
  const chunks = generation[Symbol.asyncIterator]();
  for (let i = 0; i < count; i += 1) await chunks.next();
}

describe("the worker's end", () => {
  test("SIGKILL mid-stream rejects the stream, and the next call works", async () => {
    await using engine = realEngine();
    await loadTestModel(engine);
    const { pid } = await engine.runtimeInfo();
    const generation = engine.generate(ENDLESS);
    const loop = (async () => {
      for await (const _ of generation) process.kill(pid, "SIGKILL");
    })();
    const error = await rejection(loop);
    expect(error).toBeInstanceOf(WorkerCrashedError);
    expect(error).toMatchObject({ signal: "SIGKILL", exitCode: null });
    expect(await rejection(generation)).toBe(error);

    await engine.ping();
    expect((await engine.runtimeState()).restartCount).toBe(1);
    expect(await rejection(engine.generate(ENDLESS))).toBeInstanceOf(ModelNotLoadedError);
    await loadTestModel(engine);
    await expectServes(engine);
  });

  test("SIGTERM from somebody else ends it without a fault: it counts for no crash loop", async () => {
    await using engine = realEngine({ maxCrashes: 1 });
    for (let i = 0; i < 2; i += 1) {
      const { pid } = await engine.runtimeInfo();
      const gone = new Promise<WorkerStatusEvent>((resolve) => {
        engine.on("worker:status", (event) => {
          if (event.status === "failed") resolve(event);
        });
      });
      process.kill(pid, "SIGTERM");
      expect((await gone).error).toMatchObject({ kind: "WorkerCrashed", exitCode: 0, signal: null });
    }
    await engine.ping();
  });

  test("with autoReload the models are loaded again, and nothing is generated again", async () => {
    await using engine = realEngine({ autoReload: true });
    await loadTestModel(engine);
    const { pid } = await engine.runtimeInfo();
    const broken = rejection(engine.generate(ENDLESS));
    process.kill(pid, "SIGKILL");
    expect(await broken).toBeInstanceOf(WorkerCrashedError);
    await expectServes(engine);
    expect(await engine.listModels()).toEqual([{ modelId: "smollm2", state: "ready", type: "text" }]);
    const { requests } = await engine.stats();
    expect([requests.submitted, requests.completed]).toEqual([1, 1]);
  });

  test("100 starts and ends leave no process, not even a defunct one", async () => {
    const pids: number[] = [];
    for (let i = 0; i < 100; i += 1) {
      await using engine = realEngine();
      pids.push((await engine.runtimeInfo()).pid);
    }
    expect(new Set(pids).size).toBe(100);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test("close waits for what runs and ends the process", async () => {
    const engine = realEngine();
    await loadTestModel(engine);
    const { pid } = await engine.runtimeInfo();
    const generation = engine.generate({ ...ENDLESS, maxTokens: 16 });
    await readChunks(generation);
    await engine.close({ drainMs: 60_000 });
    expect((await generation).tokens).toHaveLength(16);
    expect(isAlive(pid)).toBe(false);
  });

  test("close without time to drain cancels what runs", async () => {
    const engine = realEngine();
    await loadTestModel(engine);
    const generation = engine.generate(ENDLESS);
    const rejected = rejection(generation);
    await readChunks(generation);
    await engine.close({ drainMs: 0 });
    expect(await rejected).toMatchObject({ name: "CancelledError" });
  });

  test("a bad environment is a failed start that names the variable", async () => {
    const engine = realEngine({ env: { MLX_GPU_SCHEDULER_WINDOW_MS: "99" } });
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(WorkerStartError);
    expect(error).toMatchObject({ exitCode: 2 });
    expect((error as WorkerStartError).stderrTail).toMatch(/MLX_GPU_SCHEDULER_WINDOW_MS.*99.*0\.75.*5/);
  });
});

test("a script with an idle worker and a loaded model ends by itself", async () => {
  const script = `
    import { createEngine } from "mlx-worker";
    const engine = createEngine({ logLevel: "warn" });
    await engine.loadModel({ model: "m", localPath: ${JSON.stringify(MODEL_FILE)} });
    const { text } = await engine.generate({ model: "m", prompt: "Once", maxTokens: 2, temperature: 0 });
    console.log(text.length > 0 ? "generated" : "nothing");`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: ROOT,
    timeout: 60_000,
  });
  expect(stdout.trim()).toBe("generated");
});
