import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WorkerNotFoundError } from "../../src/errors.js";
import { type ResolveWorkerOptions, resolveWorker } from "../../src/resolve-worker.js";

let folder: string;
let base: ResolveWorkerOptions;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "resolve-worker-"));
  base = {
    env: {},
    platform: "linux",
    arch: "x64",
    localBin: join(folder, "bin"),
    resolvePackage: (specifier) => {
      throw new Error(`Cannot find module ${specifier}`);
    },
  };
});

afterEach(() => rmSync(folder, { recursive: true }));

function executable(...path: string[]): string {
  const file = join(folder, ...path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "#!/bin/sh\n");
  chmodSync(file, 0o755);
  return file;
}

function failure(options: ResolveWorkerOptions): WorkerNotFoundError {
  try {
    resolveWorker(options);
  } catch (error) {
    if (error instanceof WorkerNotFoundError) return error;
    throw error;
  }
  throw new Error("a worker was found");
}

describe("resolveWorker", () => {
  test("takes the option, then MLX_WORKER_PATH, then the platform package, then the local build", () => {
    const option = executable("option");
    const variable = executable("variable");
    const packaged = executable("package", "bin", "mlx-worker");
    const local = executable("bin", "mlx-worker");

    const withLocal = base;
    expect(resolveWorker(withLocal)).toBe(local);
    const seen: string[] = [];
    const withPackage: ResolveWorkerOptions = {
      ...withLocal,
      resolvePackage: (specifier) => {
        seen.push(specifier);
        return join(folder, "package", "package.json");
      },
    };
    expect(resolveWorker(withPackage)).toBe(packaged);
    expect(seen).toEqual(["@mlx-worker/linux-x64/package.json"]);
    const withVariable = { ...withPackage, env: { MLX_WORKER_PATH: variable } };
    expect(resolveWorker(withVariable)).toBe(variable);
    expect(resolveWorker({ ...withVariable, workerPath: option })).toBe(option);
  });

  test("takes a package in Electron's archive from where its files are unpacked", () => {
    const packaged = executable("app.asar.unpacked", "node_modules", "package", "bin", "mlx-worker");
    const manifest = join(folder, "app.asar", "node_modules", "package", "package.json");
    expect(resolveWorker({ ...base, resolvePackage: () => manifest })).toBe(packaged);
  });

  test("names every place and the usual causes", () => {
    const error = failure(base);
    expect(error).toMatchObject({ name: "WorkerNotFoundError", kind: "WorkerNotFound", code: undefined });
    expect(error.tried).toEqual([
      "option workerPath: not set",
      "environment variable MLX_WORKER_PATH: not set",
      "platform package: @mlx-worker/linux-x64 is not installed",
      `local build: ${join(folder, "bin", "mlx-worker")} (does not exist)`,
    ]);
    for (const place of error.tried) expect(error.message).toContain(place);
    for (const cause of [
      "--omit=optional",
      "another platform",
      "serverExternalPackages",
      "asarUnpack",
      "make setup",
    ])
      expect(error.message).toContain(cause);
  });

  test("a place that was named is not passed over when it is wrong", () => {
    executable("bin", "mlx-worker");
    const missing = join(folder, "missing");
    expect(failure({ ...base, workerPath: missing }).message).toContain(
      `option workerPath: ${missing} (does not exist)`,
    );
    expect(failure({ ...base, env: { MLX_WORKER_PATH: folder } }).message).toContain(
      `${folder} (not a file)`,
    );
    const plain = executable("plain");
    chmodSync(plain, 0o644);
    expect(failure({ ...base, workerPath: plain }).message).toContain(`${plain} (not executable)`);
  });

  test("says which platforms there are when this one is not among them", () => {
    const error = failure({ ...base, platform: "win32", arch: "x64" });
    expect(error.message).toContain("win32-x64");
    expect(error.message).toContain("darwin-arm64, linux-arm64, linux-x64");
  });

  test("a package without its executable is reported and the search goes on", () => {
    const local = executable("bin", "mlx-worker");
    const options = { ...base, resolvePackage: () => join(folder, "package", "package.json") };
    expect(resolveWorker(options)).toBe(local);
  });
});
