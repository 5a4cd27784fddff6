import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createEngine,
  InvalidParamsError,
  ProtocolError,
  WorkerNotFoundError,
  WorkerStartError,
} from "../../src/index.js";
import { FAKE_WORKER, fakeEngine, isAlive, rejection, workerFacts } from "./fake-engine.js";

describe("start", () => {
  test("the constructor starts nothing and concurrent first calls share one worker", async () => {
    const engine = fakeEngine();
    const infos = await Promise.all(Array.from({ length: 8 }, () => engine.runtimeInfo()));
    expect(new Set(infos.map((info) => info.pid)).size).toBe(1);
    expect((await engine.runtimeState()).restartCount).toBe(0);
  });

  test("an engine that is never used is closed without a worker", async () => {
    await createEngine({ workerPath: "/nowhere" }).close();
  });

  test("the worker gets the environment and the folder of the options", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mlx-worker-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const engine = fakeEngine("normal", {
      cwd: folder,
      modelsDir: "models",
      logLevel: "warn",
      maxFrameBytes: 4096 * 16,
      env: { EXTRA: "1", HOME: undefined },
    });
    const facts = await workerFacts(engine);
    expect(facts.env).toMatchObject({
      EXTRA: "1",
      MLX_MODELS_DIR: join(folder, "models"),
      MLX_LOG_LEVEL: "warn",
      MLX_MAX_FRAME_BYTES: "65536",
    });
    expect(facts.env).not.toHaveProperty("HOME");
    expect(facts.cwd).toBe(folder);
  });

  test("a worker that never becomes ready is killed", async () => {
    const engine = fakeEngine("never-ready", { startTimeoutMs: 3000 });
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(WorkerStartError);
    expect(error).toMatchObject({ kind: "WorkerStartFailed", stderrTail: "still loading the runtime\n" });
    expect(String(error)).toContain("not ready within 3000 ms");
  });

  test("a worker that ends before it is ready is reported with its stderr, and the next call tries again", async () => {
    const engine = fakeEngine("exit-early");
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const error = await rejection(engine.ping());
      expect(error).toBeInstanceOf(WorkerStartError);
      expect(error).toMatchObject({ exitCode: 2, signal: null });
      expect(String(error)).toContain("MLX_GPU_SCHEDULER_WINDOW_MS=9: accepted: 0.75 to 5");
    }
  });

  test("all calls that wait for the start fail with it", async () => {
    const engine = fakeEngine("exit-early");
    const outcomes = await Promise.allSettled([
      engine.ping(),
      engine.loadModel("m"),
      engine.generate({ model: "m", prompt: "p" }),
      engine.createGenerator({ model: "m", prompt: "p" }).next(),
    ]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { kind: "WorkerStartFailed" } });
    }
  });

  test.each([
    ["wrong-protocol", /speaks protocol 99, this client speaks 1/],
    ["no-ready", /first message is not worker\/ready/],
    ["garbage", /not a stream of frames.*MLX Runtime ready/],
    ["not-msgpack", /does not hold MessagePack/],
    ["not-a-map", /does not hold a MessagePack map/],
  ])("%s is a protocol error, and the process is ended", async (mode, message) => {
    const engine = fakeEngine(mode);
    const error = await rejection(engine.ping());
    expect(error).toBeInstanceOf(ProtocolError);
    expect(String(error)).toMatch(message);
  });

  test("a program that cannot be run is a failed start with its cause", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mlx-worker-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "mlx-worker");
    writeFileSync(path, "#!/no/such/interpreter\n");
    chmodSync(path, 0o755);
    const error = await rejection(fakeEngine("normal", { workerPath: path }).ping());
    expect(error).toBeInstanceOf(WorkerStartError);
    expect((error as WorkerStartError).cause).toMatchObject({ code: "ENOENT" });
  });

  test("a working folder that does not exist is a failed start", async () => {
    const error = await rejection(
      fakeEngine("normal", { cwd: join(tmpdir(), "does", "not", "exist") }).ping(),
    );
    expect(error).toBeInstanceOf(WorkerStartError);
  });

  test("a missing worker is reported by every kind of call, not thrown out of it", async () => {
    const engine = createEngine({ workerPath: "/nowhere/mlx-worker" });
    expect(await rejection(engine.ping())).toBeInstanceOf(WorkerNotFoundError);
    expect(await rejection(engine.generate({ model: "m", prompt: "p" }))).toBeInstanceOf(WorkerNotFoundError);
    const [item] = engine.batchGenerate([{ model: "m", prompt: "p" }]);
    expect(await rejection(item ?? Promise.resolve())).toBeInstanceOf(WorkerNotFoundError);
    expect(await rejection(engine.createGenerator({ model: "m", prompt: "p" }).next())).toBeInstanceOf(
      WorkerNotFoundError,
    );
  });

  test("unknown options are refused by name", () => {
    expect(() => createEngine({ pythonPath: "python3" } as object)).toThrow(InvalidParamsError);
    expect(() => createEngine({ pythonPath: "python3" } as object)).toThrow(
      /createEngine: unknown parameter "pythonPath"/,
    );
    expect(() => createEngine({ env: { MLX_METRICS_PORT: 9090 } } as object)).toThrow(
      /env.*an object of strings/,
    );
    expect(() => createEngine({ startTimeoutMs: "1" } as object)).toThrow(/startTimeoutMs/);
  });

  test("onStderr gets the log, and what it throws is a warning", async () => {
    const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
    const seen: string[] = [];
    const engine = fakeEngine("exit-early", {
      onStderr: (text) => {
        seen.push(text);
        throw new Error("listener failed");
      },
    });
    await rejection(engine.ping());
    expect(seen.join("")).toContain("accepted: 0.75 to 5");
    expect((await warning).message).toBe("listener failed");
  });

  test("MLX_WORKER_PATH of the options' environment finds the worker", async () => {
    const engine = createEngine({ env: { MLX_WORKER_PATH: FAKE_WORKER } });
    onTestFinished(() => engine.close());
    const { pid } = await engine.runtimeInfo();
    expect(isAlive(pid)).toBe(true);
  });
});
