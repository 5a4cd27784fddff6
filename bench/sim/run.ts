import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RESULT_FLAGS, type ResultOptions } from "../lib/args.js";
import { runCommand } from "../lib/command.js";
import { type FlagTable, integer, text, toggle } from "../lib/flags.js";
import { writeResult } from "../lib/result.js";
import { plotNames, renderPlot } from "./plot.js";
import type { Simulation } from "./result.js";
import { withTables } from "./tables.js";

interface Options extends ResultOptions {
  readonly requests: number;
  readonly seed: number;
  readonly sweeps: string;
  readonly docs: boolean;
}

const ALL = "all";

const FLAGS: FlagTable<Options> = {
  requests: {
    option: "--requests",
    value: "<n>",
    doc: "requests of a trace (100 to 1000000); some sweeps take a fifth",
    parse: integer(100, 1_000_000),
    default: 10_000,
  },
  seed: {
    option: "--seed",
    value: "<n>",
    doc: "seed of the traces",
    parse: integer(0, 2 ** 31 - 1),
    default: 1,
  },
  sweeps: {
    option: "--sweeps",
    value: "<names>",
    doc: "load,rows,window,prefill,target,ahead or some of them",
    parse: text,
    default: ALL,
  },
  output: { ...RESULT_FLAGS.output, doc: "where the JSON result goes" },
  docs: toggle("--docs", "write the plots and tables of docs/scheduling.md again"),
  json: RESULT_FLAGS.json,
  help: RESULT_FLAGS.help,
};

const DOCUMENT = "docs/scheduling.md";

/** Runs the sweeps in the Go test binary, whose fake time makes hours of traffic take minutes. */
async function simulate(options: Options): Promise<Simulation> {
  const folder = await mkdtemp(join(tmpdir(), "mlx-worker-sim-"));
  try {
    const file = join(folder, "result.json");
    const args = ["test", "-run", "^TestSimulate$", "-count=1", "-timeout=0", "-v", "./bench/sim", "-args"];
    args.push("-out", file, "-requests", String(options.requests), "-seed", String(options.seed));
    if (options.sweeps !== ALL) args.push("-sweeps", options.sweeps);
    const code = await new Promise<number | null>((resolve, reject) => {
      // One line a trace goes to stderr as it comes.
      spawn("go", args, { stdio: ["ignore", process.stderr, process.stderr] })
        .on("error", reject)
        .on("close", resolve);
    });
    if (code !== 0) throw new Error(`the simulation failed: go test ended with ${code}`);
    return JSON.parse(await readFile(file, "utf8")) as Simulation;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(options: Options): Promise<number> {
  const output = options.json ? process.stderr : process.stdout;
  const simulation = await simulate(options);
  const result = { schemaVersion: 1, benchmark: "sim", timestamp: new Date().toISOString(), ...simulation };
  const files = await writeResult(options.output, result);
  if (options.docs) {
    for (const name of plotNames(simulation)) {
      const file = `docs/scheduling-${name}.svg`;
      await writeFile(file, await renderPlot(simulation, name));
      files.push(file);
    }
    await writeFile(DOCUMENT, withTables(await readFile(DOCUMENT, "utf8"), simulation));
    files.push(DOCUMENT);
  }
  for (const file of files) output.write(`written: ${file}\n`);
  if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  return 0;
}

await runCommand("npm run bench:sim -- [options]", FLAGS, run);
