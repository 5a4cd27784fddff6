import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { runToEnd } from "../../baseline/json-lines.js";
import { grouped, type Spread, spread } from "../stats.js";
import type { LoadCase, LoadMode } from "./modes.js";
import { LoadingWorker } from "./worker.js";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The functions that look for NaN, by file, and what they return at once in a worker that does not look. */
export const CHECKS: readonly {
  readonly file: string;
  readonly signature: string;
  readonly result: string;
}[] = [
  {
    file: "gpu/load/nan.go",
    signature: "func refuseNaN(data []byte, dtype mlx.DType) error {",
    result: "nil",
  },
  {
    file: "gpu/load/gguf_blocks.go",
    signature: "func (f *blockFormat) damaged(block []byte) bool {",
    result: "false",
  },
];

/** Go source in which a function returns a constant at once. @throws Error when the source has no such function */
export function returningAtOnce(source: string, signature: string, result: string): string {
  const [before, after, ...more] = source.split(`${signature}\n`);
  if (after === undefined || more.length > 0) {
    throw new Error(
      `there is not one "${signature}": bench/lib/loading/nan-check.ts has to follow the source`,
    );
  }
  return `${before}${signature}\n\treturn ${result}\n${after}`;
}

/**
 * Builds the worker as it is and one that does not look for NaN, from the sources of this clone, into a folder. No
 * source is changed.
 */
export async function buildWorkers(folder: string): Promise<{ checking: string; trusting: string }> {
  const replaced: Record<string, string> = {};
  for (const { file, signature, result } of CHECKS) {
    const path = join(ROOT, file);
    const changed = join(folder, file.replaceAll("/", "-"));
    await writeFile(changed, returningAtOnce(await readFile(path, "utf8"), signature, result));
    replaced[path] = changed;
  }
  const overlay = join(folder, "overlay.json");
  await writeFile(overlay, JSON.stringify({ Replace: replaced }));
  const build = async (name: string, ...flags: string[]): Promise<string> => {
    const worker = join(folder, name);
    const script = `
      . "$1/scripts/lib.sh"; shift
      need_deps; go_env; cd "$ROOT"
      exec go build -trimpath -ldflags "-s -w -X main.libraries=$(libraries_key)" "$@" ./cmd/mlx-worker`;
    const args = ["-c", script, "build", ROOT, ...flags, "-o", worker];
    await runToEnd({ file: "bash", args, env: process.env });
    return worker;
  };
  return { checking: await build("checking"), trusting: await build("trusting", "-overlay", overlay) };
}

/** One load by each worker. */
export interface NaNRun {
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  readonly weightsBytes: number;
  /** From 0. */
  readonly cycle: number;
  readonly checkingMs: number;
  readonly trustingMs: number;
}

/** Loads and unloads models by turns in a worker that looks for NaN and in one that does not, from memory. */
export async function measureNaNCheck(
  workers: { readonly checking: string; readonly trusting: string },
  cases: readonly LoadCase[],
  cycles: number,
  env: Readonly<Record<string, string>>,
  onCase: (load: LoadCase) => void,
): Promise<NaNRun[]> {
  const runs: NaNRun[] = [];
  const checking = await LoadingWorker.start(env, workers.checking);
  const trusting = await LoadingWorker.start(env, workers.trusting).catch(async (error: unknown) => {
    await checking.close();
    throw error;
  });
  const time = async (worker: LoadingWorker, load: LoadCase): Promise<number> => {
    const { ms } = await worker.load(load);
    await worker.unload(load);
    return ms;
  };
  try {
    for (const load of cases) {
      onCase(load);
      const { checkpoint, mode } = load;
      for (let cycle = -1; cycle < cycles; cycle++) {
        const first = cycle % 2 === 0 ? await time(checking, load) : undefined;
        const trustingMs = await time(trusting, load);
        const checkingMs = first ?? (await time(checking, load));
        if (cycle < 0) continue; // brings the files into memory
        const { name, weightsBytes } = checkpoint;
        runs.push({ checkpoint: name, mode: mode.name, weightsBytes, cycle, checkingMs, trustingMs });
      }
    }
  } finally {
    await checking.close();
    await trusting.close();
  }
  return runs;
}

/** What looking for NaN costs one case. */
export interface NaNSummary {
  readonly checkpoint: string;
  readonly mode: LoadMode["name"];
  readonly weightsBytes: number;
  /** Milliseconds. */
  readonly checking: Spread;
  readonly trusting: Spread;
  /** With by without, one value a cycle. */
  readonly ratio: Spread;
}

/** The spreads by case, in the order in which they first appear. */
export function summarizeNaNCheck(runs: readonly NaNRun[]): NaNSummary[] {
  return grouped(runs, ({ checkpoint, mode }) => `${checkpoint}\n${mode}`).map((own) => {
    const [{ checkpoint, mode, weightsBytes }] = own as [NaNRun];
    return {
      checkpoint,
      mode,
      weightsBytes,
      checking: spread(own.map((run) => run.checkingMs)),
      trusting: spread(own.map((run) => run.trustingMs)),
      ratio: spread(own.map((run) => run.checkingMs / run.trustingMs)),
    };
  });
}
