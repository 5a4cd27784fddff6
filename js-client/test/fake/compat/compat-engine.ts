import { onTestFinished, vi } from "vitest";
import { createEngine, type Engine, type EngineOptions } from "../../../src/compat/index.js";
import { FAKE_WORKER } from "../fake-engine.js";

/** An engine of the compat entry over the fake worker, ended when the test ends. */
export async function compatEngine(options: EngineOptions = {}): Promise<Engine> {
  const engine = await createEngine({ workerPath: FAKE_WORKER, ...options });
  onTestFinished(() => engine.shutdown());
  return engine;
}

/** Makes the fake worker what engines without options find, for the test that runs. */
export function fakeWorkerByDefault(): void {
  vi.stubEnv("MLX_WORKER_PATH", FAKE_WORKER);
  onTestFinished(() => void vi.unstubAllEnvs());
}
