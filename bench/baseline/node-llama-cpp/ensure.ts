import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BaselineSetupError } from "../ensure.js";
import { type RunnerCommand, runToEnd } from "../json-lines.js";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(here, "../../../.deps/baseline/node-llama-cpp");
const PINNED = ["package.json", "package-lock.json"] as const;

/**
 * Installs node-llama-cpp as package-lock.json pins it, without its libraries for GPUs and other systems and without
 * running any script of a package. Takes no time when it is there.
 *
 * @param log receives one line for each step that takes time
 * @returns the command of its runner
 * @throws BaselineSetupError when it cannot be had
 */
export async function ensureNodeLlamaCpp(log: (line: string) => void): Promise<RunnerCommand> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw unavailable("its prebuilt library is pinned for Linux on x86-64 alone");
  }
  const hash = createHash("sha256");
  for (const file of PINNED) hash.update(await readFile(join(here, file)));
  const wanted = hash.digest("hex");
  const marker = join(folder, "lock.sha256");
  const present = existsSync(marker) ? (await readFile(marker, "utf8")).trim() : undefined;
  if (present !== wanted) await install(marker, wanted, log);
  return { file: process.execPath, args: [join(here, "runner.mjs"), folder], env: process.env };
}

async function install(marker: string, wanted: string, log: (line: string) => void): Promise<void> {
  await rm(marker, { force: true });
  await mkdir(folder, { recursive: true });
  for (const file of PINNED) await copyFile(join(here, file), join(folder, file));
  log("baseline: installing node-llama-cpp (once; about 85 MB)");
  const settings = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  try {
    await runToEnd({ file: "npm", args: ["ci", "--prefix", folder, ...settings], env: process.env });
  } catch (cause) {
    throw unavailable("npm could not install it (its message is above)", cause);
  }
  await writeFile(marker, `${wanted}\n`);
}

function unavailable(why: string, cause?: unknown): BaselineSetupError {
  return new BaselineSetupError(
    `node-llama-cpp is not available: ${why}. Without it: --engines mlx-worker,mlx-lm`,
    { cause },
  );
}
