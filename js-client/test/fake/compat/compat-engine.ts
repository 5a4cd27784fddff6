import { onTestFinished } from "vitest";
import { createEngine, type Engine, type EngineOptions } from "../../../src/compat/index.js";
import { FAKE_WORKER } from "../fake-engine.js";

/** An engine of the compat entry over the fake worker, ended when the test ends. */
export async function compatEngine(options: EngineOptions = {}): Promise<Engine> {
  const engine = await createEngine({ workerPath: FAKE_WORKER, ...options, env: { FAKE_WORKER: "normal" } });
  onTestFinished(() => engine.shutdown());
  return engine;
}

/** Makes the fake worker what engines without options find, for the test that runs. */
export function fakeWorkerByDefault(): void {
  const before = process.env.MLX_WORKER_PATH;
  process.env.MLX_WORKER_PATH = FAKE_WORKER;
  onTestFinished(() => {
    if (before === undefined) delete process.env.MLX_WORKER_PATH;
    else process.env.MLX_WORKER_PATH = before;
  });
}
