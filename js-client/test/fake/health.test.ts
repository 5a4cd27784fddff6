import { expect, test } from "vitest";
import { fakeEngine, isAlive, rejection } from "./fake-engine.js";

test("an engine without a worker is healthy, and gets none by being asked", async () => {
  const engine = fakeEngine();
  expect(await engine.healthCheck()).toEqual({
    status: "healthy",
    worker: "stopped",
    uptimeMs: 0,
    activeStreams: 0,
    queued: 0,
    loadedModels: 0,
    restartCount: 0,
  });
  expect((await engine.runtimeState()).restartCount).toBe(0);
});

test("a worker that runs", async () => {
  const engine = fakeEngine();
  await engine.loadModel("a");
  const generation = engine.generate({ model: "m", prompt: "silent" });
  await engine.ping();
  const health = await engine.healthCheck();
  expect(health).toMatchObject({
    status: "healthy",
    worker: "running",
    activeStreams: 1,
    loadedModels: 1,
    models: [{ modelId: "a", state: "ready" }],
  });
  expect(isAlive(health.pid ?? 0)).toBe(true);
  expect(health.uptimeMs).toBeGreaterThan(0);
  generation.cancel();
  await generation;
});

test("a worker that starts, and a closed engine", async () => {
  const engine = fakeEngine("never-ready");
  const waiting = rejection(engine.ping());
  expect(await engine.healthCheck()).toMatchObject({ status: "degraded", worker: "starting" });
  await engine.close();
  await waiting;
  expect(await engine.healthCheck()).toMatchObject({
    status: "unhealthy",
    worker: "closed",
    error: { kind: "EngineClosed" },
  });
});

test("a worker that does not answer", async () => {
  const engine = fakeEngine("no-state");
  await engine.ping();
  const health = await engine.healthCheck({ timeoutMs: 5 });
  expect(health).toMatchObject({ status: "unhealthy", worker: "unresponsive" });
  expect(String(health.error)).toContain("did not answer within 5 ms");

  const controller = new AbortController();
  const aborted = rejection(engine.healthCheck({ signal: controller.signal }));
  controller.abort("enough");
  expect(await aborted).toBe("enough");
});
