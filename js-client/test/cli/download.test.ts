import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { progressBars } from "../../src/cli/hub/bars.js";
import { writing } from "../../src/cli/hub/cache.js";
import { matchesGlob } from "../../src/cli/hub/glob.js";
import { pull } from "../../src/cli/hub/pull.js";
import { PullError } from "../../src/cli/hub/settings.js";
import { processIo } from "../../src/cli/io.js";
import { rejection } from "../fake/fake-engine.js";
import { COMMIT, type FakeHub, fakeHub, REPO } from "./fake-hub.js";
import { temporaryFolder } from "./harness.js";

const WEIGHTS = Buffer.alloc(5000, 7);

const pullFrom = (hub: FakeHub, retryDelaysMs: readonly number[]): Promise<unknown> =>
  pull(
    { repo: REPO, revision: COMMIT },
    {
      settings: { endpoint: hub.endpoint, token: undefined, cacheDir: temporaryFolder(), offline: false },
      signal: new AbortController().signal,
      retryDelaysMs,
      progress: { onStart() {}, onBytes() {}, onFile() {} },
    },
  );

describe("attempts", () => {
  test.each([503, 429])("status %d is tried again, as often as there are pauses", async (status) => {
    const hub = await fakeHub({
      files: { "model.gguf": WEIGHTS },
      intercept: ({ earlier, response }) => {
        if (earlier >= 3) return false;
        response.writeHead(status).end();
        return true;
      },
    });
    const error = await rejection(pullFrom(hub, [0]));
    expect(error).toBeInstanceOf(PullError);
    expect(error).toMatchObject({ kind: "HubError", data: { status } });
    expect(hub.fileRequests).toHaveLength(2);
    await pullFrom(hub, [0]);
    expect(hub.fileRequests).toHaveLength(4);
  });

  test("status 404 of a file is not", async () => {
    const hub = await fakeHub({
      files: { "model.gguf": WEIGHTS },
      intercept: ({ response }) => {
        response.writeHead(404).end();
        return true;
      },
    });
    expect(await rejection(pullFrom(hub, [0, 0]))).toMatchObject({ kind: "NotFound" });
    expect(hub.fileRequests).toHaveLength(1);
  });
});

test.each(["ENOSPC", "EDQUOT"])("a disk that is full while writing (%s) is a typed error", async (code) => {
  const full = Object.assign(new Error("no space"), { code });
  expect(await rejection(writing("/cache", () => Promise.reject(full)))).toMatchObject({
    kind: "DiskFull",
    cause: full,
  });
});

test.each([
  ["model-1.safetensors", "model*.safetensors", false, true],
  ["onnx/model.safetensors", "model*.safetensors", false, false],
  ["onnx/model.safetensors", "*.safetensors", true, true],
  ["config.json", "config?json", false, true],
  ["configXjson", "config.json", false, false],
  ["a+b", "a+b", false, true],
])("%s fits %s (any folder: %s): %s", (path, pattern, anyFolder, fits) => {
  expect(matchesGlob(path, pattern, anyFolder)).toBe(fits);
});

describe("progress", () => {
  const file = { path: "model.safetensors", size: 2048, digest: "" };
  const snapshot = { repo: REPO, revision: "main", commit: COMMIT, license: undefined, files: [file] };

  /** What is printed while a file comes in. */
  function shown(isTTY: boolean, env: Readonly<Record<string, string>>): string {
    const stderr = Object.assign(new PassThrough(), { isTTY, columns: 80 });
    const bars = progressBars({ ...processIo(), stderr, env }, false);
    bars.onStart(snapshot, [file]);
    bars.onBytes(file, 1024);
    bars.onFile(file, "downloaded");
    return String(stderr.read());
  }

  const LINES = "org/tiny 0123456789ab: 1 files, 2.0 KiB\nmodel.safetensors     2.0 KiB  downloaded\n";

  test("is a bar on a terminal, and lines anywhere else", () => {
    expect(shown(true, {})).toContain("\r\u001b[Kmodel.safetensors  █");
    expect(shown(true, {})).toMatch(/█░+ {3}50 % {2}1\.0 KiB of 2\.0 KiB/);
    expect(shown(false, {})).toBe(LINES);
    expect(shown(true, { NO_COLOR: "1" })).toBe(LINES);
    expect(shown(true, { TERM: "dumb" })).toBe(LINES);
  });
});
