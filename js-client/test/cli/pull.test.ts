import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PullResult } from "../../src/cli/hub/pull.js";
import { COMMIT, digestOf, type FakeHub, fakeHub, REPO } from "./fake-hub.js";
import { run, start, temporaryFolder } from "./harness.js";

const WEIGHTS = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251));
const FILES = {
  "config.json": '{"model_type":"llama"}',
  "tokenizer.json": "{}",
  "model.safetensors": WEIGHTS,
  "README.md": "# Tiny",
  LICENSE: "MIT",
  "pytorch_model.bin": "pickle",
  "onnx/model.safetensors": "other",
};
const TAKEN = ["LICENSE", "config.json", "model.safetensors", "tokenizer.json"];

/** Runs `pull` with a hub and a cache folder; the environment may say otherwise. */
async function pull(
  hub: FakeHub,
  cache: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{
  code: number;
  stdout: string;
  stderr: string;
  result: PullResult;
  error: Record<string, unknown>;
}> {
  const environment = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache, ...env };
  const outcome = await run(["pull", REPO, "--json", ...args], { env: environment });
  const value = outcome.stdout === "" ? {} : JSON.parse(outcome.stdout);
  return { ...outcome, result: value, error: value.error };
}

const folderOf = (cache: string): string => join(cache, "models--org--tiny");
const list = (path: string): string[] => (existsSync(path) ? readdirSync(path).sort() : []);

const blobOf = (cache: string): string => join(folderOf(cache), "blobs", digestOf(WEIGHTS));
const incompleteOf = (cache: string): string => `${blobOf(cache)}.mlx-worker.incomplete`;

/** Waits until so many bytes of the weights have come. */
function incompleteHas(cache: string, bytes: number): Promise<void> {
  const path = incompleteOf(cache);
  const size = (): number => (existsSync(path) ? readFileSync(path).length : 0);
  return expect.poll(size, { timeout: 20_000, interval: 5 }).toBe(bytes);
}

/** Nothing that could be taken for a model. */
function expectNoModel(cache: string): void {
  expect(list(join(folderOf(cache), "snapshots"))).toEqual([]);
  expect(list(join(folderOf(cache), "refs"))).toEqual([]);
}

describe("pull", () => {
  test("brings what a model needs into the cache's layout", async () => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    const { code, stderr, result } = await pull(hub, cache);
    expect(code).toBe(0);
    const snapshot = join(folderOf(cache), "snapshots", COMMIT);
    expect(result).toMatchObject({
      repo: REPO,
      revision: "main",
      commit: COMMIT,
      path: snapshot,
      license: "mit",
    });
    expect(result.files.map(({ outcome }) => outcome)).toEqual(TAKEN.map(() => "downloaded"));
    expect(list(snapshot)).toEqual(TAKEN);
    expect(readFileSync(join(snapshot, "model.safetensors"))).toEqual(WEIGHTS);
    expect(readlinkSync(join(snapshot, "config.json"))).toBe(`../../blobs/${digestOf(FILES["config.json"])}`);
    expect(readFileSync(join(folderOf(cache), "refs", "main"), "utf8")).toBe(COMMIT);
    expect(list(join(folderOf(cache), "blobs"))).toEqual(
      [FILES.LICENSE, FILES["config.json"], WEIGHTS, FILES["tokenizer.json"]].map(digestOf).sort(),
    );
    expect(stderr).toContain("4 files, 293.0 KiB, licence mit");
    expect(stderr).not.toContain("\u001b");
  });

  test("does nothing twice", async () => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    await pull(hub, cache);
    const { result } = await pull(hub, cache);
    expect(result.files.map(({ outcome }) => outcome)).toEqual(TAKEN.map(() => "cached"));
    expect(hub.fileRequests).toHaveLength(1);
  });

  test("one repository is pulled by one process at a time; what is left of one that is gone does not matter", async () => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    const lock = join(folderOf(cache), ".mlx-worker.lock");
    mkdirSync(folderOf(cache), { recursive: true });
    writeFileSync(lock, String(process.pid));
    const { code, error } = await pull(hub, cache);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: "Busy", data: { pid: process.pid } });
    expectNoModel(cache);

    const { pid: gone } = spawnSync(process.execPath, ["--version"]);
    writeFileSync(lock, String(gone));
    expect((await pull(hub, cache)).code).toBe(0);
    expect(existsSync(lock)).toBe(false);
  });

  test("prints the path; revisions are branches, tags or commits", async () => {
    const hub = await fakeHub({ files: FILES });
    const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: temporaryFolder() };
    const folder = join(env.HF_HOME, "hub", "models--org--tiny");
    for (const revision of ["v1", COMMIT]) {
      const { stdout } = await run(["pull", `${REPO}@${revision}`, "-q"], { env });
      expect(stdout).toBe(`${join(folder, "snapshots", COMMIT)}\n`);
    }
    expect(list(join(folder, "refs"))).toEqual(["v1"]);
  });

  test("--include, --exclude, --all and --dry-run choose", async () => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    const names = async (...args: string[]): Promise<string[]> =>
      (await pull(hub, cache, ["--dry-run", ...args])).result.files.map(({ path }) => path).sort();
    expect(await names("--include", "*.safetensors")).toEqual([
      "model.safetensors",
      "onnx/model.safetensors",
    ]);
    expect(await names("--include", "README.md", "--include", "tok?nizer.json")).toEqual([
      "README.md",
      "tokenizer.json",
    ]);
    expect(await names("--exclude", "*.json")).toEqual(["LICENSE", "model.safetensors"]);
    expect(await names("--all")).toEqual(Object.keys(FILES).sort());
    expect(list(cache)).toEqual([]);
    const { code, error } = await pull(hub, cache, ["--include", "*.gguf"]);
    expect({ code, kind: error.kind }).toEqual({ code: 1, kind: "NothingToPull" });
  });

  test("takes the only GGUF file, without a config.json that belongs to no weights; of several one is chosen", async () => {
    const one = await fakeHub({ files: { "config.json": "{}", "a-Q4.gguf": WEIGHTS } });
    expect((await pull(one, temporaryFolder())).result.files.map(({ path }) => path)).toEqual(["a-Q4.gguf"]);
    const two = await fakeHub({ files: { "a-Q4.gguf": WEIGHTS, "a-Q8.gguf": "q8" } });
    const { code, error } = await pull(two, temporaryFolder());
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: "SeveralModels", data: { files: ["a-Q4.gguf", "a-Q8.gguf"] } });
    const chosen = await pull(two, temporaryFolder(), ["--include", "*Q8.gguf"]);
    expect(chosen.result.files.map(({ path }) => path)).toEqual(["a-Q8.gguf"]);
  });

  test("the hub gets the token, the server of the files does not", async () => {
    const hub = await fakeHub({ files: FILES, token: "hf_secret" });
    const home = temporaryFolder();
    writeFileSync(join(home, "token"), "hf_secret\n");
    for (const env of [{ HF_TOKEN: "hf_secret" }, { HF_HOME: home }]) {
      const { code, stdout, stderr } = await pull(hub, temporaryFolder(), [], env);
      expect(code).toBe(0);
      expect(stdout + stderr).not.toContain("hf_secret");
    }
    expect(hub.fileRequests).toEqual([{ path: "model.safetensors" }, { path: "model.safetensors" }]);
  });
});

describe("what goes wrong", () => {
  test.each([
    [401, {}, "Unauthorized", "HF_TOKEN"],
    [401, { HF_TOKEN: "wrong" }, "Unauthorized", "refuses the token"],
    [403, {}, "Forbidden", "accept its conditions"],
    [404, {}, "NotFound", "org/tiny at revision main was not found"],
    [400, {}, "HubError", "status 400"],
  ])("status %d %j is %s", async (status, env, kind, message) => {
    const hub = await fakeHub({ files: FILES, status });
    const cache = temporaryFolder();
    const { code, error } = await pull(hub, cache, [], env);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind, data: { status }, message: expect.stringContaining(message) });
    expect(list(cache)).toEqual([]);
  });

  test("a token file that is named and cannot be read is refused", async () => {
    const env = { HF_TOKEN_PATH: "/nowhere/token" };
    const { code, stderr } = await run(["pull", REPO], { env });
    expect(code).toBe(2);
    expect(stderr).toContain("HF_TOKEN_PATH: the token cannot be read: ENOENT");
    const home = temporaryFolder();
    mkdirSync(join(home, "token"));
    const byDefault = await run(["pull", REPO], { env: { HF_HOME: home } });
    expect(byDefault.stderr).toContain("the token cannot be read: EISDIR");
  });

  test("a hub that cannot be reached", async () => {
    const hub = { endpoint: "http://127.0.0.1:1", requests: [], fileRequests: [] };
    const { code, error } = await pull(hub, temporaryFolder());
    expect({ code, kind: error.kind }).toEqual({ code: 1, kind: "NetworkError" });
    const bad = await run(["pull", REPO], { env: { HF_ENDPOINT: "huggingface.co" } });
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain("HF_ENDPOINT");
  });

  test("HF_HUB_OFFLINE uses no network", async () => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    const offline = { HF_HUB_OFFLINE: "1" };
    const missing = await pull(hub, cache, [], offline);
    expect({ code: missing.code, kind: missing.error.kind }).toEqual({ code: 1, kind: "Offline" });
    expect(hub.requests).toEqual([]);
    await pull(hub, cache);
    const before = hub.requests.length;
    expect((await pull(hub, cache, [], offline)).result).toMatchObject({ commit: COMMIT });
    const listed = await run(["pull", REPO, "--dry-run", "--exclude", "LICENSE"], {
      env: { HF_HUB_CACHE: cache, ...offline },
    });
    expect(listed.stdout).toBe("config.json\nmodel.safetensors\ntokenizer.json\n");
    const absent = await pull(hub, cache, ["--include", "README.md"], offline);
    expect({ code: absent.code, kind: absent.error.kind }).toEqual({ code: 1, kind: "NothingToPull" });
    rmSync(blobOf(cache));
    expect((await pull(hub, cache, [], offline)).error.kind).toBe("NothingToPull");
    expect(hub.requests).toHaveLength(before);
  });

  test("Ctrl-C leaves nothing that looks complete, and the next pull goes on", async () => {
    const half = WEIGHTS.length / 2;
    const hub = await fakeHub({
      files: FILES,
      intercept: ({ content, earlier, response }) => {
        if (earlier > 0) return false;
        response.writeHead(200, { "content-length": content.length });
        response.write(content.subarray(0, half)); // and no more
        return true;
      },
    });
    const cache = temporaryFolder();
    const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache };
    const running = start(["pull", REPO, "--json"], { env });
    await incompleteHas(cache, half);
    running.interrupt();
    expect(await running.done).toBe(130);
    expectNoModel(cache);

    const { code, result } = await pull(hub, cache);
    expect(code).toBe(0);
    expect(result.files.find(({ path }) => path === "model.safetensors")?.outcome).toBe("resumed");
    expect(hub.fileRequests.at(-1)?.range).toBe(`bytes=${half}-`);
    expect(readFileSync(join(result.path, "model.safetensors"))).toEqual(WEIGHTS);
    expect(existsSync(incompleteOf(cache))).toBe(false);
  });

  test("a connection that breaks is taken up again", async () => {
    let broken: ServerResponse | undefined;
    const hub = await fakeHub({
      files: FILES,
      intercept: ({ content, earlier, response }) => {
        if (earlier > 0) return false;
        response.writeHead(200, { "content-length": content.length });
        response.write(content.subarray(0, 1000));
        broken = response;
        return true;
      },
    });
    const cache = temporaryFolder();
    const running = start(["pull", REPO], { env: { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache } });
    await incompleteHas(cache, 1000);
    broken?.destroy();
    expect(await running.done).toBe(0);
    expect(hub.fileRequests.map(({ range }) => range)).toEqual([undefined, "bytes=1000-"]);
    const path = join(folderOf(cache), "snapshots", COMMIT, "model.safetensors");
    expect(readFileSync(path)).toEqual(WEIGHTS);
  });

  test("a server that knows no ranges sends all again", async () => {
    const hub = await fakeHub({
      files: FILES,
      intercept: ({ content, response }) => {
        response.writeHead(200, { "content-length": content.length });
        response.end(content);
        return true;
      },
    });
    const cache = temporaryFolder();
    const blobs = join(folderOf(cache), "blobs");
    mkdirSync(blobs, { recursive: true });
    writeFileSync(join(blobs, `${digestOf(WEIGHTS)}.mlx-worker.incomplete`), WEIGHTS.subarray(0, 5000));
    const { code, result } = await pull(hub, cache);
    expect(code).toBe(0);
    expect(readFileSync(join(result.path, "model.safetensors"))).toEqual(WEIGHTS);
    expect(hub.fileRequests.map(({ range }) => range)).toEqual(["bytes=5000-", undefined]);
  });

  test.each([
    ["wrong bytes", Buffer.alloc(5000)],
    ["too many bytes", Buffer.alloc(WEIGHTS.length + 1)],
  ])("an incomplete file with %s is begun again", async (_, content) => {
    const hub = await fakeHub({ files: FILES });
    const cache = temporaryFolder();
    const blobs = join(folderOf(cache), "blobs");
    mkdirSync(blobs, { recursive: true });
    writeFileSync(join(blobs, `${digestOf(WEIGHTS)}.mlx-worker.incomplete`), content);
    const { code, result } = await pull(hub, cache);
    expect(code).toBe(0);
    expect(readFileSync(join(result.path, "model.safetensors"))).toEqual(WEIGHTS);
  });

  test("content that is not what the hub says is refused and removed", async () => {
    const hub = await fakeHub({
      files: FILES,
      intercept: ({ content, response }) => {
        const wrong = Buffer.from(content);
        wrong[1234] = 255;
        response.writeHead(200, { "content-length": content.length });
        response.end(wrong);
        return true;
      },
    });
    const cache = temporaryFolder();
    const { code, error } = await pull(hub, cache);
    expect({ code, kind: error.kind }).toEqual({ code: 1, kind: "ChecksumMismatch" });
    expect(list(join(folderOf(cache), "blobs")).filter((name) => name.startsWith(digestOf(WEIGHTS)))).toEqual(
      [],
    );
    expectNoModel(cache);
  });

  test("a file that does not fit on the disk is not begun", async () => {
    const listed = [
      { type: "file", path: "model-2.safetensors", size: 2 ** 52, oid: "b".repeat(40) },
      { type: "directory", path: "onnx", size: 0, oid: "c".repeat(40) },
    ];
    const hub = await fakeHub({ files: FILES, listed });
    const cache = temporaryFolder();
    const { code, error } = await pull(hub, cache);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: "DiskFull", data: { available_bytes: expect.any(Number) } });
    expect(list(join(folderOf(cache), "blobs"))).toEqual([]);
  });

  test.each(["../escape", "a//b", "/etc/passwd", "a\\b", "."])(
    "a listing with %j is refused",
    async (path) => {
      const listed = [{ type: "file", path, size: 1, oid: "b".repeat(40) }];
      const cache = temporaryFolder();
      const { code, error } = await pull(await fakeHub({ files: FILES, listed }), cache);
      expect({ code, kind: error.kind }).toEqual({ code: 1, kind: "BadListing" });
      expect(list(cache)).toEqual([]);
    },
  );

  test("a cache that cannot be written", async () => {
    const cache = join(temporaryFolder(), "file");
    writeFileSync(cache, "");
    const { code, error } = await pull(await fakeHub({ files: FILES }), cache);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: "CannotWrite", message: expect.stringContaining("ENOTDIR") });
  });
});
