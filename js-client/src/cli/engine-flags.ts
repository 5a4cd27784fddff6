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
    help: "Log of the worker on stderr: debug, info, warn, error.",
  },
} as const;

/** Options of every command that loads a model. */
export const LOAD_FLAGS = {
  revision: { type: "string", help: "Revision in the Hugging Face cache. Default main." },
  adapter: { type: "string", value: "DIR", help: "Folder of a LoRA adapter." },
  "context-length": { type: "integer", help: "Tokens of context to offer. Default: the model's own." },
  dtype: { type: "string", help: "Type of the activations: float32, float16, bfloat16." },
  quantization: { type: "string", value: "FORMAT", help: "Quantise while loading: int4 or int8." },
} as const;

type EngineValues = Values<typeof ENGINE_FLAGS>;
type LoadValues = Values<typeof LOAD_FLAGS>;

/** An engine as the options say. Its worker restarts, and loads its models again, if it ends unexpectedly. */
export function openEngine(values: EngineValues, io: Io): Engine {
  const level = values["log-level"];
  return createEngine({
    workerPath: values.worker,
    modelsDir: values["models-dir"],
    env: io.env,
    autoReload: true,
    logLevel:
      level === undefined ? undefined : choice("log-level", level, ["debug", "info", "warn", "error"]),
    onStderr: level === undefined ? undefined : (text) => io.stderr.write(text),
  });
}

/** `~` is the home folder. */
export function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/**
 * What a MODEL argument means: something that exists on disk is a path, anything else an id, for which the worker
 * looks in the models folder and in the Hugging Face cache.
 */
export function modelArgument(model: string): Pick<LoadModelOptions, "model" | "localPath"> {
  const path = expandHome(model);
  if (/^[./]/.test(path) || existsSync(path)) return { model: "model", localPath: resolve(path) };
  return { model };
}

/** How to load a MODEL argument. */
export function loadOptions(model: string, values: LoadValues): LoadModelOptions {
  return {
    ...modelArgument(model),
    revision: values.revision,
    adapterPath: values.adapter === undefined ? undefined : resolve(expandHome(values.adapter)),
    contextLength: values["context-length"],
    dtype:
      values.dtype === undefined
        ? undefined
        : choice("dtype", values.dtype, ["float32", "float16", "bfloat16"]),
    quantization:
      values.quantization === undefined
        ? undefined
        : choice("quantization", values.quantization, ["none", "int4", "int8"]),
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

function choice<const T extends string>(flag: string, given: string, accepted: readonly T[]): T {
  const found = accepted.find((known) => known === given);
  if (found === undefined) {
    throw new UsageError(`--${flag} ${JSON.stringify(given)}: accepted: ${accepted.join(", ")}`);
  }
  return found;
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
