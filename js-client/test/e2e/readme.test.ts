import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { MODEL_FILE, ROOT } from "./paths.js";

const run = promisify(execFile);

/** The first TypeScript block of a document, as it is printed there. */
function exampleOf(document: string): string {
  const block = /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(ROOT, document), "utf8"));
  if (block?.[1] === undefined) throw new Error(`${document} has no block of TypeScript`);
  return block[1];
}

test.each([
  // The root's example is run from the root, the package's from the folder of the model.
  ["README.md", ROOT],
  ["js-client/README.md", dirname(MODEL_FILE)],
])("the example of %s runs as printed", async (document, cwd) => {
  const example = exampleOf(document);
  expect(example.trim().split("\n").length).toBeLessThanOrEqual(14);
  expect(example).toContain('from "mlx-worker"');

  const folder = join(ROOT, "js-client", "node_modules", ".readme-example");
  mkdirSync(folder, { recursive: true });
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "example.mts");
  writeFileSync(file, example);

  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const lib = "ES2023,ESNext.Disposable";
  await run(
    process.execPath,
    [
      tsc,
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
      "--module",
      "nodenext",
      "--lib",
      lib,
      "--types",
      "node",
      file,
    ],
    { cwd: ROOT },
  );

  const { stdout } = await run(process.execPath, ["--import", import.meta.resolve("tsx"), file], {
    cwd,
    timeout: 110_000,
  });
  expect(stdout).toMatch(/\w+/);
});
