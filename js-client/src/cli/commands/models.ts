import { type Command, defineCommand } from "../command.js";
import { ENGINE_FLAGS, expectPositionals, modelsFolder } from "../engine-flags.js";
import { EXIT, UsageError } from "../exit.js";
import { bytes, table } from "../format.js";
import { hubCacheDir } from "../hub/cache-dir.js";
import { type Io, json, line } from "../io.js";
import { describeModel, type ModelFacts } from "../models/describe.js";
import { type FoundModel, modelsInFolder, modelsInHub } from "../models/discover.js";
import { findWorker } from "../worker-binary.js";

/** `models` */
export const modelsCommand: Command = defineCommand({
  name: "models",
  summary: "List the models on this machine",
  usage: ["models [OPTIONS]"],
  flags: {
    fast: { type: "boolean", help: "Do not ask the worker about each model." },
    json: { type: "boolean", help: "Print JSON." },
    worker: ENGINE_FLAGS.worker,
    "models-dir": ENGINE_FLAGS["models-dir"],
  },
  details:
    "Lists what lies in MLX_MODELS_DIR and in the Hugging Face cache, and whether this worker runs it.",
  async run(values, positionals, io) {
    expectPositionals(positionals, [], 0);
    if (values.fast === true && values.worker !== undefined) {
      throw new UsageError("--fast and --worker exclude each other");
    }
    const problems = new Set<string>();
    const tell = (problem: string): unknown => problems.add(problem);
    const modelsDir = modelsFolder(values["models-dir"], io.env);
    const hubCache = hubCacheDir(io.env);
    const inFolder = modelsDir === undefined ? [] : await modelsInFolder(modelsDir, tell);
    const hub = await modelsInHub(hubCache, tell);
    const worker = values.fast === true ? undefined : findWorker(values.worker, io.env);
    if (worker?.problem !== undefined) tell(worker.problem);
    // Several revisions may lead to one snapshot.
    const facts = new Map<string, ModelFacts>();
    const models: (FoundModel & ModelFacts)[] = [];
    for (const model of [...inFolder, ...hub.models]) {
      const known = facts.get(model.path) ?? (await describeModel(model.path, worker?.path, io.env, tell));
      facts.set(model.path, known);
      models.push({ ...model, ...known });
    }
    if (values.json === true) json(io, { modelsDir, hubCache, models, incomplete: hub.incomplete });
    else print(models, io);
    for (const problem of problems) line(io.stderr, problem);
    for (const { id, sizeBytes } of hub.incomplete) {
      line(io.stderr, `incomplete: ${id} (${bytes(sizeBytes)}); mlx-worker pull ${id} goes on`);
    }
    if (models.length === 0) {
      line(
        io.stderr,
        `No models in ${modelsDir ?? "MLX_MODELS_DIR (not set)"} and ${hubCache}; mlx-worker pull REPO gets one.`,
      );
    }
    return EXIT.ok;
  },
});

function print(models: readonly (FoundModel & ModelFacts)[], io: Io): void {
  if (models.length === 0) return;
  const rows = models.map(({ id, source, sizeBytes, architecture, quantization, supported }) => [
    id,
    bytes(sizeBytes),
    architecture ?? "unknown",
    quantization ?? "-",
    supported === undefined ? "not known" : supported ? "yes" : "no",
    source,
  ]);
  const header = ["MODEL", "SIZE", "ARCHITECTURE", "QUANTISATION", "SUPPORTED", "FOUND IN"];
  for (const text of table([header, ...rows])) line(io.stdout, text);
  for (const { id, unsupported } of models) for (const why of unsupported) line(io.stderr, `${id}: ${why}`);
}
