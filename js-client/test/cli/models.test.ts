import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { runWorker } from "../../src/cli/worker-binary.js";
import { rejection } from "../fake/fake-engine.js";
import { run, temporaryFolder } from "./harness.js";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const CONFIG = JSON.stringify({
  model_type: "qwen3",
  max_position_embeddings: 4096,
  quantization: { bits: 8, group_size: 64 },
});

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** A folder of models and a cache with one model, one incomplete download and one empty repository. */
function world(): { env: Record<string, string>; models: string; hub: string } {
  const root = temporaryFolder();
  const [models, hub] = [join(root, "models"), join(root, "hub")];
  write(join(models, "folder", "config.json"), CONFIG);
  write(join(models, "org", "strange", "config.json"), CONFIG);
  write(join(models, "file.gguf"), "12345678");
  write(join(models, "one", "only.gguf"), "1234");
  write(join(models, "several", "a.gguf"), "");
  write(join(models, "several", "b.gguf"), "");
  write(join(models, "notes.txt"), "");
  const repo = join(hub, "models--org--tiny");
  write(join(repo, "blobs", "c0ffee"), CONFIG);
  write(join(repo, "blobs", "decade.mlx-worker.incomplete"), "123");
  write(join(repo, "refs", "main"), COMMIT);
  write(join(repo, "refs", "pr", "1"), COMMIT);
  mkdirSync(join(repo, "snapshots", COMMIT), { recursive: true });
  symlinkSync("../../blobs/c0ffee", join(repo, "snapshots", COMMIT, "config.json"));
  mkdirSync(join(hub, "models--org--empty"), { recursive: true });
  mkdirSync(join(hub, "datasets--org--data"), { recursive: true });
  return { env: { MLX_MODELS_DIR: models, HF_HUB_CACHE: hub }, models, hub };
}

describe("models", () => {
  test("lists both places with sizes, architectures and support", async () => {
    const { env, models, hub } = world();
    const { code, stdout } = await run(["models", "--json"], { env });
    expect(code).toBe(0);
    const size = CONFIG.length;
    const snapshot = join(hub, "models--org--tiny", "snapshots", COMMIT);
    const facts = {
      architecture: "llama",
      supported: true,
      quantization: "4 bit affine",
      contextLength: 2048,
    };
    const inFolder = { source: "models-dir", ...facts };
    const inHub = { source: "hub-cache", path: snapshot, sizeBytes: size, ...facts };
    expect(JSON.parse(stdout)).toEqual({
      modelsDir: models,
      hubCache: hub,
      models: [
        { id: "file", path: join(models, "file.gguf"), sizeBytes: 8, unsupported: [], ...inFolder },
        { id: "folder", path: join(models, "folder"), sizeBytes: size, unsupported: [], ...inFolder },
        { id: "one", path: join(models, "one", "only.gguf"), sizeBytes: 4, unsupported: [], ...inFolder },
        {
          id: "org/strange",
          path: join(models, "org", "strange"),
          sizeBytes: size,
          ...inFolder,
          architecture: "strange",
          supported: false,
          unsupported: ["no family for model_type strange"],
        },
        {
          id: "several/a",
          path: join(models, "several", "a.gguf"),
          sizeBytes: 0,
          unsupported: [],
          ...inFolder,
        },
        {
          id: "several/b",
          path: join(models, "several", "b.gguf"),
          sizeBytes: 0,
          unsupported: [],
          ...inFolder,
        },
        { id: "org/tiny", revision: "main", unsupported: [], ...inHub },
        { id: "org/tiny@pr/1", revision: "pr/1", unsupported: [], ...inHub },
      ],
      incomplete: [{ id: "org/tiny", sizeBytes: 3 }],
    });
  });

  test("prints a table, and what is incomplete beside it", async () => {
    const { env } = world();
    const { stdout, stderr } = await run(["models"], { env });
    expect(stdout).toMatch(/^MODEL +SIZE +ARCHITECTURE +QUANTISATION +SUPPORTED +FOUND IN$/m);
    expect(stdout).toMatch(/^file +8 B +llama +4 bit affine +yes +models-dir$/m);
    expect(stdout).toMatch(/^org\/strange .* no +models-dir$/m);
    expect(stderr).toContain("incomplete: org/tiny (3 B); mlx-worker pull org/tiny goes on");
    expect(stderr).toContain("org/strange: no family for model_type strange");
  });

  test.each([
    [[], { FAKE_NO_INSPECT: "1" }],
    [[], { MLX_WORKER_PATH: "/nowhere" }],
    [["--fast"], {}],
  ])("config.json tells what it can without the worker's inspect: %j %j", async (args, env) => {
    const { env: places } = world();
    const { code, stdout } = await run(["models", "--json", ...args], { env: { ...places, ...env } });
    expect(code).toBe(0);
    const { models } = JSON.parse(stdout) as { models: { id: string }[] };
    expect(models.find(({ id }) => id === "folder")).toMatchObject({
      architecture: "qwen3",
      quantization: "8 bit affine",
      contextLength: 4096,
    });
    expect(models.find(({ id }) => id === "folder")).not.toHaveProperty("supported");
    expect(models.find(({ id }) => id === "file")).not.toHaveProperty("architecture");
  });

  test("names a models folder that is not there, whatever else there is", async () => {
    const { env, models } = world();
    const missing = join(models, "missing");
    for (const options of [
      { args: ["--models-dir", missing], env },
      { args: [], env: { ...env, MLX_MODELS_DIR: missing } },
    ]) {
      const { stdout, stderr } = await run(["models", ...options.args], { env: options.env });
      expect(stdout).toMatch(/^org\/tiny .* hub-cache$/m);
      expect(stderr).toContain(`the models folder ${missing} does not exist\n`);
    }
  });

  test("asks the worker about each model once", async () => {
    const { env, hub } = world();
    const { requests } = await run(["models"], { env });
    const asked = requests("inspect").map(({ path }) => path);
    expect(asked).toContain(join(hub, "models--org--tiny", "snapshots", COMMIT));
    expect(asked).toHaveLength(new Set(asked).size);
  });

  test.each([
    ["is missing", { MLX_WORKER_PATH: "/nowhere" }, "/nowhere (does not exist)"],
    ["is too old", { FAKE_NO_INSPECT: "1" }, "too old to inspect models"],
    ["crashes", { FAKE_FATAL: "1" }, "was ended by SIGKILL: fatal: out of luck"],
    ["says nothing", { FAKE_SPEECHLESS: "1" }, "ended with exit code 2: mlx-worker: no words"],
  ])("tells that the worker %s", async (_, env, problem) => {
    const { env: places } = world();
    const { code, stdout, stderr } = await run(["models"], { env: { ...places, ...env } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^folder .* qwen3 .* not known +models-dir$/m);
    expect(stderr).toContain(problem);
  });

  test("tells of a folder that cannot be read", async () => {
    const { env, models } = world();
    symlinkSync("loop", join(models, "loop"));
    const looping = await run(["models"], { env });
    expect(looping.stdout).toMatch(/^file /m);
    expect(looping.stderr).toContain(`${join(models, "loop")} cannot be read: ELOOP`);
    const notes = join(models, "notes.txt");
    const wrong = { ...env, MLX_MODELS_DIR: notes };
    expect((await run(["models"], { env: wrong })).stderr).toContain(`${notes} cannot be read: ENOTDIR`);
    const inspected = await run(["inspect", "org/nothing"], { env: wrong });
    expect(inspected.stderr).toContain(`${notes} cannot be read: ENOTDIR`);
  });

  test("says where it looked when there are none", async () => {
    const { code, stdout, stderr } = await run(["models"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain("mlx-worker pull REPO gets one");
  });
});

describe("inspect", () => {
  test("is the worker's, by path or by id, with its exit code", async () => {
    const { env, models } = world();
    expect(await run(["inspect", join(models, "folder")], { env })).toMatchObject({
      code: 0,
      stdout: "architecture  llama\n",
    });
    const byId = await run(["inspect", "org/tiny", "--json"], { env });
    expect(JSON.parse(byId.stdout)).toMatchObject({ architecture: "llama", supported: true });
    expect((await run(["inspect", "org/strange"], { env })).code).toBe(1);
    const missing = await run(["inspect", "org/nothing"], { env });
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("org/nothing does not exist");
  });

  test("says how the worker ended that gave no answer", async () => {
    const { env, models } = world();
    const path = join(models, "folder");
    const crashed = await run(["inspect", path, "--json"], { env: { ...env, FAKE_FATAL: "1" } });
    expect(crashed.code).toBe(1);
    expect(crashed.stderr).toContain(`inspect ${path} --json was ended by SIGKILL: fatal: out of luck`);
    expect(JSON.parse(crashed.stdout)).toMatchObject({ error: { kind: "WorkerCrashed" } });
    const late = await rejection(runWorker("sleep", ["60"], process.env, 50));
    expect(late).toMatchObject({ kind: "WorkerTimeout", message: "sleep 60 did not end within 50 ms" });
  });

  test("tells what config.json says where the worker is too old", async () => {
    const { env, models } = world();
    const old = { ...env, FAKE_NO_INSPECT: "1" };
    const { code, stdout, stderr } = await run(["inspect", join(models, "folder")], { env: old });
    expect(code).toBe(1);
    expect(stdout).toContain("architecture  qwen3");
    expect(stderr).toContain("too old to inspect models");
    const json = await run(["inspect", join(models, "folder"), "--json"], { env: old });
    expect(JSON.parse(json.stdout)).toMatchObject({ architecture: "qwen3", supported: null });
  });
});
