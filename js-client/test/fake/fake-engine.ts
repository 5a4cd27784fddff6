import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { createEngine, type Engine, type EngineOptions, type GenerateChunk } from "../../src/index.js";

/** The stand-in for the worker: see its own comments for modes and prompts. */
export const FAKE_WORKER: string = fileURLToPath(new URL("../fixtures/fake-worker.mjs", import.meta.url));

/** What comes of a prompt that the fake worker does not know, with two tokens. */
export const TWO_TOKEN_CHUNKS: readonly GenerateChunk[] = [
  { index: 0, text: "t0 ", tokenIds: [100] },
  { index: 1, text: "t1 ", tokenIds: [101] },
];

/** An engine over the fake worker, closed when the test ends. */
export function fakeEngine(mode = "normal", options: EngineOptions = {}): Engine {
  const engine = createEngine({
    workerPath: FAKE_WORKER,
    ...options,
    env: { FAKE_WORKER: mode, ...options.env },
  });
  onTestFinished(() => engine.close({ drainMs: 0 }));
  return engine;
}

/** What the fake worker tells about itself in place of figures. */
export async function workerFacts(
  engine: Engine,
): Promise<{ log: Request[]; env: NodeJS.ProcessEnv; cwd: string }> {
  const facts = (await engine.stats()) as unknown as { log: string; env: string; cwd: string };
  return { log: JSON.parse(facts.log), env: JSON.parse(facts.env), cwd: facts.cwd };
}

/** A request as the worker got it. */
export interface Request {
  readonly method: string;
  readonly params: Record<string, unknown>;
}

/** Requests that the fake worker has received, in order. */
export async function requestsSeen(engine: Engine): Promise<Request[]> {
  return (await workerFacts(engine)).log;
}

/** The error that a promise rejects with. */
export async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("the promise did not reject");
}

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Everything that an iterable yields. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
