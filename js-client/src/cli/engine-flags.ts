import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { createEngine, type Engine, type LoadModelOptions, type ModelHandle } from "../index.js";
import { UsageError } from "./exit.js";
import type { Values } from "./flags.js";
import { bytes } from "./format.js";
import { type Io, isFancy } from "./io.js";

/** Options of every command that starts a worker. */
export const ENGINE_FLAGS = {
  worker: { type: "string", value: "PATH", help: "The worker's executable. Default: see doctor." },
  "models-dir": { type: "string", value: "DIR", help: "Folder of models. Default: MLX_MODELS_DIR." },
  "log-level": {
    type: "string",
    value: "LEVEL",
    accepted: ["debug", "info", "warn", "error"],
    help: "Print the worker's log on stderr.",
  },
} as const;

/** Options of every command that loads a model. */
export const LOAD_FLAGS = {
  revision: { type: "string", help: "Revision in the Hugging Face cache. Default main." },
  adapter: { type: "string", value: "DIR", help: "Folder of a LoRA adapter." },
  "context-length": { type: "integer", help: "Tokens of context to offer. Default: the model's own." },
  dtype: {
    type: "string",
    accepted: ["float32", "float16", "bfloat16"],
    help: "Type of the activations.",
  },
  quantization: {
    type: "string",
    value: "FORMAT",
    accepted: ["none", "int4", "int8"],
    help: "Quantise while loading.",
  },
} as const;

type EngineValues = Values<typeof ENGINE_FLAGS>;
type LoadValues = Values<typeof LOAD_FLAGS>;

/** An engine as the options say. Its worker restarts, and loads its models again, if it ends unexpectedly. */
export function openEngine(values: EngineValues, io: Io): Engine {
  const logLevel = values["log-level"];
  return createEngine({
    workerPath: values.worker,
    modelsDir: modelsFolder(values["models-dir"], io.env),
    env: io.env,
    autoReload: true,
    logLevel,
    onStderr: logLevel === undefined ? undefined : (text) => io.stderr.write(text),
  });
}

/** The folder of models: that of `--models-dir`, else `MLX_MODELS_DIR`; undefined: there is none. */
export function modelsFolder(given: string | undefined, env: Io["env"]): string | undefined {
  const path = given || env.MLX_MODELS_DIR;
  return path ? resolve(expandHome(path)) : undefined;
}

/** `~` is the home folder. */
export function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/**
 * What a MODEL argument means: something that exists on disk is a path, anything else an id, for which the worker
 * looks in the models folder and in the Hugging Face cache.
 */
function modelArgument(model: string): Pick<LoadModelOptions, "model" | "localPath"> {
  const path = expandHome(model);
  if (/^[./]/.test(path) || existsSync(path)) return { model: "model", localPath: resolve(path) };
  return { model };
}

/**
 * How to load a MODEL argument.
 *
 * @throws UsageError for a revision of a path
 */
export function loadOptions(model: string, values: LoadValues): LoadModelOptions {
  const named = modelArgument(model);
  if (named.localPath !== undefined && values.revision !== undefined) {
    throw new UsageError(`--revision needs an id in place of the path ${model}`);
  }
  return {
    ...named,
    revision: values.revision,
    adapterPath: values.adapter === undefined ? undefined : resolve(expandHome(values.adapter)),
    contextLength: values["context-length"],
    dtype: values.dtype,
    quantization: values.quantization,
  };
}

/** Loads a model and shows on a terminal how far it has come. */
export async function loadModel(
  engine: Engine,
  options: LoadModelOptions,
  io: Io,
  signal?: AbortSignal,
): Promise<ModelHandle> {
  if (!isFancy(io.stderr, io.env)) return engine.loadModel(options, { signal });
  try {
    return await engine.loadModel(options, {
      signal,
      onProgress: ({ phase, loadedBytes, totalBytes }) => {
        io.stderr.write(`\r\u001b[KLoading (${phase}): ${bytes(loadedBytes)} of ${bytes(totalBytes)}`);
      },
    });
  } finally {
    io.stderr.write("\r\u001b[K");
  }
}

/** The positional arguments of a command, from `least` to `most` of them. */
export function expectPositionals(given: readonly string[], names: readonly string[], least: number): void {
  const missing = names[given.length];
  if (given.length < least) throw new UsageError(`${missing} is missing`);
  if (given.length > names.length) {
    throw new UsageError(
      `unexpected argument ${JSON.stringify(given[names.length])}; accepted: ${names.join(" ") || "none"}`,
    );
  }
}
