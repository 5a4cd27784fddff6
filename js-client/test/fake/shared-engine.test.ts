import { expect, onTestFinished, test, vi } from "vitest";
import { type EngineOptions, getSharedEngine, InvalidParamsError } from "../../src/index.js";
import { FAKE_WORKER } from "./fake-engine.js";

const OPTIONS: EngineOptions = { workerPath: FAKE_WORKER, env: { FAKE_WORKER: "normal" } };

test("is one engine, also for a second copy of this module, until it is closed", async () => {
  const engine = getSharedEngine({ ...OPTIONS, onStderr: () => {} });
  onTestFinished(() => engine.close());
  const { pid } = await engine.runtimeInfo();

  vi.resetModules();
  const reloaded = await import("../../src/index.js");
  expect(reloaded.getSharedEngine).not.toBe(getSharedEngine);
  const again = reloaded.getSharedEngine({ ...OPTIONS, env: { FAKE_WORKER: "normal" }, cwd: undefined });
  expect(again).toBe(engine);
  expect((await again.runtimeInfo()).pid).toBe(pid);

  await engine.close();
  const next = getSharedEngine(OPTIONS);
  onTestFinished(() => next.close());
  expect(next).not.toBe(engine);
  await next.ping();
});

test("has a name; other options under the same one are refused", async () => {
  const engine = getSharedEngine(OPTIONS, "a");
  const other = getSharedEngine({ ...OPTIONS, startTimeoutMs: 5 }, "b");
  onTestFinished(async () => {
    await Promise.all([engine.close(), other.close()]);
  });
  expect(other).not.toBe(engine);
  expect(() => getSharedEngine({ ...OPTIONS, startTimeoutMs: 5 }, "a")).toThrow(InvalidParamsError);
  expect(() => getSharedEngine({ workerPth: "" } as EngineOptions, "c")).toThrow(InvalidParamsError);
});
