import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT } from "./paths.js";

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

test("import", async () => {
  expect(await run("module", `import { createEngine, ModelLoadError } from "mlx-worker";${USE}`)).toBe(
    "1 true",
  );
});

test("require", async () => {
  const source = `const { createEngine, ModelLoadError } = require("mlx-worker"); (async () => {${USE}})();`;
  expect(await run("commonjs", source)).toBe("1 true");
});
