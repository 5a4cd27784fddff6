import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { BUILT_CLIENT, ROOT } from "./paths.js";

const DIST = dirname(BUILT_CLIENT);

/** Runs a program that imports the built package by its name; it finds the worker of this checkout. */
async function run(inputType: "module" | "commonjs", source: string): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [`--input-type=${inputType}`, "--eval", source],
    {
      cwd: ROOT,
      timeout: 60_000,
    },
  );
  return stdout.trim();
}

const USE = `
  const engine = createEngine();
  const { protocol } = await engine.runtimeInfo();
  const error = await engine.loadModel("no-such-model").catch((error) => error);
  await engine.close();
  console.log(protocol, error instanceof ModelLoadError);`;

test("the declarations have no any", () => {
  const files = readdirSync(DIST).filter((name) => /\.d\.[cm]ts$/.test(name));
  expect(files).toEqual(
    expect.arrayContaining(["index.d.mts", "index.d.cts", "compat.d.mts", "compat.d.cts"]),
  );
  for (const file of files) {
    const code = readFileSync(join(DIST, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    expect(code).toContain("export");
    expect(code.match(/.*\bany\b.*/g) ?? []).toEqual([]);
  }
});

const USE_COMPAT = `
  const engine = await createEngine();
  const { protocol } = await engine.getRuntimeInfo();
  const error = await engine.loadModel("no-such-model").catch((error) => error);
  await engine.shutdown();
  console.log(protocol, error instanceof EngineClientError, error.cause.name);`;

test("import and require of the compat entry", async () => {
  const names = "{ createEngine, EngineClientError }";
  const imported = await run("module", `import ${names} from "mlx-worker/compat";${USE_COMPAT}`);
  expect(imported).toBe("json-rpc-2.0 true ModelLoadError");
  const source = `const ${names} = require("mlx-worker/compat"); (async () => {${USE_COMPAT}})();`;
  expect(await run("commonjs", source)).toBe(imported);
});

test("import", async () => {
  expect(await run("module", `import { createEngine, ModelLoadError } from "mlx-worker";${USE}`)).toBe(
    "1 true",
  );
});

test("require", async () => {
  const source = `const { createEngine, ModelLoadError } = require("mlx-worker"); (async () => {${USE}})();`;
  expect(await run("commonjs", source)).toBe("1 true");
});
