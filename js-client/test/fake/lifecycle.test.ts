import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { EngineClosedError, type GenerateParams, WorkerCrashedError } from "../../src/index.js";
import { collect, FAKE_WORKER, fakeEngine, isAlive, rejection } from "./fake-engine.js";

const prompt = (text: string): GenerateParams => ({ model: "m", prompt: text });

describe("a worker that ends", () => {
  test("rejects everything that is pending, and the next call starts another one", async () => {
    const engine = fakeEngine();
    const pending = [engine.generate(prompt("silent")), engine.loadModel("slow")];
    const dying = engine.generate(prompt("die"));
    const error = await rejection(collect(dying));
    expect(error).toBeInstanceOf(WorkerCrashedError);
    expect(error).toMatchObject({ exitCode: null, signal: "SIGKILL", stderrTail: "fatal: out of luck\n" });
    for (const call of [dying, ...pending]) expect(await rejection(call)).toBe(error);
    await engine.ping();
    expect((await engine.runtimeState()).restartCount).toBe(1);
  });

  test("delivers what it sent before", async () => {
    const seen: string[] = [];
    const loop = (async () => {
      for await (const chunk of fakeEngine().generate(prompt("die"))) seen.push(chunk.text);
    })();
    await rejection(loop);
    expect(seen).toEqual(["t0 "]);
  });

  test("while idle is replaced by the next call", async () => {
    const engine = fakeEngine();
    const { pid } = await engine.runtimeInfo();
    process.kill(pid, "SIGKILL");
    // The kill may be noticed before or while the next call runs; the one after that has a new worker.
    await engine.ping().catch((error: unknown) => expect(error).toBeInstanceOf(WorkerCrashedError));
    expect((await engine.runtimeInfo()).pid).not.toBe(pid);
  });

  test("by closing its stdin is a crash: EPIPE does not escape", async () => {
    const engine = fakeEngine("deaf");
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(WorkerCrashedError);
  });

  test("by closing its stdout is a crash", async () => {
    const error = await rejection(fakeEngine("mute").ping());
    expect(error).toBeInstanceOf(WorkerCrashedError);
  });
});

describe("close", () => {
  test("ends the worker; the second call is the same promise; later calls are refused", async () => {
    const engine = fakeEngine();
    const { pid } = await engine.runtimeInfo();
    const closing = engine.close();
    expect(engine.close()).toBe(closing);
    await closing;
    expect(isAlive(pid)).toBe(false);
    expect(await rejection(engine.ping())).toBeInstanceOf(EngineClosedError);
    expect(await rejection(engine.generate(prompt("p")))).toBeInstanceOf(EngineClosedError);
  });

  test("with an option that is refused closes nothing", async () => {
    const engine = fakeEngine();
    expect(await rejection(engine.close({ drain: 5 } as object))).toMatchObject({ param: "drain" });
    await engine.ping();
  });

  test("while the worker starts ends it, and what waits is rejected", async () => {
    const engine = fakeEngine("never-ready");
    const waiting = engine.ping();
    const rejected = rejection(waiting);
    await engine.close();
    expect(await rejected).toBeInstanceOf(EngineClosedError);
  });

  test("rejects what the worker did not finish", async () => {
    const engine = fakeEngine();
    const generation = engine.generate(prompt("silent"));
    const rejected = rejection(generation);
    await engine.ping();
    await engine.close({ drainMs: 0 });
    expect(await rejected).toBeInstanceOf(EngineClosedError);
  });

  test("a worker that ignores shutdown, end of input and SIGTERM is killed", async () => {
    const log: string[] = [];
    const engine = fakeEngine("stubborn", { onStderr: (text) => log.push(text) });
    const { pid } = await engine.runtimeInfo();
    await engine.close({ drainMs: 10 });
    expect(log.join("")).toBe("SIGTERM ignored\n");
    expect(isAlive(pid)).toBe(false);
  });

  test("await using closes", async () => {
    let pid = 0;
    {
      await using engine = fakeEngine();
      pid = (await engine.runtimeInfo()).pid;
    }
    expect(isAlive(pid)).toBe(false);
  });

  test("after a crash there is nothing to close", async () => {
    const engine = fakeEngine();
    await rejection(engine.generate(prompt("die")));
    await engine.close();
  });

  test("10 engines leave no process", async () => {
    const pids: number[] = [];
    for (let i = 0; i < 10; i += 1) {
      const engine = fakeEngine();
      pids.push((await engine.runtimeInfo()).pid);
      await engine.close();
    }
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

describe("the application's own life", () => {
  /** Runs a script that has `engine`; resolves with its output when it ends by itself. */
  async function run(script: string, env: Record<string, string> = {}): Promise<string> {
    const index = new URL("../../src/index.ts", import.meta.url).href;
    const source = `
      import { createEngine } from ${JSON.stringify(index)};
      const engine = createEngine({ workerPath: ${JSON.stringify(FAKE_WORKER)} });
      ${script}`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--import", import.meta.resolve("tsx"), "--input-type=module", "--eval", source],
      {
        cwd: fileURLToPath(new URL(".", import.meta.url)),
        env: { ...process.env, FAKE_WORKER: "normal", ...env },
      },
    );
    return stdout;
  }

  test("an idle worker does not keep it alive, and ends with it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mlx-worker-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const farewell = join(folder, "farewell");
    await run("await engine.ping();", { FAKE_WORKER_FAREWELL: farewell });
    await expect.poll(() => existsSync(farewell), { timeout: 10_000 }).toBe(true);
  });

  test("a pending call and a running stream keep it alive", async () => {
    const output = await run(`
      engine.generate({ model: "m", prompt: "p", maxTokens: 500 }).then((result) => console.log(result.tokens.length));
    `);
    expect(output.trim()).toBe("500");
  });

  test("an aborted start does not keep it alive", async () => {
    const output = await run(`
      const controller = new AbortController();
      engine.ping({ signal: controller.signal }).catch((reason) => console.log(reason));
      controller.abort("stopped");
    `);
    expect(output.trim()).toBe("stopped");
  });

  test("close() in an otherwise finished script runs to its end", async () => {
    const output = await run(`
      await engine.ping();
      engine.close().then(() => console.log("closed"));
    `);
    expect(output.trim()).toBe("closed");
  });
});
