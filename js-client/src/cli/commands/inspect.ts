import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, defineCommand } from "../command.js";
import { ENGINE_FLAGS, expandHome, expectPositionals, modelsFolder } from "../engine-flags.js";
import { CommandError, EXIT, UsageError } from "../exit.js";
import type { Tell } from "../files.js";
import { hubCacheDir } from "../hub/cache-dir.js";
import { type Io, json, line } from "../io.js";
import { fromConfig } from "../models/describe.js";
import { modelsInFolder, modelsInHub } from "../models/discover.js";
import { findWorker, lacksInspect, runWorker, tooOldToInspect } from "../worker-binary.js";

const DETAILS = `
Says what a model is (architecture, size, quantisation, context, tokenizer, chat template) and whether this worker
runs it. Reads no weights and starts no MLX. Exit code 1: it does not run, or that could not be found out.
`;

/** `inspect PATH|MODEL` */
export const inspectCommand: Command = defineCommand({
  name: "inspect",
  summary: "Say what a model is, and whether it runs",
  usage: ["inspect PATH|MODEL [OPTIONS]"],
  flags: {
    json: { type: "boolean", help: "Print JSON." },
    worker: ENGINE_FLAGS.worker,
    "models-dir": ENGINE_FLAGS["models-dir"],
  },
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["PATH"], 1);
    const tell: Tell = (problem) => line(io.stderr, problem);
    const path = await locate(positionals[0] ?? "", modelsFolder(values["models-dir"], io.env), io, tell);
    const { path: worker, problem = "" } = findWorker(values.worker, io.env);
    if (worker === undefined) throw new CommandError("WorkerNotFound", problem);
    const args = ["inspect", path, ...(values.json === true ? ["--json"] : [])];
    const output = await runWorker(worker, args, io.env);
    if (lacksInspect(output)) {
      tell(tooOldToInspect(worker));
      return fallBack(path, values.json === true, io, tell);
    }
    io.stdout.write(output.stdout);
    io.stderr.write(output.stderr);
    return output.code;
  },
});

/** The path of a PATH or of an id that is in the models folder or the Hugging Face cache. */
async function locate(given: string, modelsDir: string | undefined, io: Io, tell: Tell): Promise<string> {
  const path = expandHome(given);
  if (existsSync(path)) return resolve(path);
  const inFolder = modelsDir === undefined ? [] : await modelsInFolder(modelsDir, tell);
  const { models } = await modelsInHub(hubCacheDir(io.env), tell);
  const found = [...inFolder, ...models].find(({ id }) => id === given);
  if (found === undefined)
    throw new UsageError(`${given} does not exist, and is no id that mlx-worker models lists`);
  return found.path;
}

/** What config.json tells, for a worker that has no `inspect`. */
async function fallBack(path: string, asJson: boolean, io: Io, tell: Tell): Promise<number> {
  const facts = await fromConfig(path, tell);
  if (asJson) json(io, { path, ...facts, supported: null });
  else {
    line(io.stdout, `architecture  ${facts.architecture ?? "unknown"}`);
    line(io.stdout, `quantisation  ${facts.quantization ?? "none"}`);
    line(
      io.stdout,
      `context       ${facts.contextLength === undefined ? "unknown" : `${facts.contextLength} tokens`}`,
    );
  }
  return EXIT.failed;
}
