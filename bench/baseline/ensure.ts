import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type RunnerCommand, runToEnd } from "./json-lines.js";

/** The baseline's Python, ready to use. */
export interface BaselinePython {
  /** The command that runs one of the baseline's scripts. */
  command(script: string, ...args: readonly string[]): RunnerCommand;
  /** OpenBLAS is preloaded in place of the reference BLAS of MLX's Linux wheel. */
  readonly openblas: boolean;
  /** The same with so many OpenBLAS threads. */
  withThreads(threads: number): BaselinePython;
}

/** A model in the form that mlx-lm runs fastest. */
export interface PreparedModel {
  /** What mlx-lm loads. */
  readonly folder: string;
  /** Form of the weights: float32 (dense), stored (quantised as in the file) or unchanged. */
  readonly weights: string;
  /** Where MLX computes in the baseline: cpu or gpu. */
  readonly device: string;
}

/** Something that the baseline needs is missing; the message says how to get it. */
export class BaselineSetupError extends Error {
  override readonly name = "BaselineSetupError";
}

const here = dirname(fileURLToPath(import.meta.url));
const dependencies = resolve(here, "../../.deps");
const baselineFolder = join(dependencies, "baseline");
const openblasFolder = join(dependencies, "openblas/scipy_openblas32/lib");

/**
 * Sets up everything that the baseline needs besides the model; takes no time when it is there.
 *
 * @param log receives one line for each step that takes time
 * @throws BaselineSetupError when a tool is missing
 */
export async function ensureBaseline(log: (line: string) => void): Promise<BaselinePython> {
  const interpreter = await ensureVenv(log);
  const shim = process.platform === "linux" ? await ensureShim(log) : undefined;
  return python(interpreter, shim !== undefined, {
    ...process.env,
    HF_HUB_OFFLINE: "1",
    TRANSFORMERS_VERBOSITY: "error",
    PYTHONUTF8: "1",
    PYTHONNOUSERSITE: "1",
    ...(shim && { LD_PRELOAD: shim }),
  });
}

function python(file: string, openblas: boolean, env: NodeJS.ProcessEnv): BaselinePython {
  return {
    command: (script, ...args) => ({ file, args: [resolve(here, script), ...args], env }),
    openblas,
    withThreads: (threads) => python(file, openblas, { ...env, OPENBLAS_NUM_THREADS: String(threads) }),
  };
}

/** Finds a model and converts it for mlx-lm if that has not been done. */
export async function prepareModel(python: BaselinePython, model: string): Promise<PreparedModel> {
  const path = existsSync(model) ? resolve(model) : model;
  const output = await runToEnd(
    python.command("prepare_model.py", path, "--cache", join(baselineFolder, "models")),
  );
  return JSON.parse(output) as PreparedModel;
}

/**
 * Writes the tiny random model unless it is there: 4 layers, hidden size 64, with the tokenizer of a model. Its name
 * holds what it was made by and from, so that a change of either makes another one.
 */
export async function prepareTinyModel(
  python: BaselinePython,
  tokenizer: PreparedModel,
): Promise<PreparedModel> {
  const key = createHash("sha256")
    .update(await readFile(join(here, "tiny_model.py")))
    .update(tokenizer.folder)
    .digest("hex")
    .slice(0, 16);
  const folder = join(baselineFolder, "models", `tiny-${key}`);
  await runToEnd(python.command("tiny_model.py", tokenizer.folder, folder));
  return { folder, weights: "float32", device: tokenizer.device };
}

/** Creates the virtual environment unless it matches requirements.txt. Returns its interpreter. */
async function ensureVenv(log: (line: string) => void): Promise<string> {
  const requirements = join(here, "requirements.txt");
  const wanted = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex");
  const venv = join(baselineFolder, "venv");
  const marker = join(venv, "requirements.sha256");
  const interpreter = join(venv, "bin/python");
  const present = existsSync(marker) ? (await readFile(marker, "utf8")).trim() : undefined;
  if (present === wanted && existsSync(interpreter)) return interpreter;

  await mkdir(baselineFolder, { recursive: true });
  await rm(venv, { recursive: true, force: true });
  const tools: RunnerCommand = { file: "python3", args: [], env: process.env };
  await runToEnd({ ...tools, args: ["-c", "import sys; assert sys.version_info >= (3, 11)"] }).catch(() => {
    throw new BaselineSetupError(
      "the baseline needs Python 3.11 or newer as python3 (Debian: apt-get install python3)",
    );
  });
  log("baseline: creating a Python environment");
  await runToEnd({ ...tools, args: ["-m", "venv", venv] }).catch(() => {
    throw new BaselineSetupError("python3 cannot create environments (Debian: apt-get install python3-venv)");
  });
  log("baseline: installing mlx-lm (once; about 350 MB)");
  const pip = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--require-hashes",
    "--only-binary",
    ":all:",
  ];
  await runToEnd({ ...tools, file: interpreter, args: [...pip, "-r", requirements] });
  await writeFile(marker, `${wanted}\n`);
  return interpreter;
}

/** Compiles blas_shim.c unless it is up to date. Returns the library's path. */
async function ensureShim(log: (line: string) => void): Promise<string> {
  if (!existsSync(join(openblasFolder, "libscipy_openblas.so"))) {
    throw new BaselineSetupError(
      "OpenBLAS is not set up, and without it mlx-lm would be far too slow: run `make setup`",
    );
  }
  const source = join(here, "blas_shim.c");
  const version = createHash("sha256")
    .update(await readFile(source))
    .update(openblasFolder)
    .digest("hex")
    .slice(0, 16);
  const library = join(baselineFolder, `blas_shim-${version}.so`);
  if (existsSync(library)) return library;

  log("baseline: compiling the OpenBLAS shim");
  await mkdir(baselineFolder, { recursive: true });
  const scratch = `${library}.${process.pid}`;
  const linking = [`-L${openblasFolder}`, "-l:libscipy_openblas.so", `-Wl,-rpath,${openblasFolder}`];
  await runToEnd({
    file: process.env.CC ?? "cc",
    args: ["-O2", "-shared", "-fPIC", source, "-o", scratch, ...linking],
    env: process.env,
  }).catch((cause: unknown) => {
    throw new BaselineSetupError(
      "the baseline needs a C compiler as cc (Debian: apt-get install build-essential)",
      {
        cause,
      },
    );
  });
  await rename(scratch, library);
  return library;
}
