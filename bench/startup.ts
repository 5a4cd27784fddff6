/** Start-up time of the worker, and its memory before any model. Format of the result: README.md. */
import { resolveWorker } from "../js-client/src/resolve-worker.js";
import { RESULT_FLAGS, type ResultOptions } from "./lib/args.js";
import { runCommand } from "./lib/command.js";
import { type FlagTable, integer } from "./lib/flags.js";
import { duration, megabytes } from "./lib/format.js";
import { thisMachine } from "./lib/machine.js";
import { deliver, workerEnvironment } from "./lib/result.js";
import { probeStartup, type Startup } from "./lib/startup-probe.js";
import { describe, described } from "./lib/stats.js";

interface Options extends ResultOptions {
  readonly runs: number;
}

const FLAGS: FlagTable<Options> = {
  runs: {
    option: "--runs",
    value: "<n>",
    doc: "measured starts (20 to 1000), after one that is not",
    parse: integer(20, 1000),
    default: 25,
  },
  output: { ...RESULT_FLAGS.output, doc: "where the JSON result goes" },
  json: RESULT_FLAGS.json,
  help: RESULT_FLAGS.help,
};

async function run(options: Options): Promise<number> {
  const output = options.json ? process.stderr : process.stdout;
  const worker = resolveWorker({ env: process.env });
  // The first start brings the files into memory, which an application pays once, not at every start.
  await probeStartup(worker);
  const startups: Startup[] = [];
  for (let index = 0; index < options.runs; index++) startups.push(await probeStartup(worker));

  const memory = startups.map((startup) => startup.residentBytes).filter((bytes) => bytes !== null);
  const result = {
    schemaVersion: 1,
    benchmark: "startup",
    timestamp: new Date().toISOString(),
    environment: workerEnvironment(process.env),
    machine: thisMachine(),
    readyMs: describe(startups.map((startup) => startup.readyMs)),
    residentBytes: described(memory),
    rawResults: startups,
  };
  const { readyMs, residentBytes } = result;
  output.write(
    `Start to worker/ready: median ${duration(readyMs.median)}, P95 ${duration(readyMs.p95)}, ` +
      `${duration(readyMs.min)} to ${duration(readyMs.max)} (${readyMs.count} starts)\n`,
  );
  output.write(
    residentBytes
      ? `Resident memory before a model: median ${megabytes(residentBytes.median)}, at most ${megabytes(residentBytes.max)}\n`
      : "Resident memory before a model: this platform does not tell\n",
  );
  await deliver(options, result, undefined, (line) => output.write(`${line}\n`));
  return 0;
}

await runCommand("npm run bench:startup -- [options]", FLAGS, run);
